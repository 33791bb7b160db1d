"""Views that a test drives over HTTP; each shows one thing a server can get wrong."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django import forms
from django.db import connection
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from gates import pass_gate

from djangosite.notes.models import Note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from django.http import HttpRequest

_PAGE = """<!doctype html><title>Notes</title>
<form method="post">{% csrf_token %}{{ form }}<button>Add</button></form>
<ul>{% for note in notes %}<li>{{ note.title }}</li>{% endfor %}</ul>"""


class NoteForm(forms.ModelForm):
    class Meta:
        model = Note
        fields = ("title",)


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("Hello from Django")


def notes(request: HttpRequest) -> HttpResponse:
    form = NoteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return HttpResponseRedirect(reverse("notes"))
    page = engines["django"].from_string(_PAGE)
    return HttpResponse(page.render({"form": form, "notes": Note.objects.order_by("id")}, request))


def notes_json(request: HttpRequest) -> JsonResponse:
    prefix = request.GET.get("prefix", "")
    titles = Note.objects.filter(title__startswith=prefix).order_by("id").values_list("title", flat=True)
    return JsonResponse({"titles": list(titles), "path": request.path, "scheme": request.scheme})


@csrf_exempt
async def async_notes(request: HttpRequest) -> JsonResponse:
    if request.method == "POST":
        note = await Note.objects.acreate(title=request.POST["title"])
        return JsonResponse({"id": note.pk, "title": note.title}, status=201)
    prefix = request.GET.get("prefix", "")
    found = Note.objects.filter(title__startswith=prefix).order_by("id")
    titles = [note.title async for note in found]
    return JsonResponse({"titles": titles, "count": await found.acount()})


@csrf_exempt
def upload(request: HttpRequest) -> JsonResponse:
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse({"name": file.name, "size": file.size, "sha256": digest.hexdigest(), "pid": os.getpid()})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def lines() -> Iterator[str]:
        yield "first\n"
        pass_gate(request.GET["gate"])
        yield f"last of {Note.objects.count()}\n"  # the ORM still works while the body is being produced

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def lines() -> AsyncIterator[str]:
        yield "first\n"
        await asyncio.to_thread(pass_gate, request.GET["gate"])
        yield f"last of {await Note.objects.acount()}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


def bridge(request: HttpRequest) -> JsonResponse:
    """A sync view that runs coroutines: by asgiref's bridge, and with a loop of its own."""

    async def count() -> int:
        await asyncio.sleep(0)
        return await Note.objects.acount()

    answer: dict[str, Any] = {"async_to_sync": async_to_sync(count)(), "thread": threading.get_ident()}
    try:
        answer["asyncio.run"] = asyncio.run(asyncio.sleep(0, "ran"))
    except RuntimeError as error:
        answer["asyncio.run"] = str(error)
    answer["vendor"] = connection.vendor
    return JsonResponse(answer)


def visits(request: HttpRequest) -> JsonResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"], "pid": os.getpid()})


async def wait(request: HttpRequest) -> HttpResponse:
    """Ends only when the client leaves: Django then cancels the view."""
    print("wait: begun", flush=True)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("wait: cancelled", flush=True)
        raise
    return HttpResponse("never")


def crash(request: HttpRequest) -> HttpResponse:
    raise ValueError("crash on purpose")

"""1 KiB of JSON by Django, with a parameter in the path and one in the query; the middleware of a new project.

Under ASGI most of that middleware runs on a thread, to which Django goes and from which it comes for each of them.
"""

from __future__ import annotations

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.urls import path

from apps.content import items

settings.configure(
    SECRET_KEY="of the benchmark",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)
django.setup()


def shop_items(request: HttpRequest, shop: int) -> JsonResponse:
    return JsonResponse(items(int(request.GET["page"]) + shop))


async def shop_items_async(request: HttpRequest, shop: int) -> JsonResponse:
    return shop_items(request, shop)


urlpatterns = [
    path("wsgi/shops/<int:shop>/items", shop_items),
    path("asgi/shops/<int:shop>/items", shop_items_async),
]
asgi = ASGIHandler()
wsgi = WSGIHandler()

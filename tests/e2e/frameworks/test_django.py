"""A Django project, as `startproject` lays it out, under WSGI and ASGI over real sockets."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
from typing import TYPE_CHECKING

import pytest
from support.frameworks import COMBINATIONS, Payload, Peak, check_streaming, curl, meet_all_workers

if TYPE_CHECKING:
    import httpx
    from support.frameworks import Browse, Launch
    from support.gates import Gate
    from support.server import Server

ENTRIES = {"wsgi": "djangosite.wsgi:application", "asgi": "djangosite.asgi:application"}


@pytest.fixture(scope="module")
def wsgi(launch_for_module: Launch) -> Server:
    return launch_for_module(ENTRIES["wsgi"], "--workers", "1")


@pytest.fixture(scope="module")
def asgi(launch_for_module: Launch) -> Server:
    return launch_for_module(ENTRIES["asgi"], "--workers", "1")


@pytest.fixture(params=["wsgi", "asgi"])
def django(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


def _csrf_token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found is not None, page
    return found[1]


def _titles(client: httpx.Client, prefix: str) -> list[str]:
    titles: list[str] = client.get("/notes.json", params={"prefix": prefix}).json()["titles"]
    return titles


@pytest.mark.parametrize("options", COMBINATIONS)
@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_forms_and_orm_with_each_parser_and_loop(
    launch: Launch, browse: Browse, interface: str, options: tuple[str, ...]
) -> None:
    server = launch(ENTRIES[interface], "--workers", "4", *options)
    client = browse(server)
    prefix = " ".join((interface, *options))
    for number in range(4):
        # A new connection for each request, so that what one worker writes another reads.
        headers = {"Connection": "close"}
        token = _csrf_token(client.get("/notes/", headers=headers).text)
        form = {"title": f"{prefix} {number}", "csrfmiddlewaretoken": token}
        answer = client.post("/notes/", data=form, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (302, "/notes/")
    assert _titles(client, prefix) == [f"{prefix} {number}" for number in range(4)]
    answer = client.post("/upload/", files={"file": ("small.bin", io.BytesIO(b"y" * 100_000))})
    assert answer.json()["size"] == 100_000
    assert f"({interface})" in server.log
    assert f"loop {options[3]}, parser {options[1]}" in server.log


def test_a_form_is_posted_and_the_page_shows_it(django: Server, browse: Browse) -> None:
    client = browse(django)
    token = _csrf_token(client.get("/notes/").text)
    answer = client.post("/notes/", data={"title": "Żółw & <co>", "csrfmiddlewaretoken": token})
    assert answer.status_code == 302
    page = client.get(answer.headers["location"])
    assert "Żółw &amp; &lt;co&gt;" in page.text
    refused = client.post("/notes/", data={"title": "x" * 101, "csrfmiddlewaretoken": token})
    assert "at most 100 characters" in refused.text


def test_async_views_use_the_async_orm(django: Server, browse: Browse) -> None:
    client = browse(django)
    prefix = f"async {django.port}"
    for number in range(3):
        answer = client.post("/async-notes/", data={"title": f"{prefix} {number}"})
        assert (answer.status_code, answer.json()["title"]) == (201, f"{prefix} {number}")
    expected = [f"{prefix} {number}" for number in range(3)]
    assert client.get("/async-notes/", params={"prefix": prefix}).json() == {"titles": expected, "count": 3}


def test_the_admin_logs_in_and_adds_a_note(django: Server, browse: Browse) -> None:
    client = browse(django)
    away = client.get("/admin/")
    assert (away.status_code, away.headers["location"]) == (302, "/admin/login/?next=/admin/")
    page = client.get(away.headers["location"]).text
    login = {"username": "admin", "password": "wrong", "csrfmiddlewaretoken": _csrf_token(page), "next": "/admin/"}
    assert "enter the correct username and password" in client.post("/admin/login/", data=login).text
    entered = client.post("/admin/login/", data={**login, "password": "correct horse"})
    assert (entered.status_code, entered.headers["location"]) == (302, "/admin/")
    assert "Site administration" in client.get("/admin/").text
    title = f"by the admin on {django.port}"
    token = _csrf_token(client.get("/admin/notes/note/add/").text)
    added = client.post("/admin/notes/note/add/", data={"title": title, "csrfmiddlewaretoken": token})
    assert (added.status_code, added.headers["location"]) == (302, "/admin/notes/note/")
    assert title in client.get("/admin/notes/note/").text
    assert _titles(client, title) == [title]


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_a_form_without_its_csrf_token_is_refused(
    serve: Launch, settings: dict[str, str], browse: Browse, interface: str
) -> None:
    # On a server of its own: Django logs these.
    server = serve(ENTRIES[interface], "--workers", "1", env=settings)
    client = browse(server)
    client.get("/notes/")
    assert client.post("/notes/", data={"title": "forged"}).status_code == 403
    assert _titles(client, "forged") == []
    crash = client.get("/crash/")
    assert crash.status_code == 500
    assert "ValueError: crash on purpose" in server.log  # Django's own log: it answers itself
    assert client.get("/hello/").text == "Hello from Django"


def test_an_upload_of_50_mb_arrives_whole_and_not_in_memory(django: Server, payload: Payload) -> None:
    peak = Peak(django.workers()[0])
    answer = json.loads(curl("--form", f"file=@{payload.path}", django.url("/upload/")))
    assert (answer["name"], answer["size"], answer["sha256"]) == ("payload.bin", payload.size, payload.sha256)
    assert peak.growth() < 25_000_000


def test_an_upload_is_read_as_it_comes_under_wsgi(launch: Launch, payload: Payload) -> None:
    server = launch("djangosite.wsgi", "--workers", "1", "--threads", "2", "--no-request-buffering")
    peak = Peak(server.workers()[0])
    answer = json.loads(curl("--form", f"file=@{payload.path}", server.url("/upload/")))
    assert (answer["name"], answer["size"], answer["sha256"]) == ("payload.bin", payload.size, payload.sha256)
    assert peak.growth() < 25_000_000


def test_an_upload_that_is_broken_off_is_an_unreadable_post_to_django(
    serve: Launch, settings: dict[str, str], browse: Browse
) -> None:
    options = ("--workers", "1", "--no-wsgi-inline", "--no-request-buffering")
    server = serve("djangosite.wsgi", *options, env=settings)
    with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
        form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        head = b"POST /upload/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        sock.sendall(head + b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100"), "Django reads"
        sock.sendall(form + b"y" * 100_000)
    server.wait_for("UnreadablePostError: the rest of the request body will not come")
    assert browse(server).get("/hello/").status_code == 200


def test_a_sync_iterator_is_streamed_under_wsgi(wsgi: Server, browse: Browse, gate: Gate) -> None:
    assert re.fullmatch(r"last of \d+\n", check_streaming(browse(wsgi), "/stream/", gate))


def test_an_async_iterator_is_streamed_under_asgi(asgi: Server, browse: Browse, gate: Gate) -> None:
    assert re.fullmatch(r"last of \d+\n", check_streaming(browse(asgi), "/async-stream/", gate))


def test_a_wsgi_view_runs_coroutines(wsgi: Server, browse: Browse) -> None:
    # No event loop of the server's is to be seen from the view, or both ways would refuse.
    client = browse(wsgi)
    first, second = client.get("/bridge/").json(), client.get("/bridge/").json()
    assert first["asyncio.run"] == "ran"
    assert isinstance(first["async_to_sync"], int)
    assert first["thread"] == second["thread"]


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_sessions_follow_the_client_over_four_workers(launch: Launch, browse: Browse, interface: str) -> None:
    server = launch(ENTRIES[interface], "--workers", "4")
    client = browse(server)
    visits = 0

    def visit() -> int:
        nonlocal visits
        visits += 1
        answer = client.get("/visits/", headers={"Connection": "close"}).json()
        assert answer["visits"] == visits
        return int(answer["pid"])

    meet_all_workers(server, visit)


def test_an_async_view_is_cancelled_when_the_client_leaves(asgi: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", asgi.port, timeout=20)
    connection.request("GET", "/wait/")
    asgi.wait_for("wait: begun", timeout=10)
    assert "wait: cancelled" not in asgi.log
    connection.close()
    asgi.wait_for("wait: cancelled", timeout=10)
    assert asgi.get("/hello/") == b"Hello from Django"


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_a_root_path_is_in_every_url_that_django_makes(launch: Launch, browse: Browse, interface: str) -> None:
    server = launch(ENTRIES[interface], "--workers", "1", "--root-path", "/mounted")
    client = browse(server)
    assert client.get("/mounted/notes.json").json()["path"] == "/mounted/notes.json"
    assert client.get("/mounted/admin/").headers["location"] == "/mounted/admin/login/?next=/mounted/admin/"
    assert client.get("/mounted/notes").headers["location"] == "/mounted/notes/"

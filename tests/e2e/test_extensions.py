"""What applications send beyond a body, by real servers: files, hints, trailers, and what they do afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
from typing import TYPE_CHECKING

import pytest
from support.wire import read_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server
    from support.site import Site

PATIENCE = 10.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 80_000)
    return path


def talk(server: Server, octets: bytes) -> bytes:
    """All that is answered until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(octets)
        return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def get(path: bytes, *fields: bytes, close: bool = True) -> bytes:
    last = (b"Connection: close",) if close else ()
    return b"\r\n".join((b"GET " + path + b" HTTP/1.1", b"Host: a", *fields, *last, b"", b""))


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_starlettes_files_hints_and_background_work(serve: Callable[..., Server], file: Path, loop: str) -> None:
    server = serve("extensions:app", "--workers", "1", "--loop", loop, env={"EXTENSIONS_FILE": str(file)})
    digest = hashlib.sha256(file.read_bytes()).digest()
    for path in (b"/file", b"/stamped/file"):
        first, second = read_answers(talk(server, get(path, close=False) + get(path)))
        assert [hashlib.sha256(one.body).digest() for one in (first, second)] == [digest, digest]
    server.wait_for("after the file", count=4)
    (part,) = read_answers(talk(server, get(b"/file", b"Range: bytes=5-9")))
    assert (part.status, part.body) == (206, bytes(range(5, 10)))

    hint, final = read_answers(talk(server, get(b"/hints")))
    assert (hint.status, hint.headers) == (103, [(b"link", b"</style.css>; rel=preload; as=style")])
    assert final.body == b"hinted"

    octets = talk(server, get(b"/trailers", b"TE: trailers"))
    assert octets.endswith(b"\r\n\r\n6\r\nsummed\r\n0\r\nx-sum: 6\r\n\r\n")
    assert read_answers(talk(server, get(b"/trailers")))[0].body == b"summed"

    # The answer does not wait for the work behind it, nor does the next request on the same connection.
    done, _, final = read_answers(talk(server, get(b"/background", close=False) + get(b"/hints")))
    assert (done.body, final.body) == (b"done", b"hinted")
    assert "worked on" not in server.log
    file.with_suffix(".go").touch()  # which the work waits for
    server.wait_for("worked on")


def test_an_event_stream_without_news_ends_when_its_client_leaves(serve: Callable[..., Server], file: Path) -> None:
    server = serve("extensions:app", "--workers", "1", env={"EXTENSIONS_FILE": str(file)})
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(get(b"/events", close=False))
        octets = b""
        while b"data: first\n\n" not in octets:
            octets += sock.recv(4096)
        assert "events: ended" not in server.log
    server.wait_for("events: ended", PATIENCE)


def test_http_disconnect_cancels_after_the_grace(site: Site) -> None:
    site.write(
        """
        import asyncio

        async def app(scope, receive, send):
            if scope["type"] != "http":
                raise RuntimeError
            print("begun", flush=True)
            try:
                await asyncio.Event().wait()
            finally:
                print("cancelled", flush=True)
        """
    )
    server = site.serve("app:app", "--workers", "1", "--disconnect-grace", "0.2")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(get(b"/", close=False))
        server.wait_for("begun")
    server.wait_for("cancelled", PATIENCE)


# WSGI


def test_a_thread_is_free_while_a_file_is_taken_slowly(site: Site, file: Path) -> None:
    site.write(
        f"""
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "application/octet-stream")])
            if environ["PATH_INFO"] == "/file":
                return environ["wsgi.file_wrapper"](open({str(file)!r}, "rb"))
            return [b"quick"]
        """
    )
    server = site.serve("app:app", "--workers", "1", "--threads", "1")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as slow:
        slow.sendall(get(b"/file"))
        head = slow.recv(100)
        assert server.get("/") == b"quick"
        octets = head + b"".join(iter(lambda: slow.recv(1 << 20), b""))
    (answer,) = read_answers(octets)
    assert answer.body == file.read_bytes()
    assert answer[b"content-length"] == b"%d" % file.stat().st_size


METHODS = ("GET", "POST", "HEAD", "OPTIONS")


def test_every_wsgi_application_of_ours_is_clean_under_wsgiref(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(
        "validated:app",
        "--workers",
        "1",
        env={"DJANGOSITE_DATABASE": str(tmp_path / "none.sqlite3")},
    )
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as client:
        check_all(client)
    assert "AssertionError" not in server.log


def check_all(client: http.client.HTTPConnection) -> None:
    for path in (
        "/echo/token?size=300",
        "/echo/token?cut=1",
        "/probe/a%20b?c",
        "/probe/stream?3",
        "/staged/x",
        "/forks/x",
        "/mirror/echo",
        "/mirror/size",
        "/mirror/large?300000",
        "/mirror/packed",
        "/deaf/x",
    ):
        for method in METHODS:
            client.request(method, path, body=b"hello" if method == "POST" else None)
            assert_clean(client, method, path)
        client.request("POST", path, body=iter([b"hel", b"lo"]), encode_chunked=True)
        assert_clean(client, "POST", path)
    for path, status in (
        ("/flask/hello", 200),
        ("/flask/nowhere", 404),
        ("/falcon/hello", 200),
        ("/falcon/nowhere", 404),
        ("/falcon/old", 302),
        ("/django/hello/", 200),
        ("/django/nowhere", 404),
    ):
        client.request("GET", path)
        assert_clean(client, "GET", path, status)


def assert_clean(client: http.client.HTTPConnection, method: str, path: str, status: int = 200) -> None:
    response = client.getresponse()
    response.read()
    assert response.status == status, f"{method} {path}"

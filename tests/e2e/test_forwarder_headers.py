"""Fields whose names hold an underscore: --header-map, and --forwarder-headers for peers that are trusted."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.server import Server
    from support.site import Site

ASGI = """
import json

async def app(scope, receive, send):
    if scope["type"] == "http":
        fields = {name.decode().replace("_", "-"): value.decode() for name, value in scope["headers"]}
        body = json.dumps([scope["method"], scope["root_path"], scope["path"], fields]).encode()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": body})
"""
WSGI = """
import json

def app(environ, start_response):
    fields = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    method, root, path = (environ[name] for name in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO"))
    start_response("200 OK", [])
    return [json.dumps([method, root, root + path, fields]).encode()]
"""
SENT = {"SCRIPT_NAME": "/b", "X_A": "1", "X-B": "2"}


def ask(server: Server, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, "/c", headers=SENT)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if answer.status == 200 else None


@pytest.mark.parametrize("source", [ASGI, WSGI], ids=["asgi", "wsgi"])
def test_a_trusted_peer_may_say_where_the_application_is_mounted(site: Site, source: str) -> None:
    site.write(source)
    status, (method, root, path, fields) = ask(site.serve("app:app", "--workers", "1"))
    assert (status, method, root, path) == (200, "GET", "/b", "/b/c")
    assert "x-a" not in fields
    assert fields["x-b"] == "2"
    status, (method, root, path, fields) = ask(site.serve("app:app", "--workers", "1", "--forwarded-allow-ips", ""))
    assert (status, root, path) == (200, "", "/c")
    assert "script-name" not in fields


def test_what_the_options_say_is_done(site: Site) -> None:
    site.write(ASGI)
    assert ask(site.serve("app:app", "--workers", "1", "--header-map", "refuse"))[0] == 400
    lenient = site.serve(
        "app:app",
        "--workers",
        "1",
        "--header-map",
        "dangerous",
        "--forwarder-headers",
        "",
        "--permit-unconventional-http-method",
    )
    status, (method, root, path, fields) = ask(lenient, "brew")
    assert (status, method, root, path) == (200, "brew", "", "/c")
    assert (fields["script-name"], fields["x-a"]) == ("/b", "1")

"""For memory.py and attacks.py: "/" is hello, "/echo" reads the body, "/large" streams 1 MiB, "/fail" fails."""

from __future__ import annotations

from typing import Any

from apps.hello import HELLO

_BLOCK = b"x" * 65536


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http" or scope["path"] == "/fail":
        raise RuntimeError("on purpose")
    body, pieces = HELLO, 0
    if scope["path"] == "/echo":
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.pop("body", b""))  # else this frame would keep it
            more = message.get("more_body", False)
        body = b"%d" % size
    elif scope["path"] == "/large":
        pieces = 16
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for _ in range(pieces):
        await send({"type": "http.response.body", "body": _BLOCK, "more_body": True})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError("on purpose")
    body = b"%d" % len(environ["wsgi.input"].read()) if path == "/echo" else HELLO
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (_BLOCK for _ in range(16)) if path == "/large" else [body]

"""Answers without reading what it is sent: 100 KB, so that the answer is more than one packet."""

from __future__ import annotations

from typing import Any

ANSWER = bytes(range(250)) * 400


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError("http only")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": ANSWER})


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [ANSWER]

"""Sends without end, as fast as it is read, and asks for nothing: HTTP at /flood, and any WebSocket. / says "ok"."""

from __future__ import annotations

from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": b"tick"})
    if scope["type"] != "http":
        raise RuntimeError("http and websocket only")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while scope["path"] == "/flood":
        await send({"type": "http.response.body", "body": b"tick", "more_body": True})
    await send({"type": "http.response.body", "body": b"ok"})

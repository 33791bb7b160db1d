"""WebSockets: `/echo` sends back what comes, `/flood` sends and does not read, `/told` says its generation."""

from __future__ import annotations

import os
from typing import Any


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
        return
    if scope["type"] != "websocket":
        raise RuntimeError("http and websocket only")
    await receive()
    offered = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None})
    if scope["path"] == "/flood":
        while True:
            await send({"type": "websocket.send", "bytes": bytes(100_000)})
    if scope["path"] == "/told":
        generation = scope["extensions"]["shardserve"]["generation"]
        await send({"type": "websocket.send", "text": str(generation)})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "crash":
            raise LookupError("crash on purpose")
        await send({**message, "type": "websocket.send"})
    say(f"{scope['path']} ended with {message['code']}")

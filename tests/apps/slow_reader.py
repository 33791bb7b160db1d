"""Applications that read or write in ways that test back-pressure."""

from __future__ import annotations

import asyncio
from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Reads its body only after four seconds, and says how much there was."""
    if scope["type"] != "http":
        raise RuntimeError("http only")
    await asyncio.sleep(4)
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def large(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Sends 20 MiB in pieces; says so when it cannot."""
    if scope["type"] != "http":
        raise RuntimeError("http only")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/ok":
        await send({"type": "http.response.body", "body": b"ok"})
        return
    try:
        for _ in range(320):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
    except OSError:
        print("large: the client has gone", flush=True)
        raise
    await send({"type": "http.response.body", "body": b""})


async def whole(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Sends 20 MiB in one message."""
    if scope["type"] != "http":
        raise RuntimeError("http only")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * 20_971_520})


async def told(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Reads its body, then waits to be told that the client has left."""
    if scope["type"] != "http":
        raise RuntimeError("http only")
    size, message = 0, {"more_body": True}
    while message["more_body"]:
        message = await receive()
        size += len(message["body"])
    print(f"has read {size}", flush=True)
    message = await receive()
    print(f"told after {size}: {message['type']}", flush=True)

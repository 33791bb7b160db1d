"""Streams without an end of their own: `/events` ends, with "bye", when it is told to; `/deaf` does not listen."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def until_told(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError("http only")
    path = scope["path"]
    if path == "/silent":  # a request whose answer never begins
        await asyncio.sleep(600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/":
        generation = scope["extensions"]["shardserve"]["generation"]
        await send({"type": "http.response.body", "body": f"{generation}".encode()})
        return
    told = asyncio.ensure_future(until_told(receive))
    try:
        while path == "/deaf" or not told.done():
            await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
            await asyncio.sleep(0.05)
        say(f"told at {time.monotonic():.3f}")
        await send({"type": "http.response.body", "body": b"bye\n"})
    except asyncio.CancelledError:
        say("cancelled")
        raise
    finally:
        told.cancel()

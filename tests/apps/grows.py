"""An application that keeps a megabyte of each request."""

from __future__ import annotations

from typing import Any

_kept: list[bytearray] = []


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError("http only")
    _kept.append(bytearray(b"x" * 1_000_000))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"more"})

"""For overload.py: what a pool of four database connections allows, 200 requests a second; and 5 ms of the CPU."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from apps import hello

_POOL = asyncio.Semaphore(4)
_QUERY = 0.02  # seconds


async def pooled_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    async with _POOL:
        await asyncio.sleep(_QUERY)
    await hello.asgi(scope, receive, send)


async def busy_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """5 ms of the CPU, as much of it as the machine gives."""
    if scope["type"] == "http":
        end = time.thread_time() + 0.005
        while time.thread_time() < end:
            pass
    await hello.asgi(scope, receive, send)


def pooled_wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    time.sleep(_QUERY)
    return hello.wsgi(environ, start_response)

"""An ASGI application that sets a task factory at its start and says in each answer what the factory has made."""

from __future__ import annotations

import asyncio
from typing import Any

made: set[asyncio.Task[Any]] = set()


def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, **options)
    made.add(task)
    task.add_done_callback(made.discard)
    return task


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        asyncio.get_running_loop().set_task_factory(factory)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b"made by the factory" if asyncio.current_task() in made else b"made otherwise"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

"""The ASGI lifespan protocol: the application's start and end, once per worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shardserve.errors import AppError
from shardserve.gateway.loader import user_traceback
from shardserve.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable

_HINT = "if the application has no lifespan, use --lifespan off"


class Lifespan:
    """Runs the application with a lifespan scope. `mode` is "auto", "on" or "off"; `state` is shared with the requests.

    In "auto", an application that refuses the scope before it has asked for an event is taken not to support it. An
    error after that is a failed start, in every mode.
    """

    def __init__(self, app: Callable[..., Any], mode: str, state: dict[str, Any]) -> None:
        self._app = app
        self._mode = mode
        self._state = state
        self._events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._asked = False
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start the application. Raises AppError if it fails to."""
        if self._mode == "off":
            return
        self._task = asyncio.create_task(self._run())
        answer = await self._exchange("lifespan.startup")
        if answer is not None:
            if answer["type"] == "lifespan.startup.failed":
                self._task.add_done_callback(_forget)
                said = answer.get("message") or "no reason given"
                raise AppError(f"the application's lifespan startup failed: {said}")
            return
        # The task has ended without an answer: it refused the scope, or it failed.
        error = self._task.exception() if not self._task.cancelled() else asyncio.CancelledError()
        self._task = None
        if not self._asked and self._mode == "auto":
            log.debug("the application does not support the lifespan protocol (%r)", error)
            return
        if error is None:
            raise AppError(f"the application's lifespan returned before its startup was complete; {_HINT}")
        name = type(error).__name__
        raise AppError(f"the application's lifespan raised {name}: {error}; {_HINT}", user_traceback(error))

    async def shutdown(self, timeout: float) -> None:
        """Tell the application that the worker leaves; wait at most `timeout` seconds for it. Logs what goes wrong."""
        task = self._task
        if task is None:
            return
        if not task.done():
            try:
                async with asyncio.timeout(timeout):
                    answer = await self._exchange("lifespan.shutdown")
                    if answer is not None:
                        if answer["type"] == "lifespan.shutdown.failed":
                            log.error("the application's lifespan shutdown failed: %s", answer.get("message", ""))
                        await asyncio.wait((task,))
            except TimeoutError:
                log.warning("the application's lifespan shutdown took more than %g s and was cancelled", timeout)
                task.cancel()
                await asyncio.wait((task,), timeout=1)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.error("the application's lifespan failed\n%s", user_traceback(error).rstrip())

    async def _exchange(self, event: str) -> dict[str, Any] | None:
        """Give the application an event and return its answer, or None if it ends without one."""
        task = self._task
        assert task is not None  # called only between start and end
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": event})
        await asyncio.wait((self._answer, task), return_when=asyncio.FIRST_COMPLETED)
        return self._answer.result() if self._answer.done() else None

    async def _run(self) -> None:
        versions = {"version": "3.0", "spec_version": "2.0"}
        await self._app({"type": "lifespan", "asgi": versions, "state": self._state}, self._receive, self._send)

    async def _receive(self) -> dict[str, str]:
        self._asked = True
        return await self._events.get()

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if not kind.startswith("lifespan."):
            raise RuntimeError(f"unexpected ASGI message {kind!r} in the lifespan scope")
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)


def _forget(task: asyncio.Task[None]) -> None:
    """Take note of an error that has been reported already: Starlette raises after it has said startup.failed."""
    if not task.cancelled():
        task.exception()

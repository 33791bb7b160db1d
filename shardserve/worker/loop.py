"""The event loop: chosen once per worker, and how tasks are started on it."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from shardserve.errors import ConfigError
from shardserve.worker.registry import hasten

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


# The name of every request's task: making up a number for each, as asyncio would, costs 0.15 us of 1.7 (measured).
_NAME = "shardserve-request"


def choose_loop(name: str) -> str:
    """The loop that `--loop` means: for "auto" uvloop, where it is installed. Raises ConfigError where it must be."""
    if name == "asyncio" or (name == "auto" and importlib.util.find_spec("uvloop") is None):
        return "asyncio"
    try:
        importlib.import_module("uvloop")
    except ImportError as error:
        raise ConfigError(f"--loop uvloop: {error}; pip install uvloop, or use --loop asyncio") from None
    return "uvloop"


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """Make the loop that `--loop` means. Raises ConfigError."""
    if choose_loop(name) == "asyncio":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


if sys.version_info >= (3, 12):

    def make_spawn(loop: asyncio.AbstractEventLoop) -> Spawn:
        """How to start a coroutine as a task of `loop`: at once (eagerly), unless the loop has a task factory."""

        task = asyncio.Task

        def spawn(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            if loop.get_task_factory() is not None:
                return loop.create_task(coroutine)
            return task(coroutine, loop=loop, name=_NAME, eager_start=True)

        return spawn

else:

    def make_spawn(loop: asyncio.AbstractEventLoop) -> Spawn:
        """How to start a coroutine as a task of `loop`, through its task factory where one is set."""
        hasten()
        task = asyncio.Task

        def spawn(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            if loop.get_task_factory() is not None:
                return loop.create_task(coroutine)
            return task(coroutine, loop=loop, name=_NAME)

        return spawn

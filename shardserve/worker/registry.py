"""asyncio's set of all tasks, as CPython 3.11 has it: a WeakSet, whose Python code runs twice for each task.

Later versions keep tasks that are started eagerly out of it. Here that code is done again, compiled: of some 30,000
instructions that an ASGI request takes it saves 2,500 (callgrind; docs/performance.md). What is in the set stays true.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from shardserve.native import weak

if TYPE_CHECKING:
    from weakref import ref

    Reference = ref[asyncio.Task[Any]]

COMPILED = not __file__.endswith((".py", ".pyc"))


class Registry:
    """Adds to a WeakSet as its own method does, with its rule for what dies while somebody iterates over it."""

    __slots__ = ("_add", "_alive", "_forget", "_iterating", "_pending")

    def __init__(self, tasks: Any) -> None:
        # Parts of the set that it changes, and never replaces.
        self._alive: set[Reference] = tasks.data
        self._pending: list[Reference] = tasks._pending_removals  # noqa: SLF001
        self._iterating: set[object] = tasks._iterating  # noqa: SLF001
        self._add = tasks.add
        self._forget = self.forget

    def add(self, task: asyncio.Task[Any]) -> None:
        """See WeakSet.add."""
        if self._pending:
            self._add(task)  # which sees to them first
        else:
            self._alive.add(weak(task, self._forget))

    def forget(self, reference: Reference) -> None:
        """A task is gone."""
        if self._iterating:
            self._pending.append(reference)
        else:
            self._alive.discard(reference)


def hasten() -> bool:
    """Have tasks registered by a Registry from now on, where that saves anything; whether it does."""
    if not COMPILED or sys.version_info >= (3, 12):
        return False
    tasks = getattr(asyncio.tasks, "_all_tasks", None)
    if type(tasks) is not WeakSet:
        return False
    vars(tasks).setdefault("add", Registry(tasks).add)  # asyncio looks the method up each time
    return True

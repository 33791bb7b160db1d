"""A shard: one slot of the service, its worker, the worker that is to replace it, and those that still leave."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardserve.supervisor.child import Child

_STEADY = 5.0  # seconds a worker must have served for its death not to count as one of a series
_FREE_DEATHS = 3  # deaths after short service that are replaced at once
_BACKOFF_FIRST = 0.5  # seconds before the first delayed try; doubles with each
_BACKOFF_MAX = 30.0


class Shard:
    """Slot `index`. `current` serves; `incoming` boots; `leaving` drain. `retry_at` is set while it backs off."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.current: Child | None = None
        self.incoming: Child | None = None
        self.leaving: list[Child] = []
        self.retry_at: float | None = None
        self.parked = False  # there are more shards than workers wanted: a sibling accepts for it
        self.making_room: Child | None = None  # leaves before its replacement is started, for want of memory
        self.stuck = False  # the current worker does not accept what waits (watch.py)
        self._failures = 0

    @property
    def moves(self) -> bool:
        """Whether the shard has a worker that accepts."""
        return self.current is not None and not self.stuck

    def accepting(self) -> list[Child]:
        """The workers that accept connections, or will."""
        return [child for child in (self.current, self.incoming) if child is not None]

    def children(self) -> list[Child]:
        """Every worker process of the shard that is alive."""
        return [child for child in (self.current, self.incoming, *self.leaving) if child is not None]

    def promote(self, child: Child) -> Child | None:
        """The incoming worker is ready and serves from now on; returns the one it replaces, which is to leave."""
        old, self.current, self.incoming = self.current, child, None
        self.stuck = False
        self.retry_at = None
        if old is not None:
            self.leaving.append(old)
        return old

    def vacate(self) -> tuple[Child | None, Child | None]:
        """Do without a worker, for now or for good; returns the current and the incoming one, which are to leave."""
        current, incoming = self.current, self.incoming
        self.current = self.incoming = self.retry_at = None
        self.stuck = False
        self.leaving += [child for child in (current, incoming) if child is not None]
        return current, incoming

    def forget(self, child: Child) -> None:
        """A worker process is gone."""
        if child is self.current:
            self.current = None
            self.stuck = False
        elif child is self.incoming:
            self.incoming = None
        elif child in self.leaving:
            self.leaving.remove(child)

    def delay_after(self, child: Child) -> float:
        """Count the death of `child`; return for how many seconds to wait before its replacement is tried."""
        now = time.monotonic()
        if child.ready_at and now - child.ready_at >= _STEADY:
            self._failures = 0
            return 0.0
        self._failures += 1
        free = _FREE_DEATHS if child.ready_at else 0
        if self._failures <= free:
            return 0.0
        return float(min(_BACKOFF_MAX, _BACKOFF_FIRST * 2 ** (self._failures - free - 1)))

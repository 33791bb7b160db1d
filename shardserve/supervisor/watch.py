"""Watching workers that live but do not move: half a second, and their shard is covered; --timeout, and they end.

This is the supervisor's one poll (ten times a second): the length of an accept queue has no event. A worker is *stuck*
while connections wait on its shard and it accepts none of them; when it is *hung*, hang.py says.
A machine that stalls everybody, the supervisor too, as a throttled container does, is neither.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from shardserve.logs import log
from shardserve.net.board import Word
from shardserve.net.inbox import is_empty
from shardserve.net.listener import queue_length
from shardserve.net.loads import CAPACITY, Load
from shardserve.supervisor.hang import Hangs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shardserve.supervisor.child import Child
    from shardserve.supervisor.shard import Shard
    from shardserve.supervisor.sharding import Sharding

EVERY = 0.1  # seconds between looks
_STUCK_AFTER = 0.3  # seconds that a queue may stand still
_STUCK_FOR = 10.0  # seconds after which one whose loop runs is given its queue back at the latest
_LATE = 0.3  # seconds between looks from which on it is the machine that stands still
_SECOND = 1_000_000_000  # nanoseconds


class Watch:
    """Looks at the shards' workers; `next_look` is when to look again (of `time.monotonic()`)."""

    def __init__(self, sharding: Sharding, shards: Sequence[Shard]) -> None:
        self._sharding = sharding
        self._shards = shards
        self._hangs = Hangs()
        self._last_look = time.monotonic()
        # Shard -> pid, connections accepted, since when no more, how often it has got stuck in that time.
        self._seen: dict[int, tuple[int, int, float, int]] = {}

    @property
    def next_look(self) -> float:
        """When to look again."""
        return self._last_look + EVERY

    def look(self, timeout: float) -> tuple[bool, list[tuple[Child, str]]]:
        """Look now: whether a shard has become stuck or moves again, and the workers that are hung, with the reason.

        `timeout` is how long, in seconds, a worker's loop may not run, or no thread be free; 0 means for ever.
        """
        now = time.monotonic()
        late = now - self._last_look > _LATE
        self._hangs.pass_time(min(now - self._last_look, _LATE))
        self._last_look = now
        if late:
            self._seen.clear()  # nothing can be said of a time in which we ourselves did not run
        changed = False
        hung = []
        for shard in self._shards:
            child = shard.current
            stuck = child is not None and self._is_stuck(shard, child, now)
            if stuck != shard.stuck:
                shard.stuck = stuck
                changed = True
                if child is not None:
                    what = "does not accept; siblings do for it" if stuck else "accepts again"
                    # An inline WSGI call is no fault, and may well take so long.
                    level = logging.INFO if self._in_call(shard) else logging.WARNING
                    log.log(level, "shard %d: worker %d %s", shard.index, child.pid, what)
            if child is not None and timeout and not late and (why := self._hangs.why(child, timeout)):
                hung.append((child, why))
        return changed, hung

    def _in_call(self, shard: Shard) -> bool:
        return shard.index < CAPACITY and bool(self._sharding.steering.loads.line(shard.index)[Load.BUSY])

    def _is_stuck(self, shard: Shard, child: Child, now: float) -> bool:
        board = child.place.board
        pid, accepted, since, times = self._seen.get(shard.index, (0, 0, now, 0))
        full = self._sharding.steering.loads.line(shard.index)[Load.FULL] if shard.index < CAPACITY else 0
        if full or (pid, accepted) != (child.pid, board[Word.ACCEPTED]):  # full: it does not accept on purpose
            self._seen[shard.index] = (child.pid, board[Word.ACCEPTED], now, 0)
            return False
        if shard.stuck:
            # A sibling may have emptied the queue: what tells is whether the loop has run since it got stuck. One that
            # runs and accepts nothing all the same, for want of descriptors, is left to siblings for longer each time.
            if board[Word.HEARTBEAT] < (since + min(_STUCK_AFTER * 2**times, _STUCK_FOR)) * _SECOND:
                return True
            self._seen[shard.index] = (pid, accepted, now, times + 1)
            return False
        inbox, *listeners = self._sharding.sockets(shard.index)
        if is_empty(inbox) and not any(queue_length(listener) for listener in listeners):
            self._seen[shard.index] = (pid, accepted, now, times)
            return False
        return now - since >= _STUCK_AFTER

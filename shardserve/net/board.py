"""The board: a line per worker in shared memory, written with plain stores, read by anyone.

A line is a cache line of counters, and behind it the requests in execution (blackbox.py).

It is anonymous shared memory made by the supervisor before it forks, so it survives every worker: what a worker wrote
last is still there after SIGKILL. No lock: each word has one writer, and a 64-bit aligned store is atomic on every
platform CPython runs on. Steering, hang detection and metrics read the same words; nothing else may live here.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

from shardserve.net import blackbox

WORDS = 8  # 64-bit words of counters: one cache line, so that workers do not invalidate each other's
_LINE = WORDS + blackbox.WORDS


class Word(IntEnum):
    """What each word of a shard's line holds. Times are `time.monotonic_ns()`, the same clock in every process."""

    PID = 0
    GENERATION = 1
    STATE = 2  # a WorkerState
    HEARTBEAT = 3  # when the worker's loop last ticked
    CONNECTIONS = 4  # open now
    ACCEPTED = 5  # connections accepted by this worker
    REQUESTS = 6  # requests begun by this worker; written at each tick
    ACTIVE = 7  # requests in execution; written at each tick


class WorkerState(IntEnum):
    """Where a worker is in its life, as it says itself."""

    GONE = 0
    BOOTING = 1
    READY = 2
    DRAINING = 3


class Board:
    """The shared memory of `shards` shards.

    A shard has a line for each worker that may be alive on it at once: the one that serves, its replacement while that
    boots, and two that still drain.
    """

    LINES_PER_SHARD = 4

    def __init__(self, shards: int) -> None:
        lines = max(shards, 1) * self.LINES_PER_SHARD
        self._memory = mmap.mmap(-1, lines * _LINE * 8)
        self._words = memoryview(self._memory).cast("Q")
        self._claimed: dict[int, memoryview] = {}

    def claim(self, shard: int, generation: int) -> memoryview:
        """Give a new worker of `shard` a free line, wiped and marked BOOTING. The supervisor calls it before it forks.

        The line begins with eight words to read, or (by its one writer) to write: `line[Word.PID] = 7`; the rest of it
        is `box(line)`. Raises RuntimeError when all lines of the shard are in use.
        """
        for index in range(shard * self.LINES_PER_SHARD, (shard + 1) * self.LINES_PER_SHARD):
            line = self.line(index)
            if line[Word.STATE] == WorkerState.GONE:
                for word in range(_LINE):
                    line[word] = 0
                line[Word.GENERATION] = generation
                line[Word.STATE] = WorkerState.BOOTING
                self._claimed[index] = line
                return line
        raise RuntimeError(f"shard {shard} has {self.LINES_PER_SHARD} workers alive")

    def number(self, line: memoryview) -> int:
        """Which line this is, of those that `claim` has given out: to name it to a process that shares the memory."""
        return next(index for index, claimed in self._claimed.items() if claimed is line)

    def line(self, number: int) -> memoryview:
        """The line of this number."""
        return self._words[number * _LINE : (number + 1) * _LINE]

    def release(self, line: memoryview) -> None:
        """Free the line of a worker that has been reaped; its other words stay readable until it is claimed again."""
        line[Word.STATE] = WorkerState.GONE


def box(line: memoryview) -> memoryview:
    """The part of a line that is its black box."""
    return line[WORDS:]

"""The load of each shard: a cache line in shared memory that its worker and the kernel write, and all steering reads.

A line belongs to the shard, not to one of its workers (the board has those): whoever accepts for it writes it. With
eBPF the memory is a map that the kernel's program reads and counts in (ebpf.py), else anonymous shared memory.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

WORDS = 8  # 64-bit words of a line
CAPACITY = 64  # shards; the sets of shards in memory are masks of one word
EXCLUDED = 1 << 20  # a penalty from which on a shard gets connections only if all are excluded
BUSY_LOAD = 1 << 10  # what a worker that can take no request at once counts, in connections


class Load(IntEnum):
    """What each word of a shard's line holds."""

    CONNECTIONS = 0  # open in its worker
    PENDING = 1  # steered to it by the kernel's program and not accepted yet
    PENALTY = 2  # written by the supervisor: EXCLUDED, or a head start for the others while a worker is fresh
    BUSY = 3  # written by the worker: BUSY_LOAD while no thread is free
    FREE = 4  # WSGI: threads that are
    WAITING = 5  # WSGI: requests that wait for one


class Aim(IntEnum):
    """Of a line of its own: what classic BPF aims at, for all processes that may re-aim it."""

    COUNT = 0  # shards there are, parked ones too
    MASK = 1  # bit i: shard i gets new connections
    AIMED_AT = 2  # when that was last changed, `time.monotonic_ns()`


class Loads:
    """The lines of `CAPACITY` shards and the aim. `memory` is the eBPF map's, if there is one."""

    def __init__(self, memory: mmap.mmap | None = None) -> None:
        words = memoryview(memory if memory is not None else mmap.mmap(-1, CAPACITY * WORDS * 8)).cast("Q")
        self._lines = [words[at * WORDS : (at + 1) * WORDS] for at in range(CAPACITY)]
        self.aim = memoryview(mmap.mmap(-1, WORDS * 8)).cast("Q")

    def line(self, shard: int) -> memoryview:
        """Eight words to read, or (by the one that writes it) to write: `line[Load.CONNECTIONS] = 7`."""
        return self._lines[shard]

    def choose(self) -> list[int]:
        """The shards that should get the next connections: those not above the mean load by more than one.

        Only the least loaded would be too few: connections that come together, between two looks, would all go to it.
        """
        count = self.aim[Aim.COUNT]
        loads = [
            (line[Load.PENALTY] + line[Load.CONNECTIONS] + line[Load.BUSY], shard)
            for shard, line in enumerate(self._lines[:count])
            if line[Load.PENALTY] < EXCLUDED
        ]
        highest = sum(load for load, _ in loads) + len(loads)
        return [shard for load, shard in loads if load * len(loads) <= highest]

    def is_above_least(self, shard: int) -> bool:
        """Whether another shard that gets connections has fewer than this one."""
        connections = self._lines[shard][Load.CONNECTIONS]
        return any(
            line[Load.CONNECTIONS] < connections and line[Load.PENALTY] < EXCLUDED
            for line in self._lines[: self.aim[Aim.COUNT]]
        )

    def free(self, but: int) -> int | None:
        """A shard, not `but`, whose worker has a free thread; the one with most of them."""
        return self._most(Load.FREE, but)

    def waiting(self, but: int) -> int | None:
        """A shard, not `but`, where requests wait for a thread; the one with most of them."""
        return self._most(Load.WAITING, but)

    def _most(self, word: Load, but: int) -> int | None:
        best, most = None, 0
        # From the shard behind our own: so that the same ones are not always the first to be asked.
        count = self.aim[Aim.COUNT]
        for shard in (*range(but + 1, count), *range(min(but, count))):
            line = self._lines[shard]
            if line[word] > most and line[Load.PENALTY] < EXCLUDED:
                best, most = shard, line[word]
        return best


def unshared_line() -> memoryview:
    """A line that nobody else reads, for a worker whose shard has another one by now."""
    return memoryview(bytearray(WORDS * 8)).cast("Q")

"""The load of each shard: a line in shared memory that its worker and the kernel write, and all steering reads.

A line belongs to the shard, not to one of its workers (the board has those): whoever accepts for it writes it. With
eBPF the memory is a map that the kernel's program reads and counts in (ebpf.py), else anonymous shared memory.
"""

from __future__ import annotations

import mmap
from enum import IntEnum

WORDS = 16  # 64-bit words of a line: a cache line of the worker's, and one of the kernel's and the supervisor's
CAPACITY = 64  # shards; the sets of shards in memory are masks of one word
EXCLUDED = 1 << 20  # a penalty from which on a shard gets connections only if all are excluded
FULL_LOAD = 1 << 16  # what a worker that accepts no more connections counts
BUSY_LOAD = 1 << 10  # what a worker that can take no request at once counts, in connections


class Load(IntEnum):
    """What each word of a shard's line holds."""

    CONNECTIONS = 0  # open in its worker
    TAKEN = 1  # connections its workers have accepted from its own listeners, ever; next to the word before: note_taken
    PENALTY = 2  # written by the supervisor: EXCLUDED, or a head start for the others while a worker is fresh
    BUSY = 3  # BUSY_LOAD while no turn is free
    FREE = 4  # turns (threads, with WSGI) that are
    WAITING = 5  # requests that wait for one
    FULL = 6  # FULL_LOAD while it has as many connections as it may have
    STEERED = 8  # connections the kernel's program has given to it, ever: its own to count, atomically
    FORGOTTEN = 9  # written by the supervisor: those of STEERED that will never be TAKEN (strays.py), modulo 2**64


class Aim(IntEnum):
    """Of a line of its own: what classic BPF aims at, for all processes that may re-aim it."""

    COUNT = 0  # shards there are, parked ones too
    MASK = 1  # bit i: shard i gets new connections
    AIMED_AT = 2  # when that was last changed, `time.monotonic_ns()`


# As plain numbers, for what is done with each connection or call: an enum's member costs as much as the store itself.
_CONNECTIONS, _TAKEN, _PENALTY, _BUSY, _FREE, _WAITING, _FULL = map(
    int, (Load.CONNECTIONS, Load.TAKEN, Load.PENALTY, Load.BUSY, Load.FREE, Load.WAITING, Load.FULL)
)
_COUNT = int(Aim.COUNT)


class Loads:
    """The lines of `CAPACITY` shards and the aim. `memory` is the eBPF map's, if there is one."""

    def __init__(self, memory: mmap.mmap | None = None) -> None:
        words = memoryview(memory if memory is not None else mmap.mmap(-1, CAPACITY * WORDS * 8)).cast("Q")
        self._lines = [words[at * WORDS : (at + 1) * WORDS] for at in range(CAPACITY)]
        self.aim = memoryview(mmap.mmap(-1, WORDS * 8)).cast("Q")

    def line(self, shard: int) -> memoryview:
        """Words to read, or (by the one that writes it) to write: `line[Load.CONNECTIONS] = 7`."""
        return self._lines[shard]

    def choose(self) -> list[int]:
        """The shards that should get the next connections: those not above the mean load by more than one.

        Only the least loaded would be too few: connections that come together, between two looks, would all go to it.
        """
        loads = []
        for shard, line in enumerate(self._lines[: self.aim[Aim.COUNT]]):
            penalty = line[_PENALTY]
            if penalty < EXCLUDED:
                loads.append((penalty + line[_CONNECTIONS] + line[_BUSY] + line[_FULL], shard))
        highest = sum([load for load, _ in loads]) + len(loads)
        return [shard for load, shard in loads if load * len(loads) <= highest]

    def is_above_least(self, shard: int) -> bool:
        """Whether another shard that gets connections has fewer than this one."""
        connections = self._lines[shard][Load.CONNECTIONS]
        return any(
            line[Load.CONNECTIONS] < connections and line[Load.PENALTY] < EXCLUDED
            for line in self._lines[: self.aim[Aim.COUNT]]
        )

    def free(self, but: int) -> int | None:
        """A shard, not `but`, whose worker has a free thread; the next one after it."""
        return self._next(_FREE, but)

    def waiting(self, but: int) -> int | None:
        """A shard, not `but`, where requests wait for a thread; the next one after it."""
        return self._next(_WAITING, but)

    def with_room(self, most: int, but: int) -> int | None:
        """The shard, not `but`, with the fewest connections, if its worker may have one more: fewer than `most`."""
        fewest, found = most, None
        for shard, line in enumerate(self._lines[: self.aim[_COUNT]]):
            if shard != but and line[_CONNECTIONS] < fewest and line[_PENALTY] < EXCLUDED:
                fewest, found = line[_CONNECTIONS], shard
        return found

    def _next(self, word: int, but: int) -> int | None:
        lines = self._lines
        count = self.aim[_COUNT]
        shard = but
        for _ in range(count):
            # From the shard behind our own on: so that the same one is not always the first to be asked.
            shard = shard + 1 if shard + 1 < count else 0
            if shard == but:
                continue
            line = lines[shard]
            if line[word] and line[_PENALTY] < EXCLUDED and (word != _FREE or not line[_FULL]):
                return shard
        return None


def note_calls(line: memoryview, free: int) -> None:
    """Write to a shard's line how many threads are free for calls, or as a negative number how many calls wait."""
    if free > 0:
        line[_FREE], line[_WAITING], line[_BUSY] = free, 0, 0
    else:
        line[_FREE], line[_WAITING], line[_BUSY] = 0, -free, BUSY_LOAD


def claim_free(line: memoryview) -> None:
    """Write to another shard's line that it has been given a call, before it says so itself."""
    free = line[_FREE]  # once: its own worker may write between two looks
    if free:
        line[_FREE] = free - 1


def claim_room(line: memoryview) -> None:
    """Write to another shard's line that it has been given a connection, before it says so itself."""
    line[_CONNECTIONS] += 1


def note_one_free(line: memoryview, *, cut_off: bool = False) -> None:
    """Write to a shard's line that it has made it; `cut_off`: for the calls of others it is not free all the same."""
    line[_FREE] = not cut_off
    line[_BUSY] = 0


def note_taken(line: memoryview, connections: int) -> None:
    """Write to a shard's line that one of its `connections` has just been accepted.

    One store right behind the other: between them the kernel's program sees one connection twice.
    """
    line[_CONNECTIONS], line[_TAKEN] = connections, line[_TAKEN] + 1


def unshared_line() -> memoryview:
    """A line that nobody else reads, for a worker whose shard has another one by now."""
    return memoryview(bytearray(WORDS * 8)).cast("Q")

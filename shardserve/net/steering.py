"""Steering: which shard of a group gets a new connection. A ladder of ways, each found by trying it.

    ebpf    the kernel chooses the shard with the fewest connections, for each connection (ebpf.py; needs CAP_BPF)
    cbpf    a table of shards, among which the kernel draws at random; re-attached whenever the loads ask for it
    hash    the kernel's own choice, which knows neither load nor whether anybody is there
    shared  no shards: one listener for all workers, and a gate at each (accept.py)

Attaching a classic program needs no privilege and may be repeated at any time; no connection is lost by it (measured:
54,000 times a second under load). It counts sockets in the order of their listen(), which is that of the shards. See
socket(7), SO_ATTACH_REUSEPORT_CBPF.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from typing import TYPE_CHECKING

from shardserve.errors import ConfigError
from shardserve.logs import log
from shardserve.net.ebpf import LeastConnections
from shardserve.net.loads import CAPACITY, EXCLUDED, Aim, Load, Loads
from shardserve.net.strays import Strays

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from shardserve.net.listener import ShardGroup

_SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h
_LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)  # A = a random number (SKF_AD_OFF + SKF_AD_RANDOM)
_MODULO = 0x94  # A %= k
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
_NOBODY = 0xFFFFFFFF  # an index no socket has: the kernel then chooses by its own hash over all of them

_PAUSE = 1_000_000  # nanoseconds between two re-aims: each costs 18 us (measured), however many workers ask for it

Instruction = tuple[int, int, int, int]


def build_program(shards: Sequence[int], count: int) -> list[Instruction]:
    """The program that draws one of `shards`; for all `count` of them, the one that leaves it to the kernel's hash."""
    if len(shards) in (0, count):
        return [(_RETURN, 0, 0, _NOBODY)]
    program = [_LOAD_RANDOM, (_MODULO, 0, 0, len(shards))]
    for number, shard in enumerate(shards[:-1]):
        program += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, shard)]
    return [*program, (_RETURN, 0, 0, shards[-1])]


class Table:
    """The classic program in force, which any process with one socket of each group may replace.

    What it aims at stands in shared memory: a process that finds the aim as it wants it does nothing.
    """

    def __init__(self, sockets: Iterable[socket.socket], loads: Loads) -> None:
        """`sockets` are one of each group."""
        self._sockets = list(sockets)
        self._loads = loads
        self.works = bool(self._sockets)

    def add(self, sock: socket.socket) -> None:
        """There is one group more."""
        self._sockets.append(sock)
        self.works = True

    def aim(self, always: bool = False) -> None:
        """Aim at the shards that the loads ask for; `always` also if that changes nothing or was done just now."""
        aim = self._loads.aim
        shards = self._loads.choose()
        mask = sum(1 << shard for shard in shards)
        if not always and mask == aim[Aim.MASK]:
            return
        now = time.monotonic_ns()
        if not self.works or (not always and now - aim[Aim.AIMED_AT] < _PAUSE):
            return
        aim[Aim.AIMED_AT], aim[Aim.MASK] = now, mask
        program = build_program(shards, aim[Aim.COUNT])
        try:
            for sock in self._sockets:
                if sock.fileno() >= 0:  # else its address has been given up
                    _attach(sock, program)
        except OSError as error:
            log.info("steering is off, the kernel's hash decides: %s", error.strerror)
            self.works = False


class Steering:
    """The steering of all groups as the supervisor sees it. `mode` is the rung in force, `why` says why no better."""

    def __init__(
        self,
        mode: str,
        groups: Sequence[ShardGroup],
        count: int,
        why: str = "",
        kernel: LeastConnections | None = None,
    ) -> None:
        self.mode = mode
        self.why = why
        self.loads = Loads(kernel.memory if kernel is not None else None)
        self._kernel = kernel
        self._groups: list[ShardGroup] = []
        self._strays = [Strays(self.loads.line(shard)) for shard in range(CAPACITY)]
        self.regroup(groups, count)

    def regroup(self, groups: Sequence[ShardGroup], count: int) -> None:
        """Groups, or shards, have been added or removed. Raises OSError where the kernel refuses a program for them."""
        self._groups = [group for group in groups if group.sharded]
        self.loads.aim[Aim.COUNT] = min(count, CAPACITY)
        if self._kernel is not None:
            for group in self._groups:
                self._kernel.attach(group.sockets)
        self.refresh()

    def prepare(self, count: int) -> None:
        """There are to be `count` shards: do now what needs descriptors. Raises OSError, with nothing changed."""
        if self._kernel is not None:
            for group in self._groups:
                self._kernel.prepare(group.sockets, count)

    def leave(self) -> None:
        """In a forked process: it reads and writes the loads, but has no business with maps and programs."""
        if self._kernel is not None:
            self._kernel.close()

    def table_of(self, shard: int) -> Table | None:
        """The table to aim, through the sockets of one shard; None where it is not what steers."""
        if self.mode != "cbpf":
            return None
        return Table([group.sockets[shard] for group in self._groups], self.loads)

    def start_slowly(self, shard: int) -> None:
        """A worker is fresh: as the least loaded it would get everything that comes, while it still warms up."""
        others = [other for other in range(self.loads.aim[Aim.COUNT]) if other != shard]
        if others and shard < CAPACITY:
            loads = [self.loads.line(other)[Load.CONNECTIONS] for other in others]
            own = self.loads.line(shard)[Load.CONNECTIONS]
            self.loads.line(shard)[Load.PENALTY] = max(0, sum(loads) // len(loads) - own)

    def look_after(self) -> None:
        """Called ten times a second: what is put on fresh workers halves every 0.7 s, and the aim is made sure of.

        With eBPF, what was steered and will never be accepted is forgotten (strays.py).
        """
        for shard in range(self.loads.aim[Aim.COUNT]):
            line = self.loads.line(shard)
            if 0 < line[Load.PENALTY] < EXCLUDED:
                line[Load.PENALTY] = line[Load.PENALTY] * 9 // 10
            if self._kernel is not None:
                self._strays[shard].look([group.sockets[shard] for group in self._groups])
        self.refresh()

    def exclude(self, shards: Collection[int]) -> None:
        """Give new connections to other shards than these (0-based), as long as there are others."""
        for shard in range(self.loads.aim[Aim.COUNT]):
            line = self.loads.line(shard)
            if shard in shards:
                line[Load.PENALTY] = EXCLUDED
            elif line[Load.PENALTY] >= EXCLUDED:
                line[Load.PENALTY] = 0
        self.refresh()

    def refresh(self) -> None:
        """Make sure of what is in force: two processes that re-aim at once may have left the older aim behind."""
        table = self.table_of(0)
        if table is not None:
            table.aim(always=True)


def choose_steering(wanted: str, groups: Sequence[ShardGroup], count: int) -> Steering:
    """Climb as high as `wanted` says, for "auto" as high as possible. Raises ConfigError where that does not hold."""
    sharded = [group for group in groups if group.sharded]
    if not sharded:
        return Steering("shared", groups, count)
    if count > CAPACITY:
        if wanted not in ("auto", "hash"):
            raise ConfigError(f"--steering {wanted}: more than {CAPACITY} workers can only be steered by hash")
        return Steering("hash", groups, count, f"there are more than {CAPACITY} shards")
    reasons = []
    if wanted in ("auto", "ebpf"):
        try:
            return Steering("ebpf", groups, count, kernel=LeastConnections(CAPACITY))
        except OSError as error:
            reasons.append(f"no eBPF: {error.strerror or error}")
    if wanted in ("auto", "cbpf"):
        try:
            for group in sharded:
                _attach(group.sockets[0], build_program((), len(group.sockets)))
            return Steering("cbpf", groups, count, "; ".join(reasons))
        except OSError as error:
            reasons.append(f"no classic BPF: {error.strerror or error}")
    if wanted not in ("auto", "hash"):
        raise ConfigError(f"--steering {wanted}: {'; '.join(reasons)}; --steering auto takes the best there is")
    return Steering("hash", groups, count, "; ".join(reasons))


def _attach(sock: socket.socket, program: list[Instruction]) -> None:
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a count and a pointer, aligned as in C
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, struct.pack("@HP", len(program), ctypes.addressof(buffer))
    )

"""Exact steering: the kernel gives each new connection to the least loaded shard of a group.

Workers publish their load (loads.py) in a map that is mapped into their memory: a plain store, no system call. The
program below reads it for each connection. It counts each SYN (STEERED), the worker what it accepts (TAKEN), neither is
ever set back: the difference is what is on its way to the worker, however long a handshake takes, less what will never
come (FORGOTTEN, strays.py). So a worker that stands still stops getting connections by itself.
It needs bpf(2) when the maps are made and programs loaded; what is loaded serves on after privileges are dropped.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
from typing import TYPE_CHECKING

from shardserve.net import bpf
from shardserve.net.bpf_assembler import assemble
from shardserve.net.loads import EXCLUDED, WORDS, Load

if TYPE_CHECKING:
    from collections.abc import Sequence

_SO_ATTACH_REUSEPORT_EBPF = 52  # asm-generic/socket.h
_SO_COOKIE = 57
_HELPERS = {"map_lookup_elem": 1, "get_prandom_u32": 7, "sk_select_reuseport": 82}  # linux/bpf.h; none is GPL-only

# r6 is the context, r7 the least key so far, r8 the slot looked at. A key is load << 32 | 16 random bits << 16 | slot:
# the least one is that of the least loaded slot, ties decided by chance. The minimum is taken without a jump, which
# keeps the verifier's work proportional to the slots (with jumps it gave up on 64). To answer 1 (SK_PASS) without a
# socket selected leaves the choice to the kernel's hash. The data begin at the TCP header, whatever the version of IP.
_PROGRAM = """
        r6 = r1
        r7 = 1
        r7 <<= 62                           # more than any key
        r8 = 0
    slot:
        *(u32 *)(r10 - 4) = r8
        r1 = map loads
        r2 = r10
        r2 += -4
        call map_lookup_elem
        if r0 == 0 goto pass                # never so, but the verifier wants to see it asked
        r9 = *(u64 *)(r0 + CONNECTIONS)
        r1 = *(u64 *)(r0 + STEERED)
        r2 = *(u64 *)(r0 + TAKEN)
        r1 -= r2
        r2 = *(u64 *)(r0 + FORGOTTEN)
        r1 -= r2
        r2 = r1                             # r1 = max(r1, 0)
        r2 s>>= 63
        r2 &= r1
        r1 -= r2
        r9 += r1
        r1 = *(u64 *)(r0 + PENALTY)
        r9 += r1
        r1 = *(u64 *)(r0 + BUSY)
        r9 += r1
        r1 = *(u64 *)(r0 + FULL)
        r9 += r1
        r9 <<= 32
        call get_prandom_u32
        r0 &= 65535
        r0 <<= 16
        r9 |= r0
        r9 |= r8
        r9 -= r7                            # r7 += min(r9 - r7, 0)
        r1 = r9
        r1 s>>= 63
        r9 &= r1
        r7 += r9
        r8 += 1
        if r8 < SLOTS goto slot
        r1 = r7
        r1 >>= 32
        if r1 >= EXCLUDED goto pass         # all are excluded

        r7 &= 65535
        *(u32 *)(r10 - 4) = r7
        r1 = r6
        r2 = map sockets
        r3 = r10
        r3 += -4
        r4 = 0
        call sk_select_reuseport            # a slot without a socket is counted below, or all would end there

        r1 = *(u64 *)(r6 + 0)               # data
        r2 = *(u64 *)(r6 + 8)               # their end
        r3 = r1
        r3 += 14
        if r3 > r2 goto pass                # no header: a queue that moves from a closed listener
        r1 = *(u8 *)(r1 + 13)               # flags
        r1 &= 23                            # ACK, RST, SYN, FIN
        if r1 != 2 goto pass                # only a pure SYN announces a connection
        r1 = map loads
        r2 = r10
        r2 += -4
        call map_lookup_elem
        if r0 == 0 goto pass
        r1 = 1
        lock *(u64 *)(r0 + STEERED) += r1
    pass:
        r0 = 1
        exit
"""


class LeastConnections:
    """Gives each new connection of any group to the least loaded of `capacity` shards; slot i is the shard of line i.

    `memory` holds the lines, each load below 2**28; it is shared with all processes forked later. Raises OSError where
    the kernel does not permit it or cannot do it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._groups: dict[object, _Group] = {}  # by their address: a group is all that listens there
        self._loads = bpf.create_map(bpf.MAP_ARRAY, WORDS * 8, capacity, bpf.MAPPABLE)
        try:
            self.memory = mmap.mmap(self._loads, capacity * WORDS * 8)
        except OSError:
            self.close()
            raise

    def attach(self, sockets: Sequence[socket.socket]) -> None:
        """Steer among these listeners of one address (the first `capacity`); again when one is exchanged or added.

        New connections are steered from the moment this returns; meanwhile as before, or by the kernel's hash. While
        their number stays the same no privilege is needed (Linux 6.18). Raises OSError: then the program attached
        before stays so. EBUSY: another object steers one of them, and will until its program is no longer attached.
        """
        for address, group in list(self._groups.items()):
            if group.is_over:
                self._groups.pop(address).close()
        address = sockets[0].getsockname()
        if address not in self._groups:
            self._groups[address] = _Group(self._loads, self._capacity)
        self._groups[address].attach(sockets[: self._capacity])

    def prepare(self, sockets: Sequence[socket.socket], count: int) -> None:
        """Load what it takes to steer among `count` listeners where these are: `attach` then needs no descriptor.

        Raises OSError, with nothing changed.
        """
        group = self._groups.get(sockets[0].getsockname())
        if group is not None:
            group.prepare(min(count, self._capacity))

    def close(self) -> None:
        """Close this process's descriptors. What is attached stays, and so does the memory while it is referred to."""
        for group in self._groups.values():
            group.close()
        os.close(self._loads)


class _Group:
    """The sockets of one group as the kernel's program finds them, and that program. Raises OSError."""

    def __init__(self, loads: int, capacity: int) -> None:
        self._loads = loads
        self._slots = bpf.create_map(bpf.MAP_REUSEPORT_SOCKARRAY, 8, capacity)
        self._cookies: dict[int, bytes] = {}  # of the socket at each slot
        self._sockets: Sequence[socket.socket] = ()
        self._program: int | None = None
        self._scanned = 0  # slots that the program looks at

    @property
    def is_over(self) -> bool:
        """Whether its sockets have been closed."""
        return all(sock.fileno() < 0 for sock in self._sockets)

    def attach(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        if len(sockets) < 2:
            return  # to the kernel no group yet, and nothing to choose
        self._fill(sockets)
        self.prepare(len(sockets))
        assert self._program is not None  # there are at least two
        sockets[0].setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_EBPF, self._program)

    def prepare(self, count: int) -> None:
        if count > 1 and (self._program is None or count != self._scanned):
            program = bpf.load_reuseport_program(self._assemble(count))
            self._close_program()
            self._program, self._scanned = program, count

    def close(self) -> None:
        self._close_program()
        os.close(self._slots)

    def _fill(self, sockets: Sequence[socket.socket]) -> None:
        """Put each socket at its slot. A socket can be at one only, so those that leave theirs go first."""
        wanted = {slot: sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8) for slot, sock in enumerate(sockets)}
        for slot, cookie in list(self._cookies.items()):
            if wanted.get(slot) != cookie:
                try:
                    bpf.delete_element(self._slots, slot)
                except OSError as error:
                    if error.errno != errno.ENOENT:  # the kernel removed it when it was closed
                        raise
                del self._cookies[slot]
        for slot, cookie in wanted.items():
            if slot not in self._cookies:
                bpf.update_element(self._slots, slot, sockets[slot].fileno())
                self._cookies[slot] = cookie

    def _assemble(self, count: int) -> bytes:
        offsets = {word.name: word * 8 for word in Load}
        numbers = {"loads": self._loads, "sockets": self._slots, "SLOTS": count, "EXCLUDED": EXCLUDED}
        return assemble(_PROGRAM, {**_HELPERS, **offsets, **numbers})

    def _close_program(self) -> None:
        if self._program is not None:
            os.close(self._program)
            self._program = None

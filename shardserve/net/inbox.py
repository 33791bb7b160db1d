"""The inbox of a shard: how a worker gives a connection, with what it has read of it, to the worker of another shard.

A socket pair that the supervisor makes and holds, as it holds the listeners: what lies in it outlives both workers, and
is taken up by the replacement, or by the sibling that adopts the shard. Messages are packets: a kind, octets, and for a
connection its descriptor (SCM_RIGHTS, unix(7)).
"""

from __future__ import annotations

import array
import fcntl
import math
import socket
import struct
import termios
from typing import NamedTuple

# What a packet is.
GIVEN = b"G"  # a connection, to be served from now on
PUSHED = b"P"  # the same, with a whole request that waited there: not to be pushed on at once
WANTED = b"W"  # no connection: shard number octets[0] has a free thread and asks for a request that waits

_HEADER = struct.Struct("=cd")  # kind, answer_by
_PACKET_MAX = 1 << 18  # octets with the header: what is longer is not sent, since it would arrive cut
_BUFFER = 1 << 20  # octets of packets in flight that are asked for; the kernel grants what it allows


class Packet(NamedTuple):
    """One message; `connection` is None where the kind has none.

    `answer_by` is when the request in it must have been answered, of `time.monotonic()`; infinity for whenever.
    """

    kind: bytes
    octets: bytes
    connection: socket.socket | None
    answer_by: float


class Inbox:
    """One shard's inbox. Its worker takes from it, every worker may put into it; nobody blocks."""

    def __init__(self) -> None:
        self.reading, self.writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.reading.setblocking(False)
        self.writing.setblocking(False)
        self.writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)

    def close(self) -> None:
        """Close this process's copies of both ends."""
        self.reading.close()
        self.writing.close()


def put(writing: socket.socket, kind: bytes, octets: bytes, descriptor: int = -1, answer_by: float = math.inf) -> bool:
    """Send a packet with a copy of the descriptor, if there is one; False where that is not possible just now."""
    if _HEADER.size + len(octets) > _PACKET_MAX:
        return False
    try:
        header = _HEADER.pack(kind, answer_by)
        socket.send_fds(writing, [header, octets], [descriptor] if descriptor != -1 else [])
    except OSError:  # full, too large, too many descriptors in flight: the sender keeps what it has
        return False
    return True


def take(reading: socket.socket) -> Packet | None:
    """The next packet that waits, or None. A connection for which this process has no descriptor left is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(reading, _PACKET_MAX, 1)
    except BlockingIOError:
        return None
    connection = socket.socket(fileno=descriptors[0]) if descriptors else None
    kind, answer_by = _HEADER.unpack_from(data)
    return Packet(kind, data[_HEADER.size :], connection, answer_by)


def is_empty(reading: socket.socket) -> bool:
    """Whether nothing waits to be taken (FIONREAD; unix(7), SIOCINQ)."""
    waiting = array.array("i", [0])
    fcntl.ioctl(reading, termios.FIONREAD, waiting)
    return not waiting[0]

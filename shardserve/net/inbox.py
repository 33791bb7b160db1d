"""The inbox of a shard: how a worker gives a connection, with what it has read of it, to the worker of another shard.

A socket pair that the supervisor makes and holds, as it holds the listeners: what lies in it outlives both workers, and
is taken up by the replacement, or by the sibling that adopts the shard. Messages are packets: a kind, octets, and for a
connection its descriptor (SCM_RIGHTS, unix(7)).

A packet is looked at before it is taken: where the receiver has no descriptor free for the connection, the kernel would
give it the octets alone, and the connection would be gone.
"""

from __future__ import annotations

import array
import errno
import fcntl
import math
import os
import socket
import struct
import termios
from typing import NamedTuple

# What a packet is.
GIVEN = b"G"  # a connection, to be served from now on
PUSHED = b"P"  # the same, with a whole request that waited there: not to be pushed on at once
WANTED = b"W"  # no connection: shard number octets[0] has a free thread and asks for a request that waits

_HEADER = struct.Struct("=c?dQ")  # kind, copied, answer_by, the connection's inode
_PACKET_MAX = 1 << 18  # octets with the header: what is longer is not sent, since it would arrive cut
_BUFFER = 1 << 20  # octets of packets in flight that are asked for; the kernel grants what it allows
_ONE = socket.CMSG_SPACE(array.array("i").itemsize)  # octets of control data that hold one descriptor


class Packet(NamedTuple):
    """One message; `connection` is None where the kind has none.

    `answer_by` is when the request in it must have been answered, of `time.monotonic()`; infinity for whenever.
    `copied`: a process that nobody here knows may hold a copy of the connection, so that closing does not end it.
    """

    kind: bytes
    octets: bytes
    connection: socket.socket | None
    answer_by: float
    copied: bool


class Inbox:
    """One shard's inbox. Its worker takes from it, every worker may put into it; nobody blocks."""

    def __init__(self) -> None:
        """Raises OSError where this process has no two descriptors left."""
        self.reading, self.writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.reading.setblocking(False)
        self.writing.setblocking(False)
        self.writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)

    def close(self) -> None:
        """Close this process's copies of both ends."""
        self.reading.close()
        self.writing.close()


def put(
    writing: socket.socket,
    kind: bytes,
    octets: bytes,
    descriptor: int = -1,
    answer_by: float = math.inf,
    *,
    copied: bool = False,
) -> bool:
    """Send a packet with a copy of the descriptor, if there is one; False where that is not possible just now."""
    if _HEADER.size + len(octets) > _PACKET_MAX:
        return False
    try:
        inode = os.fstat(descriptor).st_ino if descriptor != -1 else 0
        header = _HEADER.pack(kind, copied, answer_by, inode)
        socket.send_fds(writing, [header, octets], [descriptor] if descriptor != -1 else [])
    except OSError:  # full, ended, too large, too many descriptors in flight: the sender keeps what it has
        return False
    return True


def take(reading: socket.socket) -> Packet | None:
    """The next packet that waits, or None.

    Raises OSError (EMFILE), with the packet left where it is, if this process has not two descriptors free for its
    connection; EOFError once the inbox has ended and is empty.
    """
    copy = -1
    try:
        _, copy = _receive(reading, _HEADER.size, socket.MSG_PEEK)
        if copy != -1:
            # Others may take from it as well, so the next packet may be another one: it needs a descriptor beside this.
            os.close(os.dup(copy))
        data, descriptor = _receive(reading, _PACKET_MAX)
    except (OSError, EOFError) as error:
        _close(copy)
        if isinstance(error, BlockingIOError):
            return None
        raise
    kind, copied, answer_by, inode = _HEADER.unpack_from(data)
    # Another thread may have been faster with the second one.
    if descriptor == -1 and copy != -1 and os.fstat(copy).st_ino == inode:
        descriptor, copy = copy, -1
    _close(copy)
    connection = socket.socket(fileno=descriptor) if descriptor != -1 else None
    return Packet(kind, data[_HEADER.size :], connection, answer_by, copied)


def end(reading: socket.socket) -> None:
    """Have nobody put anything into it any more, whoever holds an end; what lies there can be taken.

    Senders keep what they have then (`put` is False): else it would lie where nobody comes any more.
    """
    reading.shutdown(socket.SHUT_RD)


def has_room(reading: socket.socket) -> bool:
    """Whether a connection could be taken from it just now."""
    first = -1
    try:
        first = os.dup(reading.fileno())
        os.close(os.dup(first))
    except OSError:
        return False
    finally:
        _close(first)
    return True


def is_empty(reading: socket.socket) -> bool:
    """Whether nothing waits to be taken (FIONREAD; unix(7), SIOCINQ)."""
    waiting = array.array("i", [0])
    fcntl.ioctl(reading, termios.FIONREAD, waiting)
    return not waiting[0]


def _receive(reading: socket.socket, most: int, flags: int = 0) -> tuple[bytes, int]:
    """Octets of the next packet and its descriptor, or -1. With MSG_PEEK it stays, and a copy is made."""
    # Not socket.recv_fds: it ignores flags up to CPython 3.11 (seen), and descriptors must not survive an exec.
    data, control, said, _ = reading.recvmsg(most, _ONE, flags | socket.MSG_CMSG_CLOEXEC)
    if not data:
        raise EOFError("the inbox has ended")
    if said & socket.MSG_CTRUNC and flags & socket.MSG_PEEK:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    found = array.array("i")
    for _, _, octets in control:
        found.frombytes(octets)
    return data, found[0] if found else -1


def _close(descriptor: int) -> None:
    if descriptor != -1:
        os.close(descriptor)

"""What compiled modules ask of C directly, and the Python that stands for it (docs/building.md). For every layer."""

from __future__ import annotations

import os
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    # Of native.pxd: C functions, which there are in the compiled form only.
    c_monotonic_ns: Callable[[], int]
    c_second: Callable[[], int]
    c_new_context: Callable[[], Context]
    c_enter: Callable[[Context], int]
    c_leave: Callable[[Context], int]
    c_receive: Callable[[int], bytes | None]
    c_receive_much: Callable[[int], bytes | None]
    c_transmit: Callable[[int, object], int]
    c_poll_ready: Callable[[select.epoll], list[int]]
    c_join: Callable[[tuple[bytes, ...]], bytes | None]
    c_chunk: Callable[[bytes, bool], bytes]
    c_second_line: Callable[[bytes], int]
    c_holds: Callable[[bytes, int, bytes], bool]
    c_method: Callable[[object, str], Any]
    c_references: Callable[[object], int]

_READ_MAX = 65536  # octets
_READY_MAX = 64  # sockets


def monotonic_ns() -> int:
    """time.monotonic_ns()."""
    return c_monotonic_ns()


def second() -> int:
    """int(time.time())."""
    return c_second()


def join(parts: tuple[bytes, ...]) -> bytes:
    """b"".join(parts), of which each may be anything that is like bytes."""
    joined = c_join(parts)
    return b"".join(parts) if joined is None else joined


def chunk(octets: bytes, last: bool) -> bytes:
    """Octets as a chunk (RFC 9112 section 7.1), and if it is the `last`, with the one of no octets that is the end."""
    return c_chunk(octets, last)


def method(owner: object, name: str) -> Any:
    """getattr(owner, name), cheaper for a method of a compiled class: no attribute of an object can hide it there."""
    return c_method(owner, name)


def second_line(octets: bytes) -> int:
    """Where the second line begins, behind the first line feed; 0 if there is none."""
    return c_second_line(octets)


def holds(octets: bytes, at: int, part: bytes) -> bool:
    """octets.startswith(part, at); `at` is no index from the end."""
    return c_holds(octets, at, part)


def is_unshared(owned: object) -> bool:
    """Whether the caller's variable is the only reference to an object, so that nobody sees what becomes of it."""
    return c_references(owned) == 1


def new_context() -> Context:
    """An empty context."""
    return c_new_context()


def receive(descriptor: int, much: bool) -> bytes | None:
    """What has come to a socket, some of it; empty at the end of the stream, None for nothing now. Raises OSError.

    To expect `much` costs more if it is little, and less if it is not.
    """
    return c_receive_much(descriptor) if much else c_receive(descriptor)


def transmit(descriptor: int, octets: bytes | memoryview) -> int:
    """os.write() to a socket. Where that would block: 0, or uncompiled BlockingIOError. Raises OSError."""
    return c_transmit(descriptor, octets)


def poll_ready(epoll: select.epoll) -> list[int]:
    """What of an epoll object is ready now, some of it: for each its descriptor times 32 and its events, as a sum."""
    return c_poll_ready(epoll)


def _receive(descriptor: int, _: bool) -> bytes | None:
    try:
        return os.read(descriptor, _READ_MAX)
    except BlockingIOError:
        return None


def _poll_ready(epoll: select.epoll) -> list[int]:
    return [found << 5 | events & 31 for found, events in epoll.poll(0, _READY_MAX)]


if __file__.endswith((".py", ".pyc")):
    # Themselves, without a call in between.
    globals().update(
        chunk=lambda octets, last: b"%x\r\n%b%b" % (len(octets), octets, b"\r\n0\r\n\r\n" if last else b"\r\n"),
        holds=lambda octets, at, part: octets.startswith(part, at),
        is_unshared=lambda _: False,  # to find out costs as much as a new object
        join=b"".join,
        method=getattr,
        monotonic_ns=time.monotonic_ns,
        new_context=Context,
        poll_ready=_poll_ready,
        receive=_receive,
        second_line=lambda octets: octets.find(b"\n") + 1,
        second=lambda: int(time.time()),
        transmit=os.write,
    )


def enter_context(context: Context) -> None:
    """What Context.run does before its call. Compiled only: there is no such thing in Python."""
    c_enter(context)


def leave_context(context: Context) -> None:
    """What Context.run does after its call, whatever has become of it."""
    c_leave(context)

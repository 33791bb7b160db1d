"""What compiled modules ask of C directly, and the Python that stands for it (docs/building.md). For every layer."""

from __future__ import annotations

import os
import time
from contextvars import Context
from typing import TYPE_CHECKING

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
    c_transmit: Callable[[int, object], int]
    c_poll_ready: Callable[[select.epoll], list[int]]

_READ_MAX = 65536  # octets
_READY_MAX = 64  # sockets


def monotonic_ns() -> int:
    """time.monotonic_ns()."""
    return c_monotonic_ns()


def second() -> int:
    """int(time.time())."""
    return c_second()


def new_context() -> Context:
    """An empty context."""
    return c_new_context()


def receive(descriptor: int) -> bytes | None:
    """What has come to a socket, some of it; empty at the end of the stream, None for nothing now. Raises OSError."""
    return c_receive(descriptor)


def transmit(descriptor: int, octets: bytes | memoryview) -> int:
    """os.write(), but for a socket only, and 0 where it would block."""
    return c_transmit(descriptor, octets)


def poll_ready(epoll: select.epoll) -> list[int]:
    """What of an epoll object is ready now, some of it: for each its descriptor times 32 and its events, as a sum."""
    return c_poll_ready(epoll)


def _receive(descriptor: int) -> bytes | None:
    try:
        return os.read(descriptor, _READ_MAX)
    except BlockingIOError:
        return None


def _poll_ready(epoll: select.epoll) -> list[int]:
    return [found << 5 | events & 31 for found, events in epoll.poll(0, _READY_MAX)]


if __file__.endswith((".py", ".pyc")):
    # Themselves, without a call in between.
    globals().update(monotonic_ns=time.monotonic_ns, new_context=Context, second=lambda: int(time.time()))
    globals().update(receive=_receive, transmit=os.write, poll_ready=_poll_ready)


def enter_context(context: Context) -> None:
    """What Context.run does before its call. Compiled only: there is no such thing in Python."""
    c_enter(context)


def leave_context(context: Context) -> None:
    """What Context.run does after its call, whatever has become of it."""
    c_leave(context)

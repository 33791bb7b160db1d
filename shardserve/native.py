"""What compiled modules ask of C directly, and the Python that stands for it (docs/building.md). For every layer."""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import contextmanager, suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Name = tuple[Any, ...] | str | bytes | None  # of a socket

    # Of native.pxd: C functions, which there are in the compiled form only.
    c_monotonic_ns: Callable[[], int]
    c_second: Callable[[], int]
    c_new_context: Callable[[], Context]
    c_enter: Callable[[Context], int]
    c_leave: Callable[[Context], int]
    c_receive: Callable[[int], bytes | None]
    c_receive_much: Callable[[int], bytes | None]
    c_transmit: Callable[[int, object, bool], int]
    c_poll_ready: Callable[[select.epoll], list[int]]
    c_control: Callable[[select.epoll, int, int, int], int]
    c_accept: Callable[[socket.socket], tuple[int, Name] | None]
    c_own_name: Callable[[int], Name]
    c_end_writing: Callable[[int], int]
    c_close: Callable[[int], int]
    c_join: Callable[[tuple[bytes, ...]], bytes | None]
    c_chunk: Callable[[bytes, bool], bytes]
    c_second_line: Callable[[bytes], int]
    c_holds: Callable[[bytes, int, bytes], bool]
    c_method: Callable[[object, str], Any]
    c_references: Callable[[object], int]
    c_weak: Callable[[Any, Callable[[Any], object]], Any]

T = TypeVar("T")

READ_MAX = 65536  # octets, at once
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


def weak(what: T, gone: Callable[[ref[T]], object]) -> ref[T]:
    """weakref.ref(what, gone)."""
    return c_weak(what, gone)  # type: ignore[no-any-return]


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


def transmit(descriptor: int, octets: bytes | memoryview, last: bool) -> int:
    """os.write() to a socket. Where that would block: 0, or uncompiled BlockingIOError. Raises OSError.

    `last`: if all of it is taken, `end_writing` follows at once, and the end leaves with it (send(2), MSG_MORE).
    """
    return c_transmit(descriptor, octets, last)


def poll_ready(epoll: select.epoll) -> list[int]:
    """What of an epoll object is ready now, some of it: for each its descriptor times 2**14, plus its events."""
    return c_poll_ready(epoll)


def control(epoll: select.epoll, how: int, descriptor: int, events: int) -> None:
    """epoll_ctl(2), edge-triggered; `how` is EPOLL_CTL_ADD (1), ..._DEL (2) or ..._MOD (3). Raises OSError."""
    c_control(epoll, how, descriptor, events)


def accept(listener: socket.socket) -> tuple[int, Name] | None:
    """A connection that waits on a listener: its descriptor, which does not block, and the client's name; None if none.

    A name is what the socket module says, or only host and port of it; None where only that can tell. Raises OSError.
    """
    return c_accept(listener)


def own_name(descriptor: int) -> Name:
    """Our name of a socket, as `accept` tells the client's. Raises OSError."""
    return c_own_name(descriptor)


def end_writing(descriptor: int) -> None:
    """End our side of a stream (shutdown(2), SHUT_WR). Raises OSError."""
    c_end_writing(descriptor)


def close_socket(descriptor: int) -> None:
    """Close a socket's descriptor. Raises OSError, but not for a connection that has been reset."""
    c_close(descriptor)


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """An object for a socket that is another's to close; not of a copy: there may be no descriptor left for one."""
    sock = socket.socket(fileno=descriptor)
    try:
        yield sock
    finally:
        sock.detach()


def _receive(descriptor: int, _: bool) -> bytes | None:
    try:
        return os.read(descriptor, READ_MAX)
    except BlockingIOError:
        return None


def _poll_ready(epoll: select.epoll) -> list[int]:
    return [found << 14 | events & 0x3FFF for found, events in epoll.poll(0, _READY_MAX)]


def _control(epoll: select.epoll, how: int, descriptor: int, events: int) -> None:
    if how == 1:
        epoll.register(descriptor, events | select.EPOLLET)
    elif how == 2:
        epoll.unregister(descriptor)
    else:
        epoll.modify(descriptor, events | select.EPOLLET)


def _accept(listener: socket.socket) -> tuple[int, Name] | None:
    try:
        descriptor, name = cast("Any", listener)._accept()  # noqa: SLF001 - accept() without an object for it
    except BlockingIOError:
        return None
    os.set_blocking(descriptor, False)
    return descriptor, name


def _own_name(descriptor: int) -> Name:
    with borrowed(descriptor) as sock:
        return cast("Name", sock.getsockname())


def _end_writing(descriptor: int) -> None:
    with borrowed(descriptor) as sock:
        sock.shutdown(socket.SHUT_WR)


def _close_socket(descriptor: int) -> None:
    with suppress(ConnectionResetError):
        os.close(descriptor)


if __file__.endswith((".py", ".pyc")):
    # Themselves, without a call in between.
    globals().update(
        accept=_accept,
        chunk=lambda octets, last: b"%x\r\n%b%b" % (len(octets), octets, b"\r\n0\r\n\r\n" if last else b"\r\n"),
        close_socket=_close_socket,
        control=_control,
        end_writing=_end_writing,
        holds=lambda octets, at, part: octets.startswith(part, at),
        is_unshared=lambda _: False,  # to find out costs as much as a new object
        join=b"".join,
        method=getattr,
        monotonic_ns=time.monotonic_ns,
        new_context=Context,
        own_name=_own_name,
        poll_ready=_poll_ready,
        receive=_receive,
        second_line=lambda octets: octets.find(b"\n") + 1,
        second=lambda: int(time.time()),
        weak=ref,
        transmit=lambda descriptor, octets, _: os.write(descriptor, octets),
    )


def enter_context(context: Context) -> None:
    """What Context.run does before its call. Compiled only: there is no such thing in Python."""
    c_enter(context)


def leave_context(context: Context) -> None:
    """What Context.run does after its call, whatever has become of it."""
    c_leave(context)

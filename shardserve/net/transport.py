"""A connection's socket, read and written by ourselves; to the connection it looks like a transport of asyncio's.

When it is ready, and when a turn of the loop ends, the worker's `Poller` tells (docs/decisions/0018-transport.md).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from shardserve.native import READ_MAX, borrowed, close_socket, end_writing, method, own_name, receive, transmit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shardserve.net.poller import Poller

# Of epoll_ctl(2): EPOLLIN with EPOLLPRI and EPOLLRDHUP, EPOLLOUT, and EPOLLERR with EPOLLHUP: told unasked.
READ, WRITE = 0x2003, 4
_BROKEN = 24
_BEHIND = 0x2002 | _BROKEN  # behind the octets that have come is something else: their end, say
_HIGH = 65536  # octets that wait for a client, from which on its connection is told to pause
_JOIN_MAX = 65536  # octets that are copied to leave by one call; more do not wait for the turn's end
_MOST = READ_MAX  # octets that one call reads
_MUCH = 16384  # octets that have come at once: as many may come again
_PIECES = 64  # at most, by one call

COMPILED = not __file__.endswith((".py", ".pyc"))


class SocketTransport:
    """One connection's. Its methods are those of asyncio.Transport that connections use."""

    __slots__ = (
        "_behind",
        "_closing",
        "_ended",
        "_error",
        "_events",
        "_first",
        "_full",
        "_high",
        "_kept",
        "_lost",
        "_low",
        "_much",
        "_over",
        "_paused",
        "_peer_name",
        "_poller",
        "_protocol",
        "_reading",
        "_received",
        "_size",
        "descriptor",
    )

    def __init__(self, poller: Poller, descriptor: int, protocol: Any, peer_name: Any = None) -> None:
        """Serve a connected stream socket, which does not block; `protocol` has the methods of asyncio.Protocol.

        `peer_name` is what is known of the client's (native.accept). The descriptor is ours to close from now on.
        """
        self._poller = poller
        self.descriptor = descriptor
        self._peer_name = peer_name
        self._protocol = protocol
        self._received = method(protocol, "data_received")  # looked up once
        # What waits to be sent: its first piece, those behind it, and how many octets they are.
        self._first: bytes | memoryview | None = None
        self._behind: list[bytes | memoryview] = []
        self._size = 0
        self._high, self._low = _HIGH, _HIGH // 4
        self._events = 0  # that the poller tells of
        self._reading = True
        self._much = False  # has come the last time
        self._over = False  # the client's side of the stream
        self._ended = False  # ours, behind what waits
        self._kept = False  # what waits, until the end of the turn
        self._full = False  # the socket: it takes no more for now
        self._paused = False  # whoever writes
        self._closing = False
        self._lost = False
        self._error: Exception | None = None  # by which it was lost
        try:
            protocol.connection_made(self)
        except Exception as error:
            self._report(error)
        self._poller.begin(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Its "peername" or "sockname" (None if it has been reset), or the default."""
        if name == "peername" and self._peer_name is not None:
            return self._peer_name
        if name not in ("peername", "sockname") or self.descriptor < 0:
            return default
        try:
            if name == "sockname" and (own := own_name(self.descriptor)) is not None:
                return own
            with borrowed(self.descriptor) as sock:
                return sock.getpeername() if name == "peername" else sock.getsockname()
        except OSError:
            return None

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""
        return self.descriptor

    # Reading

    def look(self) -> bool:
        """Read what has come; whether anything has (its end, too)."""
        return self._reading and self._receive(0)

    def ready(self, event: int) -> None:
        """The socket is ready, as the event says."""
        if self._reading and event & (READ | _BROKEN):
            self._receive(event)
        if self._full and event & (WRITE | _BROKEN):
            self.send()

    def _receive(self, event: int) -> bool:
        data = None
        try:
            data = receive(self.descriptor, self._much)
            if data:
                size = len(data)
                self._much = size >= _MUCH
                if size == _MOST or event & _BEHIND:  # else the socket is empty now (epoll(7))
                    self.watch(anew=True)
                self._received(data)
            elif data is not None:
                self._end_reading()
        except Exception as error:
            if data is None and isinstance(error, OSError):
                self._lose(error)
                return True
            self._report(error)
        return data is not None

    def _end_reading(self) -> None:
        self._reading = False
        self._over = True
        self.watch()
        if not self._protocol.eof_received():
            self.close()

    def pause_reading(self) -> None:
        """Read nothing until told to go on."""
        self._reading = False
        self.watch()

    def resume_reading(self) -> None:
        """Read on."""
        self._reading = not self._over and not self._closing
        self.watch()

    def watch(self, anew: bool = False) -> None:
        """Have the poller tell what is to be known now; `anew`: what it has told already, too, if it is still so."""
        events = (READ if self._reading else 0) | (WRITE if self._full else 0)
        before = self._events
        if events != before or (anew and events):
            self._events = events
            try:
                self._poller.watch(self, before, events)
            except OSError as error:  # the system watches no more (epoll_ctl(2): ENOSPC, ENOMEM)
                self._events = 0
                self._lose(error)

    # Writing

    def write(self, data: bytes) -> None:
        """Send octets, at the end of the turn or when the client takes them."""
        if self._closing or self._ended or not data:
            return
        if self._first is None:
            self._first = data
        else:
            self._behind.append(data)
        self._size += len(data)
        if not self._kept and not self._full:
            if self._poller.patient:
                self._kept = True
                self._poller.wrote(self)
            else:
                self.send()
        if self._size > self._high or self._size > _JOIN_MAX:
            self._pile_up()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Send octets that lie in pieces."""
        for piece in pieces:
            self.write(piece)

    def _pile_up(self) -> None:
        """Much is waiting: send it at once; if it still waits then, no more of it is wanted."""
        if not self._full and self._size > _JOIN_MAX:
            self.send()
        if self._size > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def send(self) -> None:
        """Send what waits, as far as the client takes it."""
        self._kept = False
        if self._first is not None:
            try:
                self._send_some()
            except OSError as error:
                self._lose(error)
            except Exception as error:  # others wait to be sent
                self._report(error)

    def _send_some(self) -> None:
        assert self._first is not None
        last = self._ended or self._closing
        try:
            sent = self._send_pieces(last) if self._behind else transmit(self.descriptor, self._first, last)
        except BlockingIOError:
            sent = 0
        self._size -= sent
        if self._size:
            self._keep_from(sent)
        else:
            self._first = None
            if self._behind:
                self._behind.clear()
        if self._size or self._full or self._paused or self._ended or self._closing:
            self._go_on()

    def _send_pieces(self, last: bool) -> int:
        assert self._first is not None  # there are some behind it
        pieces = [self._first, *self._behind[: _PIECES - 1]]
        if self._size > _JOIN_MAX:
            return os.writev(self.descriptor, pieces)
        self._first = b"".join((self._first, *self._behind))
        self._behind.clear()
        return transmit(self.descriptor, self._first, last)

    def _keep_from(self, sent: int) -> None:
        """Forget the first octets of what waits; some are left."""
        assert self._first is not None
        pieces = [self._first, *self._behind]
        whole = 0
        while sent >= len(pieces[whole]):
            sent -= len(pieces[whole])
            whole += 1
        self._first = memoryview(pieces[whole])[sent:] if sent else pieces[whole]
        self._behind = pieces[whole + 1 :]

    def _go_on(self) -> None:
        """Something has been sent: what follows of it?"""
        self._full = self._size > 0
        self.watch(self._full)  # there may be room: it may be for the number of pieces that not all was sent
        if self._paused and self._size <= self._low:
            self._paused = False
            self._protocol.resume_writing()
        if not self._size and (self._ended or self._closing):
            # Before a close too: the end then leaves in one packet with what has just been sent.
            end_writing(self.descriptor)
        if not self._size and self._closing:
            self._lose(None)

    def get_write_buffer_size(self) -> int:
        """Octets that wait for the client; what waits only for the end of the turn is sent first."""
        if self._kept:
            self.send()
        return self._size

    def set_write_buffer_limits(self, high: int = _HIGH) -> None:
        """Pause whoever writes from `high` octets on that wait, until a quarter of them is left."""
        self._high, self._low = high, high // 4
        if self._size > high:
            self._pile_up()

    # The end

    def can_write_eof(self) -> bool:
        """Yes."""
        return True

    def write_eof(self) -> None:
        """End our side of the stream, behind what waits. Raises OSError."""
        if not self._ended and not self._closing:
            self._ended = True
            if not self._size:
                end_writing(self.descriptor)

    def is_closing(self) -> bool:
        """Whether it has been closed, or will be when what waits has been sent."""
        return self._closing

    def close(self) -> None:
        """Send what waits, then close."""
        if not self._closing:
            self._closing = True
            self._reading = False
            if self._size:
                self.watch()
            else:
                self._lose(None)

    def abort(self) -> None:
        """Close now, whatever waits for the client."""
        if self._kept:
            self.send()
        self._lose(None)

    def _report(self, error: Exception) -> None:
        """What should not be: the protocol has failed."""
        what = {"message": "a connection has failed", "exception": error, "protocol": self._protocol}
        self._poller.loop.call_exception_handler(what)
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        """Nothing is read or sent any more; the protocol is told when it can be: it may be calling."""
        if not self._lost:
            self._lost = self._closing = True
            self._reading = self._full = False
            self._first = None
            self._behind.clear()
            self._size = 0
            self._error = error
            self.watch()
            self._poller.lost(self)

    def end(self) -> None:
        """Tell the protocol, which is not calling now, that the connection is lost, and close the socket."""
        try:
            self._protocol.connection_lost(self._error)
        except Exception as error:  # others are to be told
            self._report(error)
        descriptor, self.descriptor = self.descriptor, -1
        try:
            close_socket(descriptor)
        except OSError as error:  # of close(2): that descriptor was not ours any more
            self._report(error)
        self._protocol = self._received = self._error = None  # which refer to us

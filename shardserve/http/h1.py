"""HTTP/1.1 and HTTP/1.0 on one connection: from one request to the next, keep-alive, deadlines, drain (RFC 9112).

Reading (h1_reading.py) and answering (h1_writing.py) are kept apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.connection import NEVER
from shardserve.http.exchange import CALLS_MAX
from shardserve.http.grammar import HEAD_END
from shardserve.http.h1_reading import H1Reading
from shardserve.http.h1_states import BY_CLOSE, CHUNKED, CLOSED, HEAD, LENGTH, READ, TO_COME, UPGRADED
from shardserve.http.head import encode_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shardserve.http.exchange import Exchange, Give
    from shardserve.http.service import Service

# RFC 9110 sections 7.8 and 15.2.2
_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade"
_DISCARD_MAX = 65536  # octets of an unwanted body that are read to keep the connection
# Octets that are read, and thrown away, behind the last answer: enough for most clients that send a whole upload before
# they look at it. More is not read: a worker would work for nothing.
_LINGER_MAX = 16 * 1024**2


class H1Connection(H1Reading):
    """One connection that speaks HTTP/1. At most one exchange is current."""

    __slots__ = ("_idle_until",)

    def __init__(self, service: Service, octets: bytes = b"", *, moved: bool = False, answer_by: float = NEVER) -> None:
        """`octets` have been read from the connection already, by another worker; for `moved`, see Wire.move.

        `answer_by` is when the request that `octets` begin with must have been answered.
        """
        self.set_up(service)
        self.moved = moved
        self.answer_by = answer_by
        self._buffer = octets
        self._idle_until = 0.0

    # From one request to the next

    def _unread_is_large(self) -> bool:
        """See H1Writing._unread_is_large."""
        if self._state == LENGTH:
            waits = self._request is not None and self._request.expect_continue
            return waits or self._left > _DISCARD_MAX  # a client that waits for 100 may or may not send its body
        return self._state == CHUNKED and self._request is not None and self._request.expect_continue

    def _finish(self) -> None:
        """See H1Writing._finish."""
        service = self.service
        if service.access is not None:
            self._record()
        self._exchange = None
        if not self._keep or (service.draining and service.give_on is None):
            self._end()
        elif self._state == READ:
            self._next()
        elif self._unread_is_large():
            self._end()
        else:
            self._allowance = _DISCARD_MAX
            self.release()

    def _next(self) -> None:
        """Be ready for the next request; one that is here already begins in a turn of its own."""
        if self._eof and not self._buffer:
            self._end()
            return
        self._state = HEAD
        self._request = None
        self._framing = TO_COME
        service = self.service
        self._idle_until = service.now + service.keep_alive
        if self.paused is None:  # else the watch over a client that does not read goes on
            self.deadline = self._idle_until
        if not self._reading:
            self.release()
        self.moved = False
        self.answer_by = NEVER
        self._raw = b""
        if service.draining:
            service.loop.call_soon(self.drain, context=service.context)
        elif self._buffer and not self._pumping:
            self._resume_soon()

    def _resume_soon(self) -> None:
        # In a context of its own: here the application's may be current, and the next request must not inherit it.
        self.service.loop.call_soon(self._resume, context=self.service.context)

    def resume_writing(self) -> None:
        """The client has caught up: what waited for that goes on."""
        H1Reading.resume_writing(self)
        if self._state == HEAD and self._exchange is None:
            self._idle_until = self.service.now + self.service.keep_alive  # it has had its answer only now
        self.returned()

    def returned(self) -> None:
        """See Wire.returned."""
        if self._state == HEAD and self._buffer and not self._pumping:
            self._resume_soon()

    def _resume(self) -> None:
        if self._state == HEAD and self._buffer:
            data, self._buffer = self._buffer, b""
            self._pump(data)

    def _end(self) -> None:
        """See H1Writing._end: at once if the client has nothing more to send, else by lingering."""
        complete = self._state == READ and not self._buffer
        asked = self._request is not None and not self._request.keep_alive
        self._state = CLOSED
        self._buffer = b""
        if self._eof or (complete and asked):
            self.close()
        else:
            self.linger()

    def linger(self) -> None:
        """See Connection.linger; nothing is answered any more."""
        self._state = CLOSED
        self._allowance = _LINGER_MAX
        H1Reading.linger(self)

    # A WebSocket

    def upgrade(self, exchange: Exchange, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """See Wire.upgrade. What is sent from then on is delimited by close, as far as HTTP can see."""
        if exchange is not self._exchange:
            return
        self.transport.write(encode_fields(_SWITCH, headers).octets + HEAD_END)
        self._state = UPGRADED
        self._framing = BY_CLOSE
        self._status = 101
        self._keep = False
        self._raw = b""
        self.answer_by = NEVER
        if self.paused is None:  # else the watch over a client that does not read goes on
            self.deadline = NEVER
        data, self._buffer = self._buffer, b""
        if not self._reading:
            self.release()
        if data:
            exchange.feed(data)

    def wake(self, exchange: Exchange, at: float) -> None:
        """See Wire.wake."""
        if exchange is self._exchange:
            self.deadline = min(self.deadline, at)

    # Deadlines and drain

    def expire_reading(self) -> None:
        """See Connection.expire_reading."""
        if self._state == UPGRADED and self._exchange is not None:
            self._exchange.look(self.service.now)
        elif self._state in (LENGTH, CHUNKED):
            self._check_pace()
        elif self._state == HEAD and self._buffer and self.calls >= CALLS_MAX:
            self.deadline = self.service.now + 1.0  # it is not the client that is waited for
        elif self._state == HEAD and self._partial is not None:
            self._refuse(ProtocolError(408, "the request's head took too long"))
        elif self._exchange is None and self.service.now < self._idle_until:
            self.deadline = self._idle_until
        elif self._exchange is None:
            self.close()

    def _check_pace(self) -> None:
        """About once a second: does the body come fast enough?"""
        service = self.service
        self.deadline = service.now + 1.0
        # A client that waits for 100 (Continue) is not late.
        invited = self._framing != TO_COME or self._request is None or not self._request.expect_continue
        reading = self._reading and invited
        if self._pace is not None and (fault := self._pace.fault(service.now, reading, service.timeouts)):
            self._refuse(ProtocolError(408, fault))

    def is_answering(self) -> bool:
        """See Connection.is_answering."""
        if self._exchange is not None:
            return self._framing != TO_COME
        return self._state == CLOSED or self.transport.get_write_buffer_size() > 0

    def drain(self) -> None:
        """See Connection.drain: with no request under way, give the connection on.

        Where that is not possible, wait a moment for a request that may be on its way.
        """
        if not self.is_idle():
            return
        give = self.service.give_on
        if give is not None and self.pass_on(give):
            return
        self._idle_until = 0.0
        self.deadline = min(self.deadline, self.service.now + self.service.timeouts.drain_linger)
        if self._buffer:
            self._resume_soon()

    def is_idle(self) -> bool:
        """Whether no request is under way, and none has begun to arrive; whole ones may wait for their turn."""
        return self._state == HEAD and self._exchange is None and not self.lingering and self._partial is None

    def has_request(self) -> bool:
        """Whether one waits for its turn, of a connection that is idle."""
        return bool(self._buffer)

    def pass_on(self, give: Give) -> bool:
        """Let another worker serve the connection, which is idle, if `give` can pass it on."""
        if self._eof or not self.part(give, self._buffer):
            return False
        self._state = CLOSED
        self._buffer = b""
        return True

    def move(self, exchange: Exchange, give: Give) -> bool:
        """See Wire.move."""
        if exchange is not self._exchange or self._state not in (READ, LENGTH, CHUNKED) or not self._raw or self._eof:
            return False
        if not self.part(give, self._raw + self._buffer):
            return False
        self._exchange = None
        self._state = CLOSED
        self._raw = self._buffer = b""
        self.service.requests -= 1
        return True

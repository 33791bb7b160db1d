"""The reading half of an HTTP/1 connection: heads, bodies, and pipelines that wait their turn (RFC 9112).

A request is read only when the one before it has been answered, so that a pipeline of any length costs one exchange and
one bounded buffer. Nothing is started inside a parser.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.chunked import ChunkedBody
from shardserve.http.connection import NEVER
from shardserve.http.exchange import CALLS_MAX
from shardserve.http.grammar import CRLF, HEAD_END, find_head_end
from shardserve.http.h1_files import H1Files
from shardserve.http.h1_states import CHUNKED, CLOSED, HEAD, LENGTH, READ, UPGRADED
from shardserve.http.last_head import make_last_head
from shardserve.http.pace import BodyPace
from shardserve.http.partial_head import PartialHead, earliest_fault
from shardserve.http.request import read_request

if TYPE_CHECKING:
    import asyncio

    from shardserve.http.exchange import Exchange
    from shardserve.http.last_head import LastHead
    from shardserve.http.lifetime import Remaining
    from shardserve.http.request import Request
    from shardserve.http.service import Service
    from shardserve.net.transport import SocketTransport

_TURNS = 16  # requests of one pipeline are answered in a row before other connections get their turn
_BUFFER_MAX = 65536  # octets of requests to come that are held while one is being answered
_MOVED_MAX = 65536  # octets of a request that another worker may be given

_CR = CRLF[0]
COMPILED = not __file__.endswith((".py", ".pyc"))


class H1Reading(H1Files):
    """Reads requests and their bodies; what comes after one is answered is the subclass's (`_next`)."""

    __slots__ = (
        "_allowance",
        "_blank",
        "_body",
        "_buffer",
        "_eof",
        "_last_head",
        "_left",
        "_limits",
        "_pace",
        "_partial",
        "_pumping",
        "_raw",
        "_remaining",
    )

    def set_up(self, service: Service) -> None:
        """See Connection.set_up."""
        H1Files.set_up(self, service)
        self._buffer = b""
        self._raw = b""  # the current request as it came, where it may be moved
        self._blank = False  # an empty line before the next request has been skipped
        self._last_head: LastHead | None = None
        self._partial: PartialHead | None = None  # while a head has begun: the deadline is that of the whole head
        self._body: ChunkedBody | None = None
        self._left = 0  # octets of the request body to come, where its length was declared
        self._allowance = 0  # octets that nobody wants and that are read all the same
        self._pace: BodyPace | None = None  # of the body that is being read
        self._eof = False
        self._pumping = False
        self._remaining: Remaining | None = None

    # The subclass's

    def _next(self) -> None:
        """Be ready for the next request: the one before it is over, and so is its body."""
        raise NotImplementedError

    def _resume_soon(self) -> None:
        """Look at what is in the buffer in a turn of its own."""
        raise NotImplementedError

    # Called by the loop

    def connection_made(self, transport: SocketTransport | asyncio.Transport) -> None:
        """See Connection.connection_made."""
        H1Files.connection_made(self, transport)
        self._limits = self.service.limits_of(self.client)
        if self.service.lifetime is not None:
            self._remaining = self.service.lifetime.draw(self.service.now)
        if transport.is_closing():
            self._buffer = b""
        if self._buffer:
            self._resume_soon()

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
            if self._partial is not None and find_head_end(data, max(0, self._partial.seen - 2)) < 0:
                self._await_head(data)
                return
        state = self._state
        if state == HEAD:
            self._pump(data)
        elif state == READ:
            self._keep_for_later(data)
        elif state == UPGRADED:
            if self._exchange is not None:
                self._exchange.feed(data)
        elif state == CLOSED:
            self._throw_away(data)
        else:
            self._read_body(data)

    def eof_received(self) -> bool:
        """The client will send no more; it may still read (section 9.6): requests that are complete are answered."""
        self._eof = True
        if self._state == READ:
            if self._exchange is not None:
                self._exchange.hung_up()
            return True
        if self._state == HEAD and HEAD_END in self._buffer:
            return True  # its turn comes
        if self._buffer or self._state in (LENGTH, CHUNKED):
            self._refuse_cut()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See Connection.connection_lost."""
        self._state = CLOSED
        self._buffer = b""
        if self._exchange is not None:
            self._record()
            self._lose_exchange()
        H1Files.connection_lost(self, exc)

    # Requests and bodies

    def _keep_for_later(self, data: bytes) -> None:
        """Hold octets of requests to come; the client waits while there are many, and no longer."""
        self._buffer = data
        if len(data) > _BUFFER_MAX:
            self.hold()
        elif not self._reading:
            self.release()

    def release(self) -> None:
        """See Wire.release; not while much of what comes next is here already, nor once enough was thrown away."""
        if len(self._buffer) <= _BUFFER_MAX and self._allowance >= 0:
            H1Files.release(self)

    def _pump(self, data: bytes) -> None:
        """Begin as many of the requests in `data` as may begin now; keep the rest.

        A loop, not a recursion from one answer to the next request: an application that answers at once would nest a
        long pipeline too deep.
        """
        self._pumping = True
        try:
            turns = _TURNS
            # A client that does not read its answers, or too much work that they have left behind: no more of them
            # until resume_writing or returned.
            while self.paused is None and self.calls < CALLS_MAX:
                if data[0] == _CR and data.startswith(CRLF) and not self._blank:
                    self._blank = True  # section 2.2: an empty line before a request is skipped, one
                    data = data[2:]
                if not COMPILED:
                    end = data.find(HEAD_END)
                else:
                    last = self._last_head
                    end = find_head_end(data) if last is None else last.find_end(data)
                if end < 0:
                    self._await_head(data)
                    return
                end += 4
                if not self._begin(data, end):
                    return
                data, self._buffer = self._buffer, b""
                if not data:
                    return
                turns -= 1
                if not turns:
                    self._resume_soon()
                    break
            self._keep_for_later(data)
        except ProtocolError as error:
            self._refuse(earliest_fault(data[: end - 1] if end > 0 else data, self._limits) or error)
        finally:
            self._pumping = False

    def _await_head(self, data: bytes) -> None:
        """Hold an incomplete head, unless it is hopeless already."""
        if data and data != b"\r":
            partial = self._partial or PartialHead()
            try:
                partial.look(data, self._limits)
            except ProtocolError as error:
                self._refuse(earliest_fault(data, self._limits) or error)
                return
            if self._eof:
                self._refuse_cut()
                return
            if self._partial is None:
                self._partial = partial
                timeout = self.service.timeouts.header
                # The true time, not the coarse clock's: that would be up to a second short of what was promised.
                self.deadline = time.monotonic() + timeout if timeout else NEVER
        elif self._eof:
            self._end()
            return
        self._buffer = data
        if not self._reading:
            self.release()

    def _begin(self, data: bytes, end: int) -> bool:
        """Read the head in data[:end] and start its exchange; True if it has been answered and the next may begin."""
        service = self.service
        if end == len(data):
            head, data = data, b""
        else:
            head, data = data[:end], data[end:]
        last = self._last_head
        request = self._read_first(head) if last is None else last.read(head, self._limits)
        service.requests += 1
        if service.give_idle is not None and not request.expect_continue:
            self._raw = head
        self.deadline = NEVER
        self._partial = None
        self._blank = False
        self._request = request
        if service.access is not None:
            if service.access.timed:
                self._began = service.loop.time()
            self._status = self._sent = 0
        if service.request_timeout:
            # One that was moved here keeps what it had.
            self.answer_by = min(self.answer_by, time.monotonic() + service.request_timeout)
        self._keep = request.keep_alive and (self._remaining is None or self._remaining.spend(service.now))
        self._exchange = exchange = service.gateway.open(self, request)
        if request.length == 0:
            self._state = READ
            if data or not self._reading:
                self._keep_for_later(data)
        else:
            self._begin_body(request, data)
        if self._exchange is exchange:  # a malformed body may have ended it already
            exchange.start()
            if self._eof and self._exchange is exchange:
                self._at_eof(exchange)
        return self._state == HEAD

    def _read_first(self, head: bytes) -> Request:
        """Read the connection's first head; only the next one can be like one before, and many have no next one."""
        request = read_request(head, self.service.parser, self._limits)
        if request.keep_alive:
            self._last_head = make_last_head(self.service.parser)
        return request

    def _begin_body(self, request: Request, data: bytes) -> None:
        """Read the body, of which `data` has come, perhaps with what follows it."""
        if request.length is None:
            self._state = CHUNKED
            self._body = ChunkedBody(self._limits)
        else:
            self._state = LENGTH
            self._left = request.length
        self._pace = BodyPace(self.service.now)
        self.deadline = self.service.now + 1.0
        if not self._reading:
            self.release()  # what has been held is this body: the rest of it is wanted now
        if data:
            self._read_body(data)

    def _at_eof(self, exchange: Exchange) -> None:
        """A pipelined request has been begun after the client had ended its side."""
        if self._state == READ:
            exchange.hung_up()
        else:
            self._refuse_cut()

    def _read_body(self, data: bytes) -> None:
        """Take octets of the request body; with no exchange left to want them, they are thrown away."""
        exchange = self._exchange
        pace = self._pace
        assert pace is not None  # set with the state, as the chunked body is
        raw = data
        if self._state == LENGTH:
            rest = b""
            if len(data) > self._left:
                data, rest = data[: self._left], data[self._left :]
            self._left -= len(data)
            pace.took(len(data))
            done = not self._left
        else:
            body = self._body
            assert body is not None
            try:
                data = body.feed(data)
            except ProtocolError as error:
                self._refuse(error)
                return
            pace.took(len(data))
            done, rest = body.done, body.rest
        if self._raw:
            raw = self._raw + raw[: len(raw) - len(rest)]
            self._raw = raw if len(raw) <= _MOVED_MAX else b""
        if done:
            self.deadline = NEVER
            self._body = None
            self._state = READ
            self._keep_for_later(rest)
        if exchange is not None:
            if data:
                exchange.feed(data)
            if done and self._exchange is exchange:  # it may have refused the body
                exchange.end()
        elif done:
            self._next()
        else:
            self._allowance -= len(data)
            if self._allowance < 0:
                self._end()

    def _throw_away(self, data: bytes) -> None:
        """The connection is ending: drop what comes, up to a bound; then let the client wait for the end."""
        self._allowance -= len(data)
        if self._allowance < 0:
            self.hold()

    def _refuse_cut(self) -> None:
        self._refuse(ProtocolError(400, "the request ended before it was complete"))

"""HTTP/1.1 and HTTP/1.0 on one connection: framing both ways, pipelining, keep-alive (RFC 9112).

Reading and writing are kept apart. A request is read only when the one before it has been answered, so that a pipeline
of any length costs one exchange and one bounded buffer. Nothing is started inside a parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.chunked import ChunkedBody
from shardserve.http.connection import NEVER, Connection
from shardserve.http.head import ResponseHead, status_line
from shardserve.http.request import HEAD_END, Request, check_partial, read_request
from shardserve.logs import log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shardserve.http.exchange import Exchange
    from shardserve.http.service import Service

# Where reading stands. READ: the request is complete, its answer is not; what comes now waits in the buffer.
_HEAD, _LENGTH, _CHUNKED, _READ, _CLOSED = range(5)
# How the body of the answer is delimited (section 6.3). NOTHING: it must not have one.
_TO_COME, _BY_LENGTH, _BY_CHUNKS, _BY_CLOSE, _NOTHING = range(5)

_ROUNDS = 16  # requests of one pipeline answered in a row before other connections get their turn
_BUFFER_MAX = 65536  # octets of requests to come that are held while one is being answered
_DISCARD_MAX = 65536  # octets of an unwanted body that are read to keep the connection

_JOIN_MAX = 65536  # octets of a body that are copied to leave with the head in one write

_CRLF = b"\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE_LINE = b"connection: close\r\n"
_KEEP_LINE = b"connection: keep-alive\r\n"
_CHUNKED_LINE = b"transfer-encoding: chunked\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class H1Connection(Connection):
    """One connection that speaks HTTP/1. At most one exchange is current."""

    __slots__ = (
        "_allowance",
        "_body",
        "_buffer",
        "_eof",
        "_exchange",
        "_framing",
        "_keep",
        "_left",
        "_pumping",
        "_request",
        "_state",
        "_unsent",
    )

    def __init__(self, service: Service) -> None:
        Connection.__init__(self, service)
        self._buffer = b""
        self._state = _HEAD
        self._exchange: Exchange | None = None
        self._request: Request | None = None
        self._body: ChunkedBody | None = None
        self._left = 0  # octets of the request body to come, where its length was declared
        self._allowance = 0  # octets of an unwanted body that may still come
        self._framing = _TO_COME
        self._unsent = 0  # octets of the response body that were declared and not sent yet
        self._keep = True
        self._eof = False
        self._pumping = False

    # Reading

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        state = self._state
        if state == _HEAD:
            self._pump(data)
        elif state == _READ:
            self._buffer = data
            if len(data) > _BUFFER_MAX:
                self.hold()
        elif state != _CLOSED:
            self._read_body(data)

    def eof_received(self) -> bool:
        """The client will send no more; it may still read (section 9.6): requests that are complete are answered."""
        self._eof = True
        if self._state == _READ:
            if self._exchange is not None:
                self._exchange.hung_up()
            return True
        if self._state == _HEAD and HEAD_END in self._buffer:
            return True  # its turn comes
        if self._buffer or self._state in (_LENGTH, _CHUNKED):
            self._refuse_cut()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See Connection.connection_lost."""
        self._state = _CLOSED
        self._buffer = b""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.gone = True
            exchange.lost()
        Connection.connection_lost(self, exc)

    def _pump(self, data: bytes) -> None:
        """Begin as many of the requests in `data` as may begin now; keep the rest.

        A loop, not a recursion from one answer to the next request: an application that answers at once would nest a
        long pipeline too deep.
        """
        self._pumping = True
        try:
            for _ in range(_ROUNDS):
                if data.startswith(_CRLF):  # section 2.2: an empty line before a request is skipped
                    data = data[2:]
                end = data.find(HEAD_END)
                if end < 0:
                    self._await_head(data)
                    return
                end += 4
                if not self._begin(data, end):
                    return
                data, self._buffer = self._buffer, b""
                if not data:
                    return
            self._buffer = data
            self._resume_soon()
        except ProtocolError as error:
            self._refuse(error)
        finally:
            self._pumping = False

    def _await_head(self, data: bytes) -> None:
        """Hold an incomplete head, unless it is hopeless already."""
        if data and data != b"\r":
            check_partial(data, self.service.limits)
            if self._eof:
                self._refuse_cut()
                return
        self._buffer = data

    def _begin(self, data: bytes, end: int) -> bool:
        """Read the head in data[:end] and start its exchange; True if it has been answered and the next may begin."""
        service = self.service
        if end == len(data):
            request = read_request(data, service.parser, service.limits)
            data = b""
        else:
            request = read_request(data[:end], service.parser, service.limits)
            data = data[end:]
        service.requests += 1
        self.deadline = NEVER
        self._request = request
        self._framing = _TO_COME
        self._keep = request.keep_alive
        self._exchange = exchange = service.open_exchange(self, request)
        if request.length == 0:
            self._state = _READ
            self._buffer = data
            exchange.end()
        else:
            if request.length is None:
                self._state = _CHUNKED
                self._body = ChunkedBody(service.limits)
            else:
                self._state = _LENGTH
                self._left = request.length
            if data:
                self._read_body(data)
        if self._exchange is exchange:  # a malformed body may have ended it already
            exchange.start()
            if self._eof and self._exchange is exchange:
                self._at_eof(exchange)
        return self._state == _HEAD

    def _at_eof(self, exchange: Exchange) -> None:
        """A pipelined request has been begun after the client had ended its side."""
        if self._state == _READ:
            exchange.hung_up()
        else:
            self._refuse_cut()

    def _read_body(self, data: bytes) -> None:
        """Take octets of the request body; with no exchange left to want them, they are thrown away."""
        exchange = self._exchange
        if self._state == _LENGTH:
            rest = data[self._left :]
            if rest:
                data = data[: self._left]
            self._left -= len(data)
            done = not self._left
        else:
            body = self._body
            assert body is not None  # set with the state
            try:
                data = body.feed(data)
            except ProtocolError as error:
                self._refuse(error)
                return
            done, rest = body.done, body.rest
        if done:
            self._body = None
            self._state = _READ
            self._buffer = rest
            if len(rest) > _BUFFER_MAX:
                self.hold()
        if exchange is not None:
            if data:
                exchange.feed(data)
            if done:
                exchange.end()
        elif done:
            self._next()
        else:
            self._allowance -= len(data)
            if self._allowance < 0:
                self._end()

    # Writing

    def respond(
        self, exchange: Exchange, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, more: bool
    ) -> None:
        """See Wire.respond."""
        request = self._request
        if exchange is not self._exchange or request is None:
            return
        head = ResponseHead(status_line(status), headers)
        self._choose_framing(request, head, status, body, more)
        if head.close or self.service.draining or (not more and self._unread_is_large()):
            self._keep = False
        if not self._keep:
            head.add(_CLOSE_LINE)
        elif request.version == "1.0":
            head.add(_KEEP_LINE)
        if not head.dated:
            head.add(self.service.date)
        encoded = head.encode()
        if self._framing == _BY_LENGTH and len(body) == self._unsent <= _JOIN_MAX and not more:
            # The usual answer: head and body leave in one write.
            self._unsent = 0
            self.transport.write(encoded + body)
            self._finish()
        else:
            self.transport.write(encoded)
            self._write_body(body, more)

    def _choose_framing(self, request: Request, head: ResponseHead, status: int, body: bytes, more: bool) -> None:
        """Section 6.3: decide how the client will know where the body ends, and say so in the head."""
        length = head.length
        if request.method == "HEAD" or status == 304:
            self._framing = _NOTHING
            if length is None and not more and body:
                length = len(body)
        elif status == 204:
            self._framing = _NOTHING
            return
        elif length is not None or not more:
            self._framing = _BY_LENGTH
            if length is None:
                length = len(body)
            self._unsent = length
        elif request.version == "1.1":
            self._framing = _BY_CHUNKS
            head.add(_CHUNKED_LINE)
        else:
            self._framing = _BY_CLOSE
            self._keep = False
        if length is not None:
            head.add(b"content-length: %d\r\n" % length)

    def write(self, exchange: Exchange, body: bytes, more: bool) -> None:
        """See Wire.write."""
        if exchange is self._exchange:
            self._write_body(body, more)

    def _write_body(self, body: bytes, more: bool) -> None:
        transport = self.transport
        if self._framing == _BY_CHUNKS:
            if body:
                transport.writelines((b"%x\r\n" % len(body), body, _CRLF if more else b"\r\n0\r\n\r\n"))
            elif not more:
                transport.write(_LAST_CHUNK)
        elif self._framing == _BY_LENGTH:
            if len(body) > self._unsent:
                self._complain("is longer than its Content-Length; the rest was not sent")
                body = body[: self._unsent]
                more = False
                self._keep = False
            if body:
                self._unsent -= len(body)
                transport.write(body)
            if not more and self._unsent:
                self._complain("is shorter than its Content-Length; the connection was closed")
                self._keep = False
        elif self._framing == _BY_CLOSE and body:
            transport.write(body)
        if not more:
            self._finish()

    def _complain(self, what: str) -> None:
        request = self._request
        if request is not None:
            log.error("%s %s: the response %s", request.method, request.path.decode("latin-1"), what)

    def inform(self, exchange: Exchange, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """See Wire.inform."""
        request = self._request
        if exchange is not self._exchange or request is None or self._framing != _TO_COME or request.version == "1.0":
            return
        if status == 100:
            request.expect_continue = False
            self.transport.write(_CONTINUE)
            return
        head = ResponseHead(b"HTTP/1.1 %d \r\n" % status, headers)
        self.transport.write(head.encode())

    def abort(self, exchange: Exchange) -> None:
        """See Wire.abort: close without the end that the framing promised."""
        if exchange is self._exchange:
            self._exchange = None
            self._end()

    def _refuse(self, error: ProtocolError) -> None:
        """Answer a request that is not one we serve, and close: where it ends is not sure (section 2.2, 6.3)."""
        log.info("refused a request from %s: %d %s", self.client or "a unix socket", error.status, error.reason)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.gone = True
            exchange.lost()
        if exchange is None or self._framing == _TO_COME:
            body = error.reason.encode("latin-1", "replace") + b"\n"
            head = ResponseHead(status_line(error.status), [(b"content-type", b"text/plain; charset=utf-8")])
            for line in (b"content-length: %d\r\n" % len(body), _CLOSE_LINE, self.service.date):
                head.add(line)
            self.transport.write(head.encode() + body)
        self._end()

    def _refuse_cut(self) -> None:
        self._refuse(ProtocolError(400, "the request ended before it was complete"))

    # From one request to the next

    def _unread_is_large(self) -> bool:
        """Whether more of the request body is to come than is worth reading to keep the connection."""
        if self._state == _LENGTH:
            waits = self._request is not None and self._request.expect_continue
            return waits or self._left > _DISCARD_MAX  # a client that waits for 100 may or may not send its body
        return self._state == _CHUNKED and self._request is not None and self._request.expect_continue

    def _finish(self) -> None:
        """The response is complete."""
        large = self._unread_is_large()
        self._exchange = None
        if not self._keep or self.service.draining or large:
            self._end()
        elif self._state == _READ:
            self._next()
        else:
            self._allowance = _DISCARD_MAX
            self.deadline = self.service.now + self.service.timeouts.close_linger
            self.release()

    def _next(self) -> None:
        """Be ready for the next request; one that is here already begins in a turn of its own."""
        if self._eof and not self._buffer:
            self._end()
            return
        self._state = _HEAD
        self._request = None
        self.deadline = self.service.now + self.service.timeouts.keep_alive
        self.release()
        if self._buffer and not self._pumping:
            self._resume_soon()

    def _resume_soon(self) -> None:
        # In a context of its own: here the application's may be current, and the next request must not inherit it.
        self.service.loop.call_soon(self._resume, context=self.service.context)

    def _resume(self) -> None:
        if self._state == _HEAD and self._buffer:
            data, self._buffer = self._buffer, b""
            self._pump(data)

    def _end(self) -> None:
        """Close after the answer: at once if the client has nothing more to send, else by lingering."""
        complete = self._state == _READ and not self._buffer
        asked = self._request is not None and not self._request.keep_alive
        self._state = _CLOSED
        self._buffer = b""
        if self._eof or (complete and asked):
            self.close()
        else:
            self.linger()

    # Deadlines and drain

    def expire(self) -> None:
        """See Connection.expire."""
        self.close()

    def drain(self) -> None:
        """See Connection.drain: with no request under way, wait a moment for one that may be on its way."""
        if self._exchange is None and not self.lingering:
            self.deadline = min(self.deadline, self.service.now + self.service.timeouts.drain_linger)

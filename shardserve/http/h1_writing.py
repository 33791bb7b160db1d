"""The answering half of an HTTP/1 connection: framing of responses (RFC 9112 section 6), interim ones, error answers.

What is asked of it comes from exchanges; how the next request gets its turn is for the reading half, in h1.py.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.connection import NEVER, Connection
from shardserve.http.grammar import CRLF, HEAD_END
from shardserve.http.h1_states import BY_CHUNKS, BY_CLOSE, BY_LENGTH, HEAD, NOTHING, READ, TO_COME
from shardserve.http.head import (
    SHORT_LENGTHS,
    SHORT_MAX,
    STATUS_LINES,
    UNDECLARED,
    CheckedHead,
    encode_fields,
    length_field,
    status_line,
)
from shardserve.http.request_line import HTTP_1_1
from shardserve.http.service import REFUSALS_LOGGED
from shardserve.logs import log, printable
from shardserve.native import chunk, join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shardserve.http.access import Line
    from shardserve.http.exchange import Exchange
    from shardserve.http.files import FileTransfer
    from shardserve.http.request import Request
    from shardserve.http.service import Service

# As a name of this module: CPython 3.11 takes twice as long to call a method of an imported one.
_STATUS_LINES = STATUS_LINES
COMPILED = not __file__.endswith((".py", ".pyc"))
_JOIN_MAX = 65536  # octets of a body that are copied to leave with the head in one write
_CHUNK_MAX = 8192  # octets of a chunk that are copied to be one piece with its framing
_CLIENT_GONE = 499  # in the access log, for a client that left before the head; nginx's number

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE_LINE = b"\r\nconnection: close"
_KEEP_LINE = b"\r\nconnection: keep-alive"
_CHUNKED_LINE = b"\r\ntransfer-encoding: chunked"
_LAST_CHUNK = b"0\r\n\r\n"
_LONGER = "is longer than its Content-Length; the rest was not sent"
_PLAIN_TEXT = ((b"content-type", b"text/plain; charset=utf-8"),)


class H1Writing(Connection):
    """Answers the exchange that is current. The reading half says what comes after an answer (`_finish`, `_end`)."""

    __slots__ = (
        "_began",
        "_behind",
        "_exchange",
        "_file",
        "_framing",
        "_keep",
        "_logged",
        "_request",
        "_sent",
        "_state",
        "_status",
        "_unsent",
    )

    def set_up(self, service: Service) -> None:
        """See Connection.set_up."""
        Connection.set_up(self, service)
        self._exchange: Exchange | None = None
        self._request: Request | None = None
        self._state = HEAD
        self._framing = TO_COME
        self._unsent = 0  # octets of the response body that were declared and not sent yet
        self._keep = True
        self._file: FileTransfer | None = None  # a file that is being sent
        self._behind: list[Callable[[], None]] = []  # what the exchange has asked for meanwhile
        # For the access log
        self._logged: Line | None = None
        self._began = 0.0  # when the request's head was complete, where that is asked for
        self._status = 0
        self._sent = 0  # octets of the response body, without their framing

    # The reading half's

    def _finish(self) -> None:
        """The response is complete."""
        raise NotImplementedError

    def _end(self) -> None:
        """Close after the answer, without losing it."""
        raise NotImplementedError

    def _unread_is_large(self) -> bool:
        """Whether more of the request body is to come than is worth reading to keep the connection."""
        raise NotImplementedError

    def _stop_file(self) -> None:
        """Send no more of a file, if one is being sent: its exchange is not the current one any more."""
        raise NotImplementedError

    # What exchanges ask for

    def respond(
        self,
        exchange: Exchange,
        status: int,
        headers: Iterable[tuple[bytes, bytes]] | CheckedHead,
        body: bytes,
        more: bool,
    ) -> None:
        """See Wire.respond."""
        if exchange is not self._exchange:
            return
        request = exchange.request
        service = self.service
        if type(headers) is CheckedHead:  # which has no subclasses: isinstance takes longer to say no
            head = headers
        else:
            line = _STATUS_LINES.get(status) or status_line(status)
            head = encode_fields(line, headers)  # type: ignore[arg-type]  # not narrowed by type()
        self._status = status
        framing = self._choose_framing(request, head.length, status, body, more)
        if head.close or service.closing or (self._state != READ and not more and self._unread_is_large()):
            self._keep = False
        connection = b""
        if not self._keep:
            connection = _CLOSE_LINE
        elif request.version != HTTP_1_1:
            connection = _KEEP_LINE
        end = HEAD_END if head.dated else service.date_end
        size = len(body)
        if self._framing == BY_LENGTH and size == self._unsent and size <= _JOIN_MAX:
            # The usual answer: head and body leave in one write.
            self._unsent = 0
            self._sent = size
            octets = join((head.octets, framing, connection, end, body))
            if self.ours is not None:
                self.ours.write(octets)
            else:
                self.transport.write(octets)
            if not more:
                self._finish()
        else:
            self.transport.write(join((head.octets, framing, connection, end)))
            self._write_body(body, more)

    def _choose_framing(self, request: Request, length: int, status: int, body: bytes, more: bool) -> bytes:
        """Section 6.3: decide how the client will know where the body ends; return the field that says so."""
        method = request.method
        if status == 304 or (method != "GET" and method == "HEAD"):  # compiled, what is the same is compared at once
            self._framing = NOTHING
            if length == UNDECLARED:
                if more or not body:
                    return b""
                length = len(body)
        elif status == 204:
            self._framing = NOTHING
            return b""
        elif length != UNDECLARED or not more:
            self._framing = BY_LENGTH
            if length == UNDECLARED:
                length = len(body)
            self._unsent = length
        elif request.version == HTTP_1_1:
            self._framing = BY_CHUNKS
            return _CHUNKED_LINE
        else:
            self._framing = BY_CLOSE
            self._keep = False
            return b""
        if not COMPILED and length < SHORT_MAX:
            return SHORT_LENGTHS[length]  # as length_field would, with a call less
        return length_field(length)

    def write(self, exchange: Exchange, body: bytes, more: bool) -> None:
        """See Wire.write."""
        if exchange is not self._exchange:
            return
        if self._file is not None:
            self._behind.append(partial(self.write, exchange, body, more))
        else:
            self._write_body(body, more)

    def _write_body(self, body: bytes, more: bool) -> None:
        transport = self.transport
        if self._framing == BY_CHUNKS:
            if body:
                size = len(body)
                self._sent += size
                if size <= _CHUNK_MAX:
                    transport.write(chunk(body, not more))
                else:
                    transport.writelines((b"%x\r\n" % size, body, CRLF if more else b"\r\n0\r\n\r\n"))
            elif not more:
                transport.write(_LAST_CHUNK)
        elif self._framing == BY_LENGTH:
            if len(body) > self._unsent:
                self._complain(self._request, _LONGER)
                body = body[: self._unsent]
                self._keep = False
                if more:  # the application has more to say than it declared: nobody hears it
                    more = False
                    self._lose_exchange()
            if body:
                self._sent += len(body)
                self._unsent -= len(body)
                transport.write(body)
            if not more and self._unsent:
                self._complain(self._request, "is shorter than its Content-Length; the connection was closed")
                self._keep = False
        elif self._framing == BY_CLOSE and body:
            self._sent += len(body)
            transport.write(body)
        if not more:
            self._finish()

    def overrun(self, exchange: Exchange) -> None:
        """See Wire.overrun."""
        self._complain(exchange.request, _LONGER)
        self._keep = False
        if self._exchange is None and self._state == HEAD:  # else the answer that is under way closes, or it is closed
            self._end()

    def _complain(self, request: Request | None, what: str) -> None:
        if request is not None:
            log.error("%s %s: the response %s", request.method, printable(request.path.decode("latin-1")), what)

    def inform(self, exchange: Exchange, status: int, headers: Iterable[tuple[bytes, bytes]] | CheckedHead) -> None:
        """See Wire.inform."""
        request = self._request
        if exchange is not self._exchange or request is None or self._framing != TO_COME or request.version == "1.0":
            return
        if status == 100:
            request.expect_continue = False
            self.transport.write(_CONTINUE)
            return
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
        head = headers if isinstance(headers, CheckedHead) else encode_fields(b"", headers)
        self.transport.write(line + head.octets + HEAD_END)

    def trail(self, exchange: Exchange, headers: list[tuple[bytes, bytes]]) -> None:
        """See Wire.trail: trailer fields go behind the last chunk (section 7.1.2), to whom asks for them."""
        request = self._request
        if exchange is not self._exchange or request is None:
            return
        octets = encode_fields(b"0", headers).octets + HEAD_END
        if self._file is not None:
            self._behind.append(partial(self.trail, exchange, headers))
        elif self._framing == BY_CHUNKS and request.takes_trailers():
            self.transport.write(octets)
            self._finish()
        else:
            log.debug("%s %s: trailers dropped", request.method, printable(request.path.decode("latin-1")))
            self._write_body(b"", False)

    def abort(self, exchange: Exchange) -> None:
        """See Wire.abort: close without the end that the framing promised."""
        if exchange is self._exchange:
            self._record()
            self._exchange = None
            self._stop_file()
            if self._framing == BY_CLOSE:
                self.cut()  # a proper close is what would make it look whole
            else:
                self._end()

    def refuse(self, exchange: Exchange, error: ProtocolError) -> None:
        """See Wire.refuse."""
        if exchange is self._exchange:
            self._refuse(error)

    # The server's own answers

    def _refuse(self, error: ProtocolError) -> None:
        """Answer a request that is not one we serve, and close: where it ends is not sure (section 2.2, 6.3)."""
        self.service.refused += 1
        if self._framing == TO_COME and self.service.refused <= REFUSALS_LOGGED:
            log.info("refused a request from %s: %d %s", self.client or "a unix socket", error.status, error.reason)
        self._end_with(error)

    def expire_answer(self) -> None:
        """See Connection.expire_answer: 504 if the response has not begun (RFC 9110, 15.6.5), else it is cut."""
        self.answer_by = NEVER
        exchange, request = self._exchange, self._request
        if exchange is not None and request is not None:
            seconds = self.service.timeouts.request
            end = "answered with 504" if self._framing == TO_COME else "its response is cut"
            path = printable(request.path.decode("latin-1"))
            log.warning("%s %s: not complete within %g s (--request-timeout); %s", request.method, path, seconds, end)
            self._end_with(ProtocolError(504, "the response took too long"))
            self.service.overdue.add(exchange, self.service.now)

    def _end_with(self, error: ProtocolError) -> None:
        """Part with the current request: by an answer of the server's own if there is none yet, and by closing."""
        begun = self._framing != TO_COME
        if not begun:
            self._status = error.status
            body = error.reason.encode("latin-1", "replace") + b"\n"
            octets = encode_fields(status_line(error.status), (*_PLAIN_TEXT, *error.headers)).octets
            close = _CLOSE_LINE + (b", upgrade" if error.status == 426 else b"")  # RFC 9110 section 7.8
            own = length_field(len(body)) + close + self.service.date + HEAD_END
            if self._request is not None and self._request.method == "HEAD":
                body = b""
            self._sent = len(body)
            self.transport.write(octets + own + body)
        cut = begun and self._exchange is not None
        if not begun or cut:  # else it was recorded when its answer was complete
            self._record()
        self._lose_exchange()
        if cut and self._framing == BY_CLOSE:
            self.cut()  # a proper close is what would make it look whole
        else:
            self._end()

    def _lose_exchange(self) -> None:
        """Part with the current exchange, if any; it is told that nobody hears it any more."""
        exchange, self._exchange = self._exchange, None
        self._stop_file()
        if exchange is not None:
            exchange.gone = True
            exchange.lost()

    def _record(self) -> None:
        """Write the current request to the access log, if there is one."""
        access = self.service.access
        if access is None:
            return
        request, status, sent = self._request, self._status or _CLIENT_GONE, self._sent
        if self._file is not None:
            sent += self._file.sent
        if request is None:
            access.record_unread(self.client, status, sent)
        else:
            self._logged = access.record(self._logged, self.client, request, status, sent, self._began)

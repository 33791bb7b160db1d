"""The call of a WSGI application, on a thread: start_response, write, the blocks it returns, and close (PEP 3333)."""

from __future__ import annotations

import contextvars
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shardserve.errors import ClientDisconnected
from shardserve.gateway.environ import make_environ
from shardserve.gateway.failure import log_failure
from shardserve.gateway.file_wrapper import FileWrapper
from shardserve.gateway.spool import Spool
from shardserve.http.exchange import Exchange
from shardserve.http.head import encode_fields, status_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shardserve.gateway.wsgi import WsgiGateway
    from shardserve.http.exchange import Wire
    from shardserve.http.files import FilePart
    from shardserve.http.request import Request

    Fields = Iterable[tuple[str, str]]
    ExcInfo = tuple[type[BaseException], BaseException, Any] | tuple[None, None, None] | None

_AHEAD_MAX = 65536  # octets that a streaming application may be ahead of its client


class WsgiCall(Exchange):
    """The half of a WSGI exchange that runs on the application's thread. What it sends it hands to the loop's half."""

    __slots__ = ("_acknowledged", "_body", "_finished", "_gate", "_gateway", "_headers", "_posted", "_sent", "_status")

    def __init__(self, wire: Wire, request: Request, gateway: WsgiGateway) -> None:
        Exchange.__init__(self, wire, request)
        self._gateway = gateway
        self._body = Spool(gateway.room)
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._sent = False  # the head has been handed to the loop
        self._finished = False  # and so has the end of the body
        # Flow control of a streamed response: each counter has one writer, the gate wakes the thread.
        self._posted = 0  # octets handed to the loop, written by the thread
        self._acknowledged = 0  # octets the client keeps up with, written by the loop
        self._gate: threading.Event | None = None

    # The loop's half

    def _deliver(self, data: bytes, more: bool, first: bool) -> None:
        """Hand a block to the wire."""
        raise NotImplementedError

    def _deliver_file(self, part: FilePart, first: bool) -> None:
        """Hand a file to the wire, which ends the response."""
        raise NotImplementedError

    def _fail(self, error: BaseException) -> None:
        """The application has failed."""
        raise NotImplementedError

    def _returned(self) -> None:
        """The call is over."""
        raise NotImplementedError

    # On the thread

    def call(self) -> None:
        """Call the application and send what it returns. Runs on a thread of the pool."""
        box = self.wire.service.box
        try:
            if not self.gone:  # else the client left while the request waited for a thread
                self.slot = box.began(self, self.request.method, self.request.path)
                contextvars.Context().run(self._run)
        except ClientDisconnected:
            pass
        except BaseException as error:  # SystemExit too: a request must not end the thread
            if self.gone or self._finished:
                log_failure(self, error)
            else:
                self._hand(self._fail, error)
        finally:
            slot, self.slot = self.slot, -1
            if slot >= 0:
                box.ended(self, slot)
            self._hand(self._returned)

    def _hand(self, callback: Callable[..., None], *args: object) -> None:
        """Run `callback` on the loop, if the worker has not left it behind."""
        with suppress(RuntimeError):  # the loop is closed: a call that outlived the graceful timeout
            self.wire.service.loop.call_soon_threadsafe(callback, *args)

    def _run(self) -> None:
        gateway = self._gateway
        environ = make_environ(gateway.base, self.wire, self.request, self._body, gateway.proxies, gateway.root_path)
        environ["wsgi.early_hints"] = self._early_hints
        result = gateway.app(environ, self._start_response)
        try:
            if isinstance(result, list | tuple):
                self._require_status()
                self._post(b"".join(result), more=False)
            elif isinstance(result, FileWrapper):
                self._require_status()
                part = result.part()
                if part is None:
                    self._post_blocks(result)
                else:
                    self._post_file(part)
            else:
                self._post_blocks(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _post_blocks(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            self._require_status()
            if block:
                self._post(block, more=True)
        self._require_status()
        self._post(b"", more=False)

    def _require_status(self) -> None:
        if not self._status:
            raise RuntimeError("the application did not call start_response before its first block")

    def _start_response(self, status: str, headers: Fields, exc_info: ExcInfo = None) -> Callable[[bytes], object]:
        """PEP 3333, "The start_response() Callable".

        Of hop-by-hop fields those of the connection (Connection, Keep-Alive, Transfer-Encoding) are dropped, as under
        gunicorn, but Connection: close is heeded. Raises TypeError or ValueError for a head that must not be sent.
        """
        if exc_info:
            try:
                if self._sent and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # or the frame and the traceback keep each other alive
        elif self._status:
            raise RuntimeError("start_response was called twice without exc_info")
        if not isinstance(status, str):
            raise TypeError(f"start_response: the status is a str such as '200 OK', not {status!r}")
        code = status[:3]
        if not code.isdecimal() or not code.isascii() or status[3:4] not in ("", " "):
            raise ValueError(f"start_response: {status!r} is not a status such as '200 OK'")
        encoded = _encode(headers)
        encode_fields(status_line(int(code)), encoded)  # now, while the application can still be told
        self._headers = encoded
        self._status = int(code)
        return self._write

    def _early_hints(self, headers: Fields) -> None:
        """Send 103 Early Hints with these fields, (name, value); nothing once the response has begun (gunicorn's name).

        Raises TypeError or ValueError for fields that must not be sent.
        """
        encoded = _encode(headers)
        encode_fields(b"", encoded)
        if not self._sent:
            self._hand(self.wire.inform, self, 103, encoded)

    def _write(self, data: bytes) -> None:
        """The write() callable of PEP 3333."""
        if data:
            self._post(data, more=True)

    def _post(self, data: bytes, more: bool) -> None:
        """Hand a block to the loop; waits while the application is too far ahead of its client."""
        if not isinstance(data, bytes):
            raise TypeError(f"a WSGI application yields bytes, not {type(data).__name__}")
        if self.gone:
            raise ClientDisconnected("the client has gone")
        first, self._sent = not self._sent, True
        if more and self._gate is None:
            self._gate = threading.Event()
        self._finished = not more
        self._hand(self._deliver, data, more, first)
        self._posted += len(data)
        gate = self._gate
        if more and gate is not None:
            while self._posted - self._acknowledged > _AHEAD_MAX and not self.gone:
                gate.wait()
                gate.clear()  # before looking again: a set() in between is then seen at the next wait

    def _post_file(self, part: FilePart) -> None:
        """Hand a file to the loop, which sends it while this thread goes on to other requests."""
        if self.gone:
            part.close()
            raise ClientDisconnected("the client has gone")
        first, self._sent = not self._sent, True
        self._finished = True
        self._hand(self._deliver_file, part, first)


def _encode(headers: Fields) -> list[tuple[bytes, bytes]]:
    """Header fields as octets. Raises TypeError or ValueError that say which field is wrong."""
    encoded = []
    for header in headers:
        try:
            name, value = header
            encoded.append((name.encode("latin-1"), value.encode("latin-1")))
        except UnicodeEncodeError:
            raise ValueError(f"header {header!r} has characters beyond latin-1 (PEP 3333)") from None
        except (AttributeError, TypeError, ValueError):
            raise TypeError(f"header {header!r} is not a tuple of two str (PEP 3333)") from None
    return encoded

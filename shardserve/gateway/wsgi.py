"""WSGI (PEP 3333): what a gateway and its exchanges have in common, wherever the application is called.

The request body is read whole before the call, but where it is streamed (wsgi_streamed.py). The call is made on the
loop's own thread (wsgi_inline.py) or on one of a pool (wsgi_pool.py); either way there is a fresh context for each
call, and no event loop runs where it is made.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from shardserve.errors import ProtocolError
from shardserve.gateway.file_wrapper import FileWrapper
from shardserve.gateway.spool import Body, Room, Spool
from shardserve.http.exchange import Exchange, Gateway
from shardserve.http.head import CheckedHead, encode_text, status_line
from shardserve.logs import log
from shardserve.native import method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shardserve.gateway.target import TrustedProxies
    from shardserve.http.exchange import Give, Wire
    from shardserve.http.request import Request

    App = Callable[[dict[str, Any], Callable[..., Callable[[bytes], object]]], Iterable[bytes]]
    Fields = Iterable[tuple[str, str]]
    ExcInfo = tuple[type[BaseException], BaseException, Any] | tuple[None, None, None] | None

_STATUSES: dict[str, tuple[int, bytes]] = {}  # as applications give them -> number and line
_STATUSES_MAX = 512
_STATUS_MAX = 64  # characters of one that is kept
# What most requests have, and places for what each sets: a dictionary that has its size is copied at once.
_USUAL = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "",
    "QUERY_STRING": "",
    "RAW_URI": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "",
    "SERVER_PORT": "",
    "REMOTE_ADDR": "",
    "REMOTE_PORT": "",
    "wsgi.url_scheme": "",
    "wsgi.input": "",
    "wsgi.early_hints": "",
}


class WsgiGateway(Gateway):
    """One per worker: what every request of it shares."""

    def __init__(
        self, app: App, proxies: TrustedProxies, root_path: str, extra: dict[str, Any], *, threads: int = 1
    ) -> None:
        """`extra` is put into each environ as it is; `threads` make calls at once."""
        self.app = app
        self.proxies = proxies
        self.root_path = root_path
        self.room = Room()
        self.base: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": threads > 1,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
            **extra,
            **_USUAL,
        }
        # Of the last connection: its end here, its scheme, and the base with these (environ.py).
        self.here: tuple[object, str, dict[str, Any]] = (None, "", {})


class WsgiExchange(Exchange):
    """One request of a WSGI application: its body, and start_response. How it is called is the subclass's."""

    __slots__ = ("_body", "_ended", "_gateway", "_head", "_hints", "_sent", "_started", "_status")

    def __init__(self, wire: Wire, request: Request, gateway: WsgiGateway) -> None:
        self.open(wire, request, gateway)

    def open(self, wire: Wire, request: Request, gateway: WsgiGateway) -> None:
        """What __init__ does."""
        self.wire = wire
        self.request = request
        self.gone = False
        self.slot = -1
        self._gateway = gateway
        self._body: Body | None = None  # while there is any
        self._started = False
        self._ended = request.length == 0
        self._status = 0
        self._head: CheckedHead | None = None
        self._hints: EarlyHints | None = None  # while the application may send some
        self._sent = False  # the head is on its way

    # The subclass's

    def _ready(self) -> None:
        """The request is complete: call the application, here or elsewhere, now or when it is its turn."""
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        """The write() callable of PEP 3333."""
        raise NotImplementedError

    def _inform(self, head: CheckedHead) -> None:
        """Send 103 Early Hints."""
        raise NotImplementedError

    # The request

    def start(self) -> None:
        """See Exchange.start."""
        self._started = True
        request = self.request
        if request.length and request.length > self.wire.service.limits.spool > 0:
            self._refuse()
            return
        if request.expect_continue:
            self.wire.inform(self, 100, ())
        if self._ended:
            self._ready()

    def feed(self, data: bytes) -> None:
        """See Exchange.feed."""
        if self._body is None:
            self._body = Spool(self._gateway.room)
        body: Spool = self._body  # type: ignore[assignment]  # one that is not read while it comes is fed elsewhere
        try:
            body.write(data)
        except OSError as error:
            log.error("cannot keep a request body: %s", error)
            self.wire.refuse(self, ProtocolError(500, "cannot keep the request body"))
            return
        if body.size > self.wire.service.limits.spool > 0:
            self._refuse()

    def _refuse(self) -> None:
        self.wire.refuse(self, ProtocolError(413, "request body too large"))

    def end(self) -> None:
        """See Exchange.end."""
        self._ended = True
        if self._started:
            self._ready()

    def pass_on(self, give: Give) -> bool:
        """See Turn.pass_on; for a request that waits for its call."""
        if not self.wire.move(self, give):
            return False
        self.gone = True
        self._let_go()
        return True

    def _let_go(self) -> None:
        """Give the body's memory and disk back; whoever keeps the environ keeps nothing of ours with it."""
        if self._body is not None:
            self._body.close()
        if self._hints is not None:
            self._hints.exchange = None
            self._hints = None

    def is_streaming(self) -> bool:
        """See Exchange.is_streaming: there is no way to tell a WSGI application."""
        return False

    # What the application calls

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
        known = _STATUSES.get(status) if type(status) is str else None
        number, line = known or _learn_status(status)
        self._head = encode_text(line, headers)  # now, while the application can be told
        self._status = number
        return method(self, "_write")  # type: ignore[no-any-return]

    def _require_status(self) -> None:
        if not self._status:
            raise RuntimeError("the application did not call start_response before its first block")


class EarlyHints:
    """What an environ has as `wsgi.early_hints` (gunicorn's name).

    It forgets its request when that is over. Frameworks make cycles of their requests with the environ in them: the
    exchange, the connection and what they hold would stay until the garbage is collected, 25 objects for a request of
    Django's.
    """

    __slots__ = ("exchange",)

    exchange: WsgiExchange | None

    def __call__(self, headers: Fields) -> None:
        """Send 103 Early Hints with these fields, (name, value); nothing once the response has begun.

        Raises TypeError or ValueError for fields that must not be sent.
        """
        head = encode_text(b"", headers)
        exchange = self.exchange
        if exchange is not None and not exchange._sent:  # noqa: SLF001 its own
            exchange._inform(head)  # noqa: SLF001


def check_block(block: object) -> None:
    """Raise TypeError for what must not be a block of a response."""
    if not isinstance(block, bytes):
        raise TypeError(f"a WSGI application yields bytes, not {type(block).__name__}")


def _learn_status(status: object) -> tuple[int, bytes]:
    """The number of a status such as '200 OK', and its line."""
    if not isinstance(status, str):
        raise TypeError(f"start_response: the status is a str such as '200 OK', not {status!r}")
    code = status[:3]
    if not code.isdecimal() or not code.isascii() or status[3:4] not in ("", " "):
        raise ValueError(f"start_response: {status!r} is not a status such as '200 OK'")
    found = int(code), status_line(int(code))
    if len(_STATUSES) < _STATUSES_MAX and len(status) < _STATUS_MAX:
        _STATUSES[status] = found
    return found

"""WSGI (PEP 3333): an exchange that calls the application in a pool of threads once the request body is complete.

With one thread, the default, an application is called one at a time and always on the same thread, so one that is not
thread-safe works. No event loop runs in these threads, and each call has a fresh context.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shardserve.errors import ClientDisconnected, ProtocolError
from shardserve.gateway.failure import answer_failure, log_failure
from shardserve.gateway.spool import Room, Spool
from shardserve.gateway.target import decode_path, split_root
from shardserve.gateway.turns import Turns, answer_overload
from shardserve.http.exchange import Exchange
from shardserve.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shardserve.gateway.target import TrustedProxies
    from shardserve.gateway.threads import ThreadPool
    from shardserve.http.exchange import Give, Wire
    from shardserve.http.request import Request

    App = Callable[[dict[str, Any], Callable[..., Callable[[bytes], object]]], Iterable[bytes]]
    ExcInfo = tuple[type[BaseException], BaseException, Any] | tuple[None, None, None] | None

_AHEAD_MAX = 65536  # octets that a streaming application may be ahead of its client

# Fields whose environ name is not HTTP_ + NAME, or that must not reach it at all (the body comes already decoded).
_NAMES = {
    b"content-type": "CONTENT_TYPE",
    b"content-length": "",
    b"transfer-encoding": "",
    b"proxy": "",  # HTTP_PROXY would be taken for a setting of the server's own ("httpoxy", CVE-2016-5385)
}
_NAMES_MAX = 512


def _environ_name(name: bytes) -> str:
    found = _NAMES.get(name)
    if found is None:
        found = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        if len(_NAMES) < _NAMES_MAX:
            _NAMES[name] = found
    return found


class WsgiGateway:
    """One per worker: what every request of it shares."""

    def __init__(
        self,
        app: App,
        pool: ThreadPool,
        proxies: TrustedProxies,
        root_path: str,
        extra: dict[str, Any],
        patience: float = 0.0,
    ) -> None:
        """`extra` is put into each environ as it is; `patience` is how long requests wait for a thread (turns.py)."""
        self.app = app
        self.pool = pool
        self.proxies = proxies
        self.root_path = root_path
        self.room = Room()
        self.turns: Turns[WsgiExchange] = Turns(pool.size, pool.wake, patience)
        pool.start(self.turns.next)
        self._base: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": pool.size > 1,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            **extra,
        }

    def open(self, wire: Wire, request: Request) -> WsgiExchange:
        """Open the exchange for a request."""
        return WsgiExchange(wire, request, self)

    def environ(self, wire: Wire, request: Request, body: Spool) -> dict[str, Any]:
        """The environ of a request (PEP 3333, "environ Variables"); strings are latin-1 decoded octets."""
        client, scheme = self.proxies.resolve(wire, request)
        root, path = split_root(decode_path(request.path).decode("latin-1"), self.root_path)
        target = request.path.decode("latin-1")
        query = request.query.decode("latin-1")
        environ = {
            **self._base,
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": root,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "RAW_URI": f"{target}?{query}" if query else target,
            "SERVER_PROTOCOL": "HTTP/" + request.version,
            "wsgi.url_scheme": scheme,
            "wsgi.input": body.file(),
        }
        host, port = wire.server or ("", None)
        environ["SERVER_NAME"] = host or "localhost"  # a unix socket may have no name, PEP 3333 wants one
        environ["SERVER_PORT"] = str(port if port is not None else (443 if scheme == "https" else 80))
        if client is not None:
            environ["REMOTE_ADDR"] = client[0]
            environ["REMOTE_PORT"] = str(client[1])
        else:
            environ["REMOTE_ADDR"] = ""
        for name, value in request.headers:
            key = _environ_name(name)
            if key:
                text = value.decode("latin-1")
                if key in environ:
                    text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
                environ[key] = text
        if request.length != 0:
            # The body has been read and decoded whole, so its length is known even where it came in chunks.
            environ["CONTENT_LENGTH"] = str(body.size)
        return environ


class WsgiExchange(Exchange):
    """One request of a WSGI application. `start` to `cancel` run on the loop, `call` and what it calls on a thread."""

    __slots__ = (
        "_acknowledged",
        "_body",
        "_ended",
        "_gate",
        "_gateway",
        "_headers",
        "_posted",
        "_sent",
        "_started",
        "_status",
    )

    def __init__(self, wire: Wire, request: Request, gateway: WsgiGateway) -> None:
        Exchange.__init__(self, wire, request)
        self._gateway = gateway
        self._body = Spool(gateway.room)
        self._started = False
        self._ended = False
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._sent = False  # the head has been handed to the loop
        # Flow control of a streamed response: each counter has one writer, the gate wakes the thread.
        self._posted = 0  # octets handed to the loop, written by the thread
        self._acknowledged = 0  # octets the client keeps up with, written by the loop
        self._gate: threading.Event | None = None

    # On the loop

    def start(self) -> None:
        """See Exchange.start."""
        self._started = True
        if (self.request.length or 0) > self.wire.service.limits.spool > 0:
            self._refuse()
            return
        if self.request.expect_continue:
            self.wire.inform(self, 100, ())
        if self._ended:
            self._gateway.turns.take(self)

    def feed(self, data: bytes) -> None:
        """See Exchange.feed."""
        try:
            self._body.write(data)
        except OSError as error:
            log.error("cannot keep a request body: %s", error)
            self.wire.refuse(self, ProtocolError(500, "cannot keep the request body"))
            return
        if self._body.size > self.wire.service.limits.spool > 0:
            self._refuse()

    def _refuse(self) -> None:
        self.wire.refuse(self, ProtocolError(413, "request body too large"))

    def end(self) -> None:
        """See Exchange.end."""
        self._ended = True
        if self._started:
            self._gateway.turns.take(self)

    def pass_on(self, give: Give) -> bool:
        """See Turn.pass_on."""
        if not self.wire.move(self, give):
            return False
        self.gone = True
        self._body.close()
        return True

    def shed(self) -> None:
        """See Turn.shed."""
        self._body.close()
        answer_overload(self)

    def hung_up(self) -> None:
        """See Exchange.hung_up: a WSGI application cannot be told; its answer may still be read.

        While it waits in a queue that is shed from, the client is taken for gone; one that reads gets that answer.
        """
        turns = self._gateway.turns
        if turns.patience and turns.drop(self):
            self.shed()

    def lost(self) -> None:
        """See Exchange.lost: a streamed response ends at its next block."""
        if self._gate is not None:
            self._gate.set()
        if not (self._started and self._ended) or self._gateway.turns.drop(self):
            self._body.close()

    def is_streaming(self) -> bool:
        """See Exchange.is_streaming: there is no way to tell a WSGI application."""
        return False

    def cancel(self) -> None:
        """See Exchange.cancel: a thread cannot be cancelled; it ends with the process."""
        self.gone = True
        self.lost()

    def _deliver(self, data: bytes, more: bool, first: bool) -> None:
        """Hand a block to the wire, and tell the thread when the client keeps up."""
        if first:
            try:
                self.wire.respond(self, self._status, self._headers, data, more)
            except (TypeError, ValueError) as error:
                answer_failure(self, error, False)
                self.gone = True
        else:
            self.wire.write(self, data, more)
        if more:
            paused = self.wire.paused
            if paused is not None:
                paused.add_done_callback(lambda _: self._acknowledge(len(data)))
            else:
                self._acknowledge(len(data))

    def _acknowledge(self, octets: int) -> None:
        self._acknowledged += octets
        if self._gate is not None:
            self._gate.set()

    def _fail(self, error: BaseException) -> None:
        answer_failure(self, error, self._sent)

    def _returned(self) -> None:
        self._body.close()
        self._gateway.turns.ended(self)

    # On the application's thread

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
            if self.gone:
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
        environ = gateway.environ(self.wire, self.request, self._body)
        result = gateway.app(environ, self._start_response)
        try:
            if isinstance(result, list | tuple):
                self._require_status()
                self._post(b"".join(result), more=False)
            else:
                for block in result:
                    self._require_status()
                    if block:
                        self._post(block, more=True)
                self._require_status()
                self._post(b"", more=False)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _require_status(self) -> None:
        if not self._status:
            raise RuntimeError("the application did not call start_response before its first block")

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo = None
    ) -> Callable[[bytes], object]:
        """PEP 3333, "The start_response() Callable"."""
        if exc_info:
            try:
                if self._sent and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # or the frame and the traceback keep each other alive
        elif self._status:
            raise RuntimeError("start_response was called twice without exc_info")
        code = status[:3]
        if not code.isdigit() or status[3:4] not in ("", " "):
            raise ValueError(f"start_response: {status!r} is not a status such as '200 OK'")
        self._headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._status = int(code)
        return self._write

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
        self._hand(self._deliver, data, more, first)
        self._posted += len(data)
        gate = self._gate
        if more and gate is not None:
            while self._posted - self._acknowledged > _AHEAD_MAX and not self.gone:
                gate.wait()
                gate.clear()  # before looking again: a set() in between is then seen at the next wait

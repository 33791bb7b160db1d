"""ASGI 3 over HTTP: an exchange whose `receive` and `send` are the application's (asgiref, HTTP spec)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from shardserve.errors import ClientDisconnected
from shardserve.gateway.asgi_extensions import EXTENSIONS, AsgiExtensions
from shardserve.gateway.failure import answer_failure, is_disconnect
from shardserve.gateway.fair import pace
from shardserve.gateway.target import decode_path, split_root
from shardserve.http.exchange import CALLS_MAX, HELD_MAX, Gateway
from shardserve.native import method

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from shardserve.gateway.target import TrustedProxies
    from shardserve.http.exchange import Exchange, Wire
    from shardserve.http.request import Request

    App = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Any]
    OpenWebSocket = Callable[["AsgiGateway", Wire, Request], Exchange | None]

# 2.3, although `send` raises once the client has gone (2.4): from 2.4 on Starlette leaves it to send() to notice that,
# and a stream that waits for news would never be told (docs/decisions/0005-asgi-version.md).
_VERSIONS = {"version": "3.0", "spec_version": "2.3"}
_DISCONNECT = "http.disconnect"
_CALLS_AGAIN = CALLS_MAX - 1  # that go on when there is room for one again
COMPILED = not __file__.endswith((".py", ".pyc"))


class AsgiGateway(Gateway):
    """One per worker: what every request of it shares."""

    def __init__(
        self,
        app: App,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        proxies: TrustedProxies,
        root_path: str,
        extensions: dict[str, Any],
        open_websocket: OpenWebSocket | None = None,
    ) -> None:
        """`spawn` starts a coroutine as a task; each scope gets a copy of `extensions`, beside those of ASGI.

        `open_websocket` is asked first where a request wants to upgrade; without it all are served as they are.
        """
        self.app = app
        self.spawn = spawn
        self.proxies = proxies
        self.root_path = root_path
        self.extensions = extensions
        self._http_extensions = {**EXTENSIONS, **extensions}
        self.open_websocket = open_websocket
        self.state: dict[str, Any] = {}  # the lifespan's; each request gets a shallow copy

    def open(self, wire: Wire, request: Request) -> Exchange:
        """Open the exchange for a request. Raises ProtocolError for a bad WebSocket handshake."""
        if request.upgrade and self.open_websocket is not None:
            socket = self.open_websocket(self, wire, request)
            if socket is not None:
                return socket
        exchange = AsgiExchange.__new__(AsgiExchange) if COMPILED else AsgiExchange()  # each is as cheap as it gets
        exchange.open(wire, request, self)
        return exchange

    def scope(self, wire: Wire, request: Request) -> dict[str, Any]:
        """The connection scope of a request (ASGI HTTP spec, "HTTP Connection Scope")."""
        base: Any = wire.memo
        if base is None:
            wire.memo = base = self._base_scope(wire)
        scope: dict[str, Any] = base.copy()
        octets = request.path
        path = octets.decode()  # visible ASCII, as request.py has it
        if "%" in path:
            path = decode_path(octets).decode("utf-8", "replace")
        root_path = self.root_path
        if request.forwarded or request.ambiguous:
            scope["client"], scope["scheme"] = self.proxies.resolve(wire, request)
            scope["root_path"] = root_path = self.proxies.root_path(wire, request, root_path)
        if root_path:
            path = "".join(split_root(path, root_path))
        if request.version != "1.1":
            scope["http_version"] = request.version
        if request.method != "GET":
            scope["method"] = request.method
        scope["path"] = path
        scope["raw_path"] = octets
        if request.query:
            scope["query_string"] = request.query
        # The application may change its list.
        scope["headers"] = request.headers if request.first is None else [*request.headers]
        scope["state"] = self.state.copy()
        scope["extensions"] = self._http_extensions.copy()  # middleware takes away what it cannot pass on
        return scope

    def _base_scope(self, wire: Wire) -> dict[str, Any]:
        """What the scopes of one connection have in common or mostly have: a copy costs half of making it anew."""
        return {
            "type": "http",
            "asgi": _VERSIONS,
            "http_version": "1.1",
            "server": wire.server,
            "client": wire.client,
            "scheme": wire.scheme,
            "method": "GET",
            "root_path": self.root_path,
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": [],
            "state": {},
            "extensions": {},
        }


class AsgiExchange(AsgiExtensions):
    """One request of an ASGI application, run in a task of its own."""

    __slots__ = ("_body", "_ended", "_gateway", "_hung_up", "_task", "_told", "_waiter")

    def open(self, wire: Wire, request: Request, gateway: AsgiGateway) -> None:
        """Be the exchange of this request: called once, before all else."""
        self.wire = wire
        self.request = request
        self.gone = False
        self.slot = -1
        self._gateway = gateway
        self._body = b""
        self._ended = request.length == 0  # the request body is complete
        self._told = False  # and the application has been given its end
        self._head: dict[str, Any] | None = None
        self._sent = False
        self._done = False
        self._ending = False
        self._trailers = None
        self._hung_up = False
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    # From the wire

    def start(self) -> None:
        """See Exchange.start."""
        wire = self.wire
        request = self.request
        service = wire.service
        service.running.add(self)
        self.slot = service.box.began(self, request.method, request.path)
        wire.calls += 1
        spawn = self._gateway.spawn
        task = spawn(self._run())
        if not task.done():  # as an eager one may be
            self._task = task

    def feed(self, data: bytes) -> None:
        """See Exchange.feed."""
        if self._done:
            return  # nobody will ask for it
        self._body = self._body + data if self._body else data
        if len(self._body) > HELD_MAX:
            self.wire.hold()
        self._wake()

    def end(self) -> None:
        """See Exchange.end."""
        self._ended = True
        if self._waiter is not None:
            self._wake()

    def hung_up(self) -> None:
        """See Exchange.hung_up: `receive` reports a disconnect, answers may still be sent."""
        service = self.wire.service
        service.overdue.desert(self, service.now)
        self.dismiss()

    def lost(self) -> None:
        """See Exchange.lost: the application runs on, is told by `receive`, and cannot send any more."""
        service = self.wire.service
        service.overdue.desert(self, service.now)
        self._wake()

    def is_streaming(self) -> bool:
        """See Exchange.is_streaming."""
        return self._sent and not self._done and not self._hung_up and not self.gone

    def dismiss(self) -> None:
        """See Exchange.dismiss: as if the client had ended its side."""
        self._hung_up = True
        self._wake()

    def cancel(self) -> None:
        """See Exchange.cancel."""
        if self._task is not None:
            # Not at once: a task that is cancelled before its first step never runs, and never says that it has ended.
            self.wire.service.loop.call_soon(self._task.cancel)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # The application's side

    async def receive(self) -> dict[str, Any]:
        """The next event: a part of the body, or http.disconnect once the response is complete or the client gone."""
        while not self.gone and not self._done:
            if self._body or (self._ended and not self._told):
                data, self._body = self._body, b""
                self._told = self._ended
                self.wire.release()
                return {"type": "http.request", "body": data, "more_body": not self._ended}
            if self._hung_up:
                break
            if self.request.expect_continue:
                self.wire.inform(self, 100, ())
            # Several tasks of the application may wait at once; when the first is woken or cancelled, each looks again.
            waiter = self._waiter
            if waiter is None or waiter.done():
                self._waiter = waiter = self.wire.service.loop.create_future()
                await waiter
            else:
                await asyncio.wait((waiter,))  # to be cancelled here does not cancel it
        return {"type": _DISCONNECT}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take a part of the response; waits while the client does not keep up.

        Raises ClientDisconnected (an OSError) once the client has gone, RuntimeError for a message out of turn,
        ValueError or TypeError for a head that must not be sent; see also AsgiExtensions.
        """
        if type(message) is not dict:
            message = dict(message)
        if self._head is None and message["type"] == "http.response.start" and not self.gone:
            self._head = message  # as `take` would: a call less
            return
        waiting = self.take(message)
        if waiting is not None:
            await waiting

    def take(self, message: dict[str, Any]) -> Coroutine[Any, Any, None] | None:
        """Do what `send` is asked for; what is to be awaited then, if anything. Raises as `send` does."""
        if self.gone:
            raise ClientDisconnected("the client has gone")
        kind = message["type"]
        head = self._head
        if kind == "http.response.body" and head is not None and not self._done and not self._ending:
            body = message.get("body", b"")
            more = message.get("more_body", False)
            if type(body) is not bytes:
                body = _octets(body)
            if not more and "trailers" in head:
                more = self._await_trailers(head)
            wire = self.wire
            if self._sent:
                self._done = not more
                wire.write(self, body, more)
            else:
                wire.respond(self, head["status"], head.get("headers", ()), body, more)
                self._sent = True
                self._done = not more
            if more:
                return pace(wire)
            if self._waiter is not None:
                self._wake()
        elif kind == "http.response.start" and head is None:
            self._head = message
        else:
            return self._take_extension(kind, message)
        return None

    def begin_sending(self, message: MutableMapping[str, Any]) -> Sending:
        """The compiled form of `send`: the same, by an object that costs less than a coroutine."""
        sending = Sending.__new__(Sending)  # with __init__ it costs twice as much
        sending.exchange = self
        sending.message = message
        return sending

    async def _take_extension(self, kind: str, message: dict[str, Any]) -> None:
        if not await self._send_extension(kind, message):
            raise RuntimeError(f"unexpected ASGI message {kind!r}: {self._stage()}")

    def _stage(self) -> str:
        if self._done or self._ending:
            return "the response is complete"
        return "the response has not been started" if self._head is None else "the response has been started"

    async def _run(self) -> None:
        gateway = self._gateway
        try:
            app = gateway.app
            send = method(self, "begin_sending" if COMPILED else "send")
            result = await app(gateway.scope(self.wire, self.request), method(self, "receive"), send)
        except GeneratorExit:
            raise  # the loop has been closed over the task
        except BaseException as error:  # SystemExit too: a request must not end the worker
            # A send() that failed because the client has left is the client's doing, not a fault of the application; to
            # be cancelled for a client that is gone (--disconnect-grace) is the server's.
            # Where requests have a timeout, it may be that: what they were waiting for is worth a traceback.
            left = (self.gone or self._hung_up) and not self.wire.service.timeouts.request
            quiet = (self.gone and is_disconnect(error)) or (left and isinstance(error, asyncio.CancelledError))
            answer_failure(self, error, self._sent, quiet=quiet)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if not self._done and not self.gone:
                what = "returned before its response was complete" if self._sent else "returned without a response"
                fault = RuntimeError(f"the application {what} ({result!r})")
                answer_failure(self, fault, self._sent, quiet=self._hung_up)
        finally:
            self._done = True
            # Frameworks keep `receive` and `send` in cycles: what else they would keep until the garbage is collected.
            self._task = None
            if self._waiter is not None:
                self._wake()
                self._waiter = None
            wire = self.wire
            calls = wire.calls - 1
            wire.calls = calls
            if calls == _CALLS_AGAIN:
                wire.returned()
            service = wire.service
            service.box.ended(self, self.slot)
            if service.draining:
                service.ended(self)  # it may have been the last
            else:
                service.running.discard(self)


class Sending:
    """A call of `send`, to be awaited; as with a coroutine nothing happens before. For the compiled form only."""

    __slots__ = ("exchange", "message", "waiting")

    exchange: AsgiExchange | None  # until it has begun
    message: Any
    waiting: Any  # once something is to be waited for

    def __await__(self) -> Sending:
        return self

    def __iter__(self) -> Sending:
        return self

    def __next__(self) -> Any:
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            message, self.message = self.message, None
            self.waiting = exchange.take(message if type(message) is dict else dict(message))
            if self.waiting is None:
                raise StopIteration
        elif self.waiting is None:
            raise RuntimeError("cannot reuse already awaited send()")
        return self.waiting.send(None)

    def send(self, value: object) -> Any:
        """See PEP 342, as for throw and close."""
        return next(self) if self.waiting is None else self.waiting.send(value)

    def throw(self, *error: Any) -> Any:
        """See `send`."""
        self.exchange = None
        if self.waiting is not None:
            return self.waiting.throw(*error)
        raise error[0]

    def close(self) -> None:
        """See `send`."""
        self.exchange = None
        if self.waiting is not None:
            self.waiting.close()


Coroutine.register(Sending)  # for asyncio.create_task


def _octets(body: object) -> bytes:
    """A body that is not exactly bytes, as bytes."""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise TypeError(f"the body of http.response.body must be bytes, not {type(body).__name__}")

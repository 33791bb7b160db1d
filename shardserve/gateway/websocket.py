"""ASGI over WebSocket: `receive` and `send` are the application's (asgiref, WebSocket spec and its denial response)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shardserve.errors import ClientDisconnected
from shardserve.gateway.failure import answer_failure, is_disconnect, log_failure
from shardserve.gateway.fair import keep_up
from shardserve.http.frames import ABNORMAL, BINARY, FAILED, NORMAL, RESTART, TEXT
from shardserve.http.handshake import Handshake, read_handshake
from shardserve.http.websocket import WebSocket, WebSocketSettings

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from shardserve.gateway.asgi import AsgiGateway, OpenWebSocket
    from shardserve.http.exchange import Wire
    from shardserve.http.request import Request

_SCHEMES = {"http": "ws", "https": "wss"}
# A refused handshake ends the connection: a proxy that takes it for an open WebSocket must not pass requests through.
_CLOSE = (b"connection", b"close")
_BLACK_BOX = "WebSocket"  # where requests have their method

# Where the application stands: it has not answered, has begun a refusal, has accepted, or has ended it.
_ASKED, _REFUSING, _OPEN, _ENDED = range(4)


def websocket_opener(settings: WebSocketSettings) -> OpenWebSocket:
    """What an AsgiGateway calls for a request that asks for an upgrade: the exchange, None if it is not to a WebSocket.

    Raises ProtocolError for a bad handshake.
    """

    def open_websocket(gateway: AsgiGateway, wire: Wire, request: Request) -> AsgiWebSocket | None:
        handshake = read_handshake(request) if request.version == "1.1" else None  # RFC 9110 section 7.8
        return None if handshake is None else AsgiWebSocket(wire, request, gateway, handshake, settings)

    return open_websocket


class AsgiWebSocket(WebSocket):
    """One WebSocket of an ASGI application, run in a task of its own."""

    __slots__ = ("_connected", "_gateway", "_handshake", "_head", "_stage", "_started", "_task", "_waiters")

    def __init__(
        self, wire: Wire, request: Request, gateway: AsgiGateway, handshake: Handshake, settings: WebSocketSettings
    ) -> None:
        WebSocket.__init__(self, wire, request, settings)
        self._gateway = gateway
        self._handshake = handshake
        self._stage = _ASKED
        self._connected = False  # the application has been given websocket.connect
        self._head: MutableMapping[str, Any] | None = None  # of a refusal, held until the first body octets
        self._started = False  # and has left
        self._waiters: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    # From the wire

    def start(self) -> None:
        """See Exchange.start."""
        self.wire.service.running.add(self)
        self._note()
        self._task = self._gateway.spawn(self._run())

    def end(self) -> None:
        """See Exchange.end: a handshake has no body."""

    def cancel(self) -> None:
        """See Exchange.cancel."""
        if self.is_streaming():
            self.close(RESTART, "")
        if self._task is not None:
            # Not at once: a task that is cancelled before its first step never runs, and never says that it has ended.
            self.wire.service.loop.call_soon(self._task.cancel)

    def news(self) -> None:
        """See WebSocket.news."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # The black box: the application executes from a message on until it asks for the next.

    def _note(self) -> None:
        self._unnote()
        self.slot = self.wire.service.box.began(self, _BLACK_BOX, self.request.path)

    def _unnote(self) -> None:
        if self.slot >= 0:
            self.wire.service.box.ended(self, self.slot)
            self.slot = -1

    # The application's side

    def _scope(self) -> dict[str, Any]:
        """The connection scope (ASGI WebSocket spec, "WebSocket Connection Scope")."""
        scope = self._gateway.scope(self.wire, self.request)
        del scope["method"]
        scope["type"] = "websocket"
        scope["scheme"] = _SCHEMES[scope["scheme"]]
        scope["subprotocols"] = self._handshake.subprotocols
        scope["extensions"] = {**self._gateway.extensions, "websocket.http.response": {}}
        return scope

    async def receive(self) -> dict[str, Any]:
        """The next event: websocket.connect first, then messages, websocket.disconnect for ever once it is over."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        while self._stage != _ENDED:
            message = self.take()
            if message is not None:
                self._note()
                kind = "text" if isinstance(message, str) else "bytes"
                return {"type": "websocket.receive", kind: message}
            if self.over is not None:
                break
            self._unnote()
            # A future for each, since several tasks of the application may wait: each looks again when woken.
            waiter = self.wire.service.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                raise
        code, reason = self.over or (ABNORMAL, "")
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take what the application says; waits while the client does not keep up.

        Raises ClientDisconnected (an OSError) once the client has gone, RuntimeError for a message out of turn,
        ValueError or TypeError for what must not be sent.
        """
        kind, stage = message["type"], self._stage
        if stage != _ENDED and (self.gone or self.over is not None):
            raise ClientDisconnected("the WebSocket is closed")
        if stage == _OPEN and kind == "websocket.send":
            text = message.get("text")
            if text is not None:
                self.send_message(TEXT, text.encode())
            else:
                self.send_message(BINARY, _octets(message.get("bytes")))
            await keep_up(self.wire)
        elif stage == _OPEN and kind == "websocket.close":
            self.close(_code(message), message.get("reason") or "")
            self._end()
        elif stage == _ASKED and kind == "websocket.accept":
            self.open(self._handshake, message.get("subprotocol") or None, message.get("headers") or ())
            self._stage = _OPEN
        elif stage == _ASKED and kind == "websocket.close":
            self.wire.respond(self, 403, (_CLOSE,), b"", False)
            self._end()
        elif stage == _ASKED and kind == "websocket.http.response.start":
            self._head = message
            self._stage = _REFUSING
        elif stage == _REFUSING and kind == "websocket.http.response.body":
            await self._refuse(_octets(message.get("body", b"")), message.get("more_body", False))
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}: {_STAGES[stage]}")

    async def _refuse(self, body: bytes, more: bool) -> None:
        """Answer the handshake with the application's own response."""
        head = self._head
        if self._started:
            self.wire.write(self, body, more)
        else:
            assert head is not None  # set with the stage
            self.wire.respond(self, head["status"], (*head.get("headers", ()), _CLOSE), body, more)
            self._started = True
        if not more:
            self._end()
        else:
            await keep_up(self.wire)

    def _end(self) -> None:
        """The application has ended the WebSocket, or refused it."""
        self._stage = _ENDED
        self.news()

    async def _run(self) -> None:
        try:
            await self._gateway.app(self._scope(), self.receive, self.send)
        except GeneratorExit:
            raise  # the loop has been closed over the task
        except BaseException as caught:  # SystemExit too: a request must not end the worker
            self._returned(caught)
            if isinstance(caught, asyncio.CancelledError):
                raise
        else:
            self._returned(None)
        finally:
            self._unnote()
            self.wire.service.ended(self)

    def _returned(self, error: BaseException | None) -> None:
        """The application is done: what it has left open is closed, with 1011 if it failed, else with 1000."""
        over = self.gone or self.over is not None
        if self._stage in (_ASKED, _REFUSING) and not over:
            fault = error or RuntimeError("the application returned without answering the handshake")
            answer_failure(self, fault, self._started)
        elif error is not None and not (over and _is_the_end(error)):
            log_failure(self, error)
        if self._stage == _OPEN:
            self.close(NORMAL if error is None else FAILED, "")
        self._end()


_STAGES = {
    _ASKED: "the handshake has not been accepted",
    _REFUSING: "the handshake is being refused",
    _OPEN: "the WebSocket is open",
    _ENDED: "the WebSocket has been closed",
}


def _is_the_end(error: BaseException) -> bool:
    """Whether an error only says that the WebSocket is over: it could not send, or was cancelled when time was up."""
    return is_disconnect(error) or isinstance(error, asyncio.CancelledError)


def _octets(payload: object) -> bytes:
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    raise TypeError(f"what is sent must be bytes (or a message's text), not {type(payload).__name__}")


def _code(message: MutableMapping[str, Any]) -> int:
    code = message.get("code")
    return NORMAL if code is None else int(code)

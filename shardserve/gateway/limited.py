"""ASGI with --limit-concurrency: the same exchanges, which ask for a turn before the application is called.

A turn is asked for once the body is complete, or more of it is here than is held: a client that dribbles its body must
not take a turn for that. A file of its own, so that without the option nothing of it is in the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shardserve.gateway.asgi import AsgiExchange, AsgiGateway
from shardserve.gateway.turns import Turns, answer_overload
from shardserve.http.exchange import HELD_MAX

if TYPE_CHECKING:
    from shardserve.http.exchange import Exchange, Give, Wire
    from shardserve.http.request import Request


class LimitedAsgiGateway(AsgiGateway):
    """One per worker; `limit` requests are executed at once, and others wait for `patience` seconds."""

    def __init__(self, limit: int, patience: float, *args: Any) -> None:
        """`args` are AsgiGateway's."""
        super().__init__(*args)
        self.turns = Turns(limit, self.begin_next, patience)

    def open(self, wire: Wire, request: Request) -> Exchange:
        """See AsgiGateway.open. A WebSocket lasts as long as its connection, and is not counted."""
        if request.upgrade and self.open_websocket is not None:
            socket = self.open_websocket(self, wire, request)
            if socket is not None:
                return socket
        exchange = LimitedAsgiExchange()
        exchange.open_limited(wire, request, self)
        return exchange

    def begin_next(self) -> None:
        """Have as many executed as may be."""
        while self.turns.has_room and (exchange := self.turns.next()) is not None:
            exchange.begin()


class LimitedAsgiExchange(AsgiExchange):
    """One request, which waits for its turn."""

    __slots__ = ("_arriving", "_limited")

    def open_limited(self, wire: Wire, request: Request, gateway: LimitedAsgiGateway) -> None:
        """See AsgiExchange.open."""
        self.open(wire, request, gateway)
        self._limited = gateway
        self._arriving = False  # its turn has not been asked for yet

    def start(self) -> None:
        """See Exchange.start."""
        self._arriving = True
        if self._ended or self.request.expect_continue or len(self._body) > HELD_MAX:
            self._ask()

    def feed(self, data: bytes) -> None:
        """See Exchange.feed."""
        super().feed(data)
        if self._arriving and len(self._body) > HELD_MAX:
            self._ask()

    def end(self) -> None:
        """See Exchange.end."""
        super().end()
        if self._arriving:
            self._ask()

    def hung_up(self) -> None:
        """See Exchange.hung_up: while it waits, the client is taken for gone; one that still reads gets its answer."""
        if self._limited.turns.patience and self._limited.turns.drop(self):
            self.shed()
        else:
            super().hung_up()

    def lost(self) -> None:
        """See Exchange.lost."""
        self._limited.turns.drop(self)
        super().lost()

    def pass_on(self, give: Give) -> bool:
        """See Turn.pass_on."""
        if self._hung_up or not self.wire.move(self, give):
            return False
        self.gone = True
        return True

    def shed(self) -> None:
        """See Turn.shed."""
        answer_overload(self)

    def begin(self) -> None:
        """Call the application."""
        super().start()

    def _ask(self) -> None:
        self._arriving = False
        self._limited.turns.take(self)

    async def _run(self) -> None:
        try:
            await super()._run()
        finally:
            self._limited.turns.ended(self)
            # Not from here: the next task must not inherit this one's context, nor nest in it where tasks are eager.
            service = self.wire.service
            service.loop.call_soon(self._limited.begin_next, context=service.context)

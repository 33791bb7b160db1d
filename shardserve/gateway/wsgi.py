"""WSGI (PEP 3333): an exchange that calls the application in a pool of threads once the request body is complete.

With one thread, the default, an application is called one at a time and always on the same thread, so one that is not
thread-safe works. No event loop runs in these threads, and each call has a fresh context.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from shardserve.errors import ProtocolError
from shardserve.gateway.failure import answer_failure
from shardserve.gateway.file_wrapper import FileWrapper
from shardserve.gateway.spool import Room
from shardserve.gateway.turns import Turns, answer_overload
from shardserve.gateway.wsgi_call import WsgiCall
from shardserve.http.head import with_length
from shardserve.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shardserve.gateway.target import TrustedProxies
    from shardserve.gateway.threads import ThreadPool
    from shardserve.http.exchange import Give, Wire
    from shardserve.http.files import FilePart
    from shardserve.http.request import Request

    App = Callable[[dict[str, Any], Callable[..., Callable[[bytes], object]]], Iterable[bytes]]


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
        self.base: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": pool.size > 1,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
            **extra,
        }

    def open(self, wire: Wire, request: Request) -> WsgiExchange:
        """Open the exchange for a request."""
        return WsgiExchange(wire, request, self)


class WsgiExchange(WsgiCall):
    """One request of a WSGI application. All that is here runs on the loop; the call itself is in wsgi_call.py."""

    __slots__ = ("_ended", "_started")

    def __init__(self, wire: Wire, request: Request, gateway: WsgiGateway) -> None:
        WsgiCall.__init__(self, wire, request, gateway)
        self._started = False
        self._ended = False

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
        """See WsgiCall._deliver; the thread is told when the client keeps up."""
        if first:
            self.wire.respond(self, self._status, self._headers, data, more)
        else:
            self.wire.write(self, data, more)
        if more:
            paused = self.wire.paused
            if paused is not None:
                paused.add_done_callback(lambda _: self._acknowledge(len(data)))
            else:
                self._acknowledge(len(data))

    def _deliver_file(self, part: FilePart, first: bool) -> None:
        """See WsgiCall._deliver_file."""
        if first:
            self.wire.respond(self, self._status, with_length(self._headers, part.size()), b"", True)
        self.wire.send_file(self, part, False)

    def _acknowledge(self, octets: int) -> None:
        self._acknowledged += octets
        if self._gate is not None:
            self._gate.set()

    def _fail(self, error: BaseException) -> None:
        """See WsgiCall._fail."""
        answer_failure(self, error, self._sent)

    def _returned(self) -> None:
        """See WsgiCall._returned."""
        self._body.close()
        self._gateway.turns.ended(self)

"""WSGI calls on threads that begin before the request body has come (--no-request-buffering).

docs/decisions/0017-streamed-request-bodies.md
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from shardserve.gateway.streamed_body import StreamedBody
from shardserve.gateway.wsgi_pool import PoolExchange, PoolGateway
from shardserve.logs import log, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shardserve.http.exchange import Wire
    from shardserve.http.files import FilePart
    from shardserve.http.request import Request


class StreamingGateway(PoolGateway):
    """A PoolGateway that does not wait for bodies."""

    def open(self, wire: Wire, request: Request) -> PoolExchange:
        """Open the exchange for a request."""
        make = PoolExchange if request.length == 0 else StreamedExchange
        return make(wire, request, self)


class StreamedExchange(PoolExchange):
    """A request whose body is read while it comes."""

    __slots__ = ("_stream",)

    def __init__(self, wire: Wire, request: Request, gateway: StreamingGateway) -> None:
        PoolExchange.__init__(self, wire, request, gateway)
        self._stream = StreamedBody(
            request.length, invited=not request.expect_continue, more=self._ask_for_more, alive=wire.service.box.moved
        )
        if self._ended:
            self._stream.end()
        self._body = self._stream

    # On the loop

    def start(self) -> None:
        """See Exchange.start: the head is enough."""
        self._started = True
        self._ready()

    def feed(self, data: bytes) -> None:
        """See Exchange.feed."""
        if self._stream.put(data):
            self.wire.hold()

    def end(self) -> None:
        """See Exchange.end."""
        self._ended = True
        self._stream.end()

    def lost(self) -> None:
        """See Exchange.lost: what is read of an incomplete body from now on raises."""
        if not self._ended and self.slot >= 0:
            path = printable(self.request.path.decode("latin-1"))
            log.info("%s %s: its body broke off while it was being executed", self.request.method, path)
        PoolExchange.lost(self)

    def _read_on(self) -> None:
        """The application waits for octets."""
        if self.gone or self._finished:
            return
        if self.request.expect_continue and not self._ended:
            self.wire.inform(self, 100, ())
        self.wire.release()

    # On the thread

    def _ask_for_more(self) -> None:
        service = self.wire.service
        with suppress(RuntimeError):  # the loop is closed: a call that outlived the graceful timeout
            service.loop.call_soon_threadsafe(self._read_on, context=service.context)

    def _post_blocks(self, blocks: Iterable[bytes]) -> None:
        """See PoolExchange. With the response the exchange ends for the wire: nothing is fed any more."""
        super()._post_blocks(blocks)
        self._stream.close()

    def _post_file(self, part: FilePart) -> None:
        """See PoolExchange."""
        super()._post_file(part)
        self._stream.close()

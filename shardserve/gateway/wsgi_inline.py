"""A WSGI application called inline: on the loop's own thread, one step at a time (docs/decisions/0014-inline-wsgi.md).

A step is what the application does between two blocks: the call up to the first block, each further block, close(). It
runs with the loop hidden, so that asyncio.run and what asks for a running loop work as on any thread, and in the one
context of its call. Between steps the loop runs, and other requests with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shardserve.errors import ClientDisconnected
from shardserve.gateway.environ import make_environ
from shardserve.gateway.failure import answer_failure, log_failure
from shardserve.gateway.file_wrapper import FileWrapper
from shardserve.gateway.spool import Spool
from shardserve.gateway.wsgi import WsgiExchange, WsgiGateway, check_block
from shardserve.native import enter_context, is_unshared, leave_context, method, monotonic_ns, new_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextvars import Context
    from typing import IO

    from shardserve.gateway.inside import Inside
    from shardserve.gateway.target import TrustedProxies
    from shardserve.gateway.wsgi import App
    from shardserve.http.exchange import Give, Wire
    from shardserve.http.files import FilePart
    from shardserve.http.head import CheckedHead
    from shardserve.http.request import Request
    from shardserve.http.service import Service

COMPILED = not __file__.endswith((".py", ".pyc"))
_TURN = 1_000_000  # nanoseconds that one stream may make blocks before other connections get their turn
_LONG = 2_000_000  # nanoseconds from which on a step is long, and the loop turns before another request is called
# Blocks that come at once leave together. So many steps in a row that took less than so many nanoseconds make a stream
# one of these; no more octets than so are kept then, while others may come.
_SWIFT_STEPS = 4
_SWIFT = 50_000
_TOGETHER = 16384
_BLOCK = 65536  # octets of what was written ahead that are sent at once

_CALL, _NEXT, _END = range(3)  # steps
_NONE_LEFT: Any = object()

_hide = asyncio._set_running_loop  # noqa: SLF001 it is in asyncio.events.__all__: how loops say that they run


class InlineGateway(WsgiGateway):
    """Calls the application on the loop's thread. `inside` is told of each step, where anybody looks."""

    def __init__(
        self,
        app: App,
        loop: asyncio.AbstractEventLoop,
        proxies: TrustedProxies,
        root_path: str,
        extra: dict[str, Any],
    ) -> None:
        """See WsgiGateway."""
        WsgiGateway.__init__(self, app, proxies, root_path, extra)
        self.loop = loop
        self.inside: Inside | None = None
        self.attended = False  # during a step another thread sends what waits for the end of the loop's turn
        self._waiting: dict[InlineExchange, None] = {}  # complete requests, behind a long step; in order of arrival
        self._resting = False  # there has been a long step in this turn of the loop: no further call
        self._hidden = False
        self._spare: InlineExchange | None = None  # one that is over: to take it again is cheaper than to make one

    def hide_loop(self) -> None:
        """Hide the loop from now on, and not only during steps: two calls and two system calls less for each of them.

        On its thread nothing but steps may ask asyncio for the running loop until `show_loop`.
        """
        self._hidden = True
        _hide(None)

    def show_loop(self) -> None:
        """Hide it during steps only, as in the beginning."""
        self._hidden = False
        _hide(self.loop)

    # What waits. All of it runs on the loop's thread, or in its place.

    def take(self, exchange: InlineExchange) -> bool:
        """Whether a complete request is to be called now; else it waits, here or at a worker that is idle."""
        if not self._resting:
            return True
        give = None if exchange.wire.moved else exchange.wire.service.idle()
        if give is None or not exchange.pass_on(give):
            self._waiting[exchange] = None
        return False

    def rest(self, service: Service) -> None:
        """A step took long: let the loop turn before the next call, so that nothing else waits for more than one."""
        if not self._resting:
            self._resting = True
            if service.poller is not None:
                service.poller.rest()
            service.loop.call_soon(self._go_on, service, context=service.context)

    def _go_on(self, service: Service) -> None:
        self._resting = False
        until = monotonic_ns() + _TURN
        while self._waiting and (give := service.idle()) is not None and self.give_waiting(give):
            pass
        while self._waiting and not self._resting:
            exchange = next(iter(self._waiting))
            del self._waiting[exchange]
            exchange.call()
            if monotonic_ns() > until:
                self.rest(service)
        if not self._resting and service.poller is not None:
            service.poller.go_on()

    def drop(self, exchange: InlineExchange) -> bool:
        """Forget a request that waits; whether it was one."""
        if exchange not in self._waiting:
            return False
        del self._waiting[exchange]
        return True

    def waits(self) -> bool:
        """Whether something does."""
        return bool(self._waiting)

    def give_waiting(self, give: Give) -> bool:
        """Pass on the request that has waited longest of those that can be moved; whether there was one."""
        for exchange in self._waiting:
            if exchange.pass_on(give):
                del self._waiting[exchange]
                return True
        return False

    def open(self, wire: Wire, request: Request) -> InlineExchange:
        """Open the exchange for a request."""
        exchange, self._spare = self._spare, None
        if exchange is None or not is_unshared(exchange):  # the application has kept its start_response, say
            exchange = InlineExchange.__new__(InlineExchange)
        exchange.open_inline(wire, request, self)  # which __init__ would do: a quarter of the cost, compiled
        return exchange


class InlineExchange(WsgiExchange):
    """One request, from its call to close(): all on the loop's thread."""

    __slots__ = ("_blocks", "_busy", "_close", "_context", "_inline", "_part", "_plain", "_swift", "_whole", "_written")

    def __init__(self, wire: Wire, request: Request, gateway: InlineGateway) -> None:
        self.open_inline(wire, request, gateway)

    def open_inline(self, wire: Wire, request: Request, gateway: InlineGateway) -> None:
        """What __init__ does."""
        self.open(wire, request, gateway)
        self._inline = gateway
        self._context: Context | None = None
        self._blocks: Iterator[bytes] | None = None  # of a response that comes block by block
        self._close: Any = None  # of what the application returned, until it has been called
        self._part: FilePart | None = None  # a file that is the response
        self._written: Spool | None = None  # what write() was given and the client has not kept up with
        self._plain = False  # what the application returned is a list, and nothing has been written before
        self._whole = False  # all that was declared has been sent, and the end of `_blocks` not been seen
        self._busy = False  # a step, or what follows it, is under way
        self._swift = 0  # steps in a row that took next to no time

    def _ready(self) -> None:
        """See WsgiExchange._ready."""
        gateway = self._inline
        if gateway.take(self):
            self.call()

    def call(self) -> None:
        """Call the application; what it sends is sent, and what comes later goes on by itself."""
        request = self.request
        box = self.wire.service.box
        self._busy = True
        now = monotonic_ns()
        self.slot = box.began(self, request.method, request.path, now)
        self._context = new_context()
        block = self._step(_CALL, now)
        if block is not None:
            if self._plain:
                self._body_done()
                self.wire.respond(self, self._status, self._head, block, False)  # type: ignore[arg-type]  # it is set
                self._sent = True
                # As _leave would, of which nothing else has been set: a call less.
                self._context = self._body = self._head = self.request = None  # type: ignore[assignment]
                self._inline._spare = self  # noqa: SLF001 its gateway's own
                return
            self._go_on(block)
        self._busy = False

    def _body_done(self) -> None:
        """The application has returned for good."""
        self.wire.service.box.ended(self, self.slot)
        self.slot = -1
        self._let_go()

    def _leave(self) -> None:
        """It is over: keep nothing of it, and be there for another request."""
        self._context = self._blocks = self._close = self._part = self._written = None
        self._body = self._head = self.request = None  # type: ignore[assignment]  # nobody asks any more
        self._inline._spare = self  # noqa: SLF001 its gateway's own

    # Steps, which run in the call's context

    def _step(self, step: int, began: int) -> bytes | None:
        """Have the application take a step, now; returns its next block, empty at the end, None if it has failed."""
        gateway, inside, context = self._inline, self._inline.inside, self._context
        assert context is not None  # set before the first step
        failure: BaseException | None = None
        block = None
        if inside is not None:
            inside.enter()
        hidden = gateway._hidden  # noqa: SLF001 its gateway's own
        if not hidden:
            _hide(None)
        try:
            if COMPILED:
                enter_context(context)
                try:
                    block = self._take(step)
                finally:
                    leave_context(context)
            else:
                block = context.run(self._take, step)
        except BaseException as error:  # SystemExit too: a request must not end the worker
            failure = error
        if not hidden:
            _hide(gateway.loop)
        if inside is not None:
            inside.leave()
        took = monotonic_ns() - began
        if took > _LONG:
            gateway.rest(self.wire.service)
        self._swift = self._swift + 1 if took < _SWIFT else 0
        if failure is not None:
            self._fail(failure)
        return block

    def _take(self, step: int) -> bytes:
        if step == _CALL:
            return self._call()
        return self._next() if step == _NEXT else self._end()

    def _call(self) -> bytes:
        """Call the application; returns the whole response, or its first block with `_blocks` or `_part` set."""
        result = self._inline.app(make_environ(self), method(self, "_start_response"))
        kind = type(result)
        if kind is not list and kind is not tuple:
            self._close = getattr(result, "close", None)
            if isinstance(result, FileWrapper):
                return self._take_file(result)
            if not isinstance(result, (list, tuple)):
                return self._take_blocks(result)
        self._require_status()
        body = b"".join(result)
        if self._sent:  # by write()
            return self._take_blocks((body,))
        self._plain = self._close is None
        return body

    def _take_blocks(self, blocks: Iterable[bytes]) -> bytes:
        blocks = iter(blocks)
        self._blocks = blocks if self._written is None else _after(self._written.file(), blocks)
        return self._next()

    def _take_file(self, wrapper: FileWrapper) -> bytes:
        self._require_status()
        self._part = wrapper.part() if self._written is None else None
        return self._take_blocks(wrapper if self._part is None else ())

    def _next(self) -> bytes:
        """The next block that is not empty; an empty one at the end."""
        blocks = self._blocks
        assert blocks is not None  # when this is called
        while (block := next(blocks, _NONE_LEFT)) is not _NONE_LEFT:  # `for` would ask again for its iterator
            self._require_status()
            check_block(block)
            if block:
                return block
        self._require_status()
        return b""

    def _end(self) -> bytes:
        """Call close(), PEP 3333: whatever has become of the response; behind the last block where that was sent."""
        if self._whole:
            self._whole = False
            if self._next():
                self._outside(self.wire.overrun, self)
        if self._close is not None:
            close, self._close = self._close, None
            close()
        return b""

    # Between steps

    def _go_on(self, block: bytes) -> None:
        """Send a block and have the next one made: at once, or, that no one waits for it, later.

        The application gets on only when what it has made has left, or another thread sees to that, as PEP 3333 asks
        ("Buffering and Streaming"): blocks that come at once are kept to leave together, and where one is a while in
        coming after all, the deputy sends what is kept (worker/deputy.py). Without it nothing is.
        """
        wire = self.wire
        service = wire.service
        until = monotonic_ns() + _TURN
        attended = self._inline.attended
        kept = 0
        while block:
            if self._is_whole(block):
                self._whole = True
                self._send(block, False)
                break
            self._send(block, True)
            if self.gone:
                self._finish()
                return
            if wire.paused is not None:
                service.running.add(self)
                wire.paused.add_done_callback(self._resume, context=service.context)
                return
            kept += len(block)
            late = monotonic_ns() > until
            if late or kept > _TOGETHER or self._swift < _SWIFT_STEPS or not attended:
                kept = 0
                if wire.count_waiting() or late:  # which sends what is kept
                    service.running.add(self)
                    service.loop.call_soon(self._resume, None, context=service.context)
                    return
            following = self._step(_NEXT, monotonic_ns())
            if following is None:
                return
            block = following
        else:
            self._send(b"", False)
            self._blocks = None
        if wire.count_waiting():
            service.running.add(self)
            service.loop.call_soon(self._resume, None, context=service.context)
        else:
            self._finish()

    def _is_whole(self, block: bytes) -> bool:
        """Whether a response is its first block and no more, by the length that the application has declared.

        Most that frameworks make are: the end of the blocks and close() are one step then, and it leaves before. (Where
        nothing of a body is sent, too much of it is no fault.)
        """
        head = self._head
        if self._sent or self._part is not None or head is None:
            return False
        return head.length == len(block) and self.request.method != "HEAD"

    def _resume(self, _: object) -> None:
        """Take the next step of a response that had been left for others, or for its client."""
        if self.slot < 0:
            return  # it has been lost, and is over
        self._busy = True
        if self.gone or self._blocks is None or self._whole:
            self._finish()
        else:
            block = self._step(_NEXT, monotonic_ns())
            if block is not None:
                self._go_on(block)
        self._busy = False

    def _send(self, block: bytes, more: bool) -> None:
        wire = self.wire
        if self._sent:
            wire.write(self, block, more)
            return
        self._sent = True
        head = self._head
        assert head is not None  # as _require_status has seen to
        part, self._part = self._part, None
        if part is None:
            wire.respond(self, self._status, head, block, more)
        else:
            head.declare(part.size())
            wire.respond(self, self._status, head, b"", True)
            wire.send_file(self, part, False)

    def _finish(self) -> None:
        """The response is complete, or nobody wants it: the last step."""
        if self._close is not None or self._whole:
            self._step(_END, monotonic_ns())
        if self.slot >= 0:
            self._over()

    def _over(self) -> None:
        if self._written is not None:
            self._written.close()
        self._body_done()
        self.wire.service.ended(self)
        self._leave()

    def _fail(self, error: BaseException) -> None:
        """The application has raised something, in whatever step."""
        if not self.gone:
            answer_failure(self, error, self._sent)  # which only logs where the response is complete
        elif not isinstance(error, ClientDisconnected):
            log_failure(self, error)
        if self._close is not None:
            self._step(_END, monotonic_ns())
        if self._part is not None:
            self._part.close()
        if self.slot >= 0:
            self._over()

    # What the application calls

    def _write(self, data: bytes) -> None:
        """See WsgiExchange._write. It cannot wait here: what the client does not keep up with is spooled."""
        check_block(data)
        if self.gone:
            raise ClientDisconnected("the client has gone")
        if not data:
            return
        if self._written is None and self.wire.paused is None:
            self._outside(self._send_written, data)
            return
        if self._written is None:
            self._written = Spool(self._gateway.room)
        self._written.write(data)

    def _send_written(self, data: bytes) -> None:
        self._send(data, True)

    def _inform(self, head: CheckedHead) -> None:
        """See WsgiExchange._inform."""
        self._outside(self._send_hints, head)

    def _send_hints(self, head: CheckedHead) -> None:
        self.wire.inform(self, 103, head)

    def _outside(self, act: Any, what: object) -> None:
        """Use the wire from within a step: not in the application's context, and alone."""
        inside = self._inline.inside
        context = self.wire.service.context.copy()
        if inside is None:
            context.run(act, what)
        else:
            with inside:
                context.run(act, what)

    # What the wire says

    def hung_up(self) -> None:
        """See Exchange.hung_up: a WSGI application cannot be told; its answer may still be read."""

    def lost(self) -> None:
        """See Exchange.lost: a response that comes block by block is closed."""
        if self._busy:
            return  # whoever is at it sees it
        if self.slot >= 0:
            self.wire.service.loop.call_soon(self._resume, None, context=self.wire.service.context)
        else:
            self._inline.drop(self)
            self._let_go()

    def cancel(self) -> None:
        """See Exchange.cancel."""
        self.gone = True
        self.lost()


def _after(written: IO[bytes], blocks: Iterator[bytes]) -> Iterator[bytes]:
    """What was written, then the blocks."""
    while data := written.read(_BLOCK):
        yield data
    for block in blocks:  # noqa: UP028 not `yield from`, which would close what is closed in a step of its own
        yield block

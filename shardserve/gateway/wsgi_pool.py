"""A WSGI application called on threads of its own, while the loop goes on: one call at a time on each.

What a call sends it hands to the loop's thread. The loop is woken once for all that is handed over until it looks, and
a response that is complete when the call returns is handed over together with the call's end.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shardserve.errors import ClientDisconnected
from shardserve.gateway.environ import make_environ
from shardserve.gateway.failure import answer_failure, log_failure
from shardserve.gateway.file_wrapper import FileWrapper
from shardserve.gateway.turns import Turns, answer_overload
from shardserve.gateway.wsgi import WsgiExchange, WsgiGateway, check_block
from shardserve.native import new_context
from shardserve.net.blackbox import SIGN_EVERY

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from shardserve.gateway.target import TrustedProxies
    from shardserve.gateway.threads import ThreadPool
    from shardserve.gateway.wsgi import App
    from shardserve.http.exchange import Wire
    from shardserve.http.files import FilePart
    from shardserve.http.head import CheckedHead
    from shardserve.http.request import Request

_AHEAD_MAX = 65536  # octets that a streaming application may be ahead of its client

# What a call hands over, with what belongs to it.
_WHOLE, _BLOCK, _LAST, _FILE, _HINTS, _FAILED, _RETURNED = range(7)


class PoolGateway(WsgiGateway):
    """Calls the application on the threads of `pool`."""

    def __init__(
        self,
        app: App,
        pool: ThreadPool,
        loop: asyncio.AbstractEventLoop,
        proxies: TrustedProxies,
        root_path: str,
        extra: dict[str, Any],
        patience: float = 0.0,
    ) -> None:
        """See WsgiGateway; `patience` is how long requests wait for a thread (turns.py)."""
        WsgiGateway.__init__(self, app, proxies, root_path, extra, threads=pool.size)
        self.pool = pool
        self._loop = loop
        self._context = contextvars.copy_context()
        self._handed: deque[tuple[PoolExchange, int, Any]] = deque()
        self._woken = False  # the loop is going to look at what has been handed over
        self._roused = 0  # threads, since last nothing waited: no more than there are can be idle since then
        self._rousing = False  # one more is going to be, unless nothing waits by then
        self.turns = Turns(pool.size, self._see_to_threads, patience)
        pool.start(self.turns.next)

    def open(self, wire: Wire, request: Request) -> PoolExchange:
        """Open the exchange for a request."""
        return PoolExchange(wire, request, self)

    def hand(self, exchange: PoolExchange, what: int, given: Any) -> None:
        """Have the loop take something from a call. For the threads."""
        self._handed.append((exchange, what, given))
        if not self._woken:  # looked at after the append: either the loop has not looked yet, or it is woken now
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed: a call that outlived the graceful timeout
                self._loop.call_soon_threadsafe(self._take, context=self._context)

    def _see_to_threads(self) -> None:
        """One request more waits. One thread is woken at once, another each turn of the loop in which some still wait.

        A thread goes on until nothing waits. So calls that only compute are all made by the first, which has the
        interpreter to itself, and no thread is woken to find it taken; where calls block, the loop gets its turn.
        """
        if self.turns.count_waiting() <= 1:  # it alone, if a thread has not taken it yet
            self._roused = 1
            self.pool.wake()
        else:
            self._rouse_later()

    def _rouse_later(self) -> None:
        if self._roused < self.pool.size and not self._rousing:
            self._rousing = True
            self._loop.call_soon(self._rouse, context=self._context)

    def _rouse(self) -> None:
        self._rousing = False
        if self.turns.count_waiting():
            self._roused += 1
            self.pool.wake()
            self._rouse_later()

    def _take(self) -> None:
        self._woken = False
        handed = self._handed
        while handed:
            exchange, what, given = handed.popleft()
            exchange.take(what, given)


class PoolExchange(WsgiExchange):
    """One request. The loop's half comes first, then what runs on a thread of the pool."""

    __slots__ = ("_acknowledged", "_finished", "_gate", "_pool", "_posted", "_waited_for")

    def __init__(self, wire: Wire, request: Request, gateway: PoolGateway) -> None:
        self.open(wire, request, gateway)
        self._pool = gateway
        self._finished = False  # the end of the response has been handed over
        # Flow control of a streamed response: each counter has one writer, the gate wakes the thread.
        self._posted = 0  # octets handed to the loop, written by the thread
        self._acknowledged = 0  # octets the client keeps up with, written by the loop
        self._waited_for = 0  # octets that wait for the client to catch up; the loop's
        self._gate: threading.Event | None = None

    # On the loop

    def _ready(self) -> None:
        """See WsgiExchange._ready."""
        self._pool.turns.take(self)

    def shed(self) -> None:
        """See Turn.shed."""
        self._let_go()
        answer_overload(self)

    def hung_up(self) -> None:
        """See Exchange.hung_up: a WSGI application cannot be told; its answer may still be read.

        While it waits in a queue that is shed from, the client is taken for gone; one that reads gets that answer.
        """
        turns = self._pool.turns
        if turns.patience and turns.drop(self):
            self.shed()

    def lost(self) -> None:
        """See Exchange.lost: a streamed response ends at its next block."""
        if self._gate is not None:
            self._gate.set()
        if self._pool.turns.drop(self) or not (self._started and self._ended):
            self._let_go()

    def cancel(self) -> None:
        """See Exchange.cancel: a thread cannot be cancelled; it ends with the process."""
        self.gone = True
        self.lost()

    def take(self, what: int, given: Any) -> None:
        """Take what the call has handed over."""
        if what == _WHOLE:
            self.wire.respond(self, self._status, self._head, given, False)  # type: ignore[arg-type]  # it is set
            self._returned()
        elif what == _RETURNED:
            self._returned()
        elif what == _BLOCK:
            self._deliver(given, True)
            self._see_to_pace(len(given))
        elif what == _LAST:
            self._deliver(b"", False)
        elif what == _FILE:
            self._deliver_file(given)
        elif what == _HINTS:
            self.wire.inform(self, 103, given)
        else:
            answer_failure(self, given, self._head is None and self._sent)

    def _deliver(self, block: bytes, more: bool) -> None:
        head, self._head = self._head, None
        if head is None:
            self.wire.write(self, block, more)
        else:
            self.wire.respond(self, self._status, head, block, more)

    def _deliver_file(self, part: FilePart) -> None:
        head, self._head = self._head, None
        if head is not None:
            head.declare(part.size())
            self.wire.respond(self, self._status, head, b"", True)
        self.wire.send_file(self, part, False)

    def _see_to_pace(self, octets: int) -> None:
        """Tell the thread when the client keeps up."""
        paused = self.wire.paused
        if paused is None:
            self._acknowledge(octets)
            return
        if not self._waited_for:
            paused.add_done_callback(self._caught_up, context=self.wire.service.context)
        self._waited_for += octets

    def _caught_up(self, _: object) -> None:
        octets, self._waited_for = self._waited_for, 0
        self._acknowledge(octets)

    def _acknowledge(self, octets: int) -> None:
        self._acknowledged += octets
        if self._gate is not None:
            self._gate.set()

    def _returned(self) -> None:
        """The call is over."""
        self._let_go()
        self._pool.turns.ended(self)

    # On the thread

    def call(self) -> None:
        """Call the application and send what it returns."""
        gateway = self._pool
        box = self.wire.service.box
        last: bytes | None = None
        try:
            if not self.gone:  # else the client left while the request waited for a thread
                self.slot = box.began(self, self.request.method, self.request.path)
                last = new_context().run(self._run)
        except ClientDisconnected:
            pass
        except BaseException as error:  # SystemExit too: a request must not end the thread
            if self.gone or self._finished:
                log_failure(self, error)
            else:
                gateway.hand(self, _FAILED, error)
        finally:
            slot, self.slot = self.slot, -1
            if slot >= 0:
                box.ended(self, slot)
            if last is None:
                gateway.hand(self, _RETURNED, None)
            else:
                gateway.hand(self, _WHOLE, last)

    def _run(self) -> bytes | None:
        """The whole response, if the call returned that; None if it has been handed over."""
        result = self._pool.app(make_environ(self), self._start_response)
        kind = type(result)
        if (kind is list or kind is tuple) and not self._sent:
            self._require_status()
            body = b"".join(result)
            self._finished = self._sent = True
            return body
        try:
            if isinstance(result, FileWrapper):
                self._require_status()
                part = result.part()
                if part is None:
                    self._post_blocks(result)
                else:
                    self._post_file(part)
            elif isinstance(result, list | tuple):
                self._post_blocks((b"".join(result),))
            else:
                self._post_blocks(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        return None

    def _post_blocks(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            self._require_status()
            check_block(block)
            if block:
                self._write(block)
        self._require_status()
        self._check_client()
        self._finished = self._sent = True
        self._pool.hand(self, _LAST, None)

    def _check_client(self) -> None:
        if self.gone:
            raise ClientDisconnected("the client has gone")

    def _write(self, data: bytes) -> None:
        """See WsgiExchange._write. Waits while the application is too far ahead of its client."""
        check_block(data)
        if not data:
            return
        self._check_client()
        if self._gate is None:
            self._gate = threading.Event()
        self._sent = True
        self._pool.hand(self, _BLOCK, data)
        self._posted += len(data)
        gate = self._gate
        box = self.wire.service.box
        box.moved()
        while self._posted - self._acknowledged > _AHEAD_MAX and not self.gone:
            gate.wait(SIGN_EVERY)
            gate.clear()  # before looking again: a set() in between is then seen at the next wait
            box.moved()  # a thread that waits for its client is not stuck

    def _inform(self, head: CheckedHead) -> None:
        """See WsgiExchange._inform."""
        self._pool.hand(self, _HINTS, head)

    def _post_file(self, part: FilePart) -> None:
        """Hand a file to the loop, which sends it while this thread goes on to other requests."""
        if self.gone:
            part.close()
        self._check_client()
        self._finished = self._sent = True
        self._pool.hand(self, _FILE, part)

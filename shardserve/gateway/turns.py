"""Whose turn it is: a worker executes so many requests at once, what is beyond waits in order of arrival.

Where that is asked for (--limit-concurrency), what has waited too long is answered 503 instead of being executed for a
client that has given up. As in CoDel, too long depends on whether the queue is a burst or does not go away
(docs/decisions/0012-overload.md).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from shardserve.net.loads import note_calls

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

    from shardserve.http.exchange import Exchange, Give, Wire
    from shardserve.http.service import Service

    class Turn(Hashable, Protocol):
        """A request that waits: an exchange that can be passed on and shed."""

        wire: Wire
        gone: bool

        def pass_on(self, give: Give) -> bool:
            """Let another worker serve the request, if `give` can pass it on and nothing of it has happened yet."""

        def shed(self) -> None:
            """Answer that there was no turn for it."""


_STANDING_SHARE = 0.2  # of the patience is what a request has in a queue that has stood for longer than the patience
_LOOK_LEAST = 0.005  # seconds between looks at what has waited too long
_OVERLOADED = ((b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"1"))


class Turns:
    """Those of one worker: `size` at once. All but `next` is for the loop's thread."""

    def __init__(self, size: int, wake: Callable[[], None], patience: float = 0.0) -> None:
        """`wake` is told of each that waits, and has it executed. `patience` is in seconds; 0 is for ever."""
        self.size = size
        self.patience = patience
        self.cut_off = False  # other workers' requests cannot come here just now: to them no turn is free
        self._wake = wake
        self._calls = 0  # that are executed or wait
        self._waiting: OrderedDict[Turn, float] = OrderedDict()  # since when, where patience is limited
        self._standing = 0.0  # since when something has waited all the time
        self._taking = threading.Lock()  # held by whoever takes something out that is not known to be there
        self._timer: asyncio.TimerHandle | None = None

    def count_waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether one more may be executed, of those that wait."""
        return self._calls - len(self._waiting) < self.size

    def take(self, exchange: Turn) -> None:
        """Have a complete request executed: here or, where all turns are taken, by a worker that has one."""
        service = exchange.wire.service
        if self._calls >= self.size and not exchange.wire.moved:
            give = service.idle()
            if give is not None and exchange.pass_on(give):
                return
        now = 0.0
        if self.patience:
            now = service.loop.time()
            if self._calls <= self.size:
                self._standing = now  # nothing has waited until now
        self._waiting[exchange] = now
        self._count(exchange, 1)
        self._wake()
        if self._calls > self.size and self.patience and self._timer is None:
            self._look(service)

    def next(self) -> Any:
        """Take what has waited longest; None if nothing waits. For any thread."""
        with self._taking:
            return self._waiting.popitem(last=False)[0] if self._waiting else None

    def ended(self, exchange: Turn) -> None:
        """A request has been executed."""
        self._count(exchange, -1)
        self._ask_for_work(exchange.wire.service)

    def drop(self, exchange: Turn) -> bool:
        """Take a request out of those that wait, so that it is not executed; whether it was one."""
        if self._waiting.pop(exchange, None) is None:
            return False
        self._count(exchange, -1)
        return True

    def look_for_work(self, service: Service) -> None:
        """Ask for a request that waits at another worker, if there is room for one here."""
        self._note(service)
        self._ask_for_work(service)

    def _ask_for_work(self, service: Service) -> None:
        if self._calls < self.size and not self.cut_off and service.ask_for_work is not None:
            service.ask_for_work()

    def give_waiting(self, give: Give, *, all_of_them: bool = False) -> None:
        """Pass on the request that has waited longest of those that can be moved, or all that can; others stay."""
        given = []
        with self._taking:  # no thread may take one while it is passed on
            for exchange in list(self._waiting):
                if exchange.pass_on(give):
                    del self._waiting[exchange]
                    given.append(exchange)
                    if not all_of_them:
                        break
        for exchange in given:
            self._count(exchange, -1)

    def _count(self, exchange: Turn, change: int) -> None:
        service = exchange.wire.service
        self._calls += change
        self._note(service)
        if change > 0:
            service.running.add(exchange)  # type: ignore[arg-type]  # a Turn is an exchange
        else:
            service.ended(exchange)  # type: ignore[arg-type]  # as above

    def _note(self, service: Service) -> None:
        free = self.size - self._calls
        note_calls(service.load, min(free, 0) if self.cut_off else free)

    # Those whose patience ends

    def _look(self, service: Service) -> None:
        """Shed what has waited too long; look again when the next one will have."""
        self._timer = None
        now = service.loop.time()
        for exchange, since in list(self._waiting.items()):
            left = since + self._allowed(now) - now
            if left > 0:
                self._timer = service.loop.call_later(
                    max(left, _LOOK_LEAST), self._look, service, context=service.context
                )
                return
            if self.drop(exchange):  # else a thread has just taken it
                service.shed += 1
                exchange.shed()

    def _allowed(self, now: float) -> float:
        """How long the oldest may wait, in seconds.

        The last one may as long as in a burst: without it a turn that becomes free would find nothing to do.
        """
        standing = now - self._standing > self.patience and len(self._waiting) > 1
        return self.patience * _STANDING_SHARE if standing else self.patience


def answer_overload(exchange: Exchange) -> None:
    """503 (RFC 9110, 15.6.4), to come again in a second. The connection is kept: a new one would cost more."""
    exchange.wire.respond(exchange, 503, _OVERLOADED, b"Service Unavailable\n", False)

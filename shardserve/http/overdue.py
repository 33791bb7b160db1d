"""Requests past their timeout, or whose client has left: nobody waits for them; here is seen to what still runs.

A task is cancelled, and an application that will not be is logged, once. A thread cannot be cancelled: a call that goes
on for GRACE has cost the worker that thread, and it is for the worker to ask for a replacement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.logs import log, printable

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from shardserve.http.exchange import Exchange

GRACE = 5.0  # seconds that the application's code has to end after the client's answer


class Overdue:
    """Those of one worker. `running` are the exchanges whose application code has not returned."""

    def __init__(self, running: AbstractSet[Exchange], disconnect_grace: float = 0.0) -> None:
        """`disconnect_grace` is how long work for a client that has left may go on, in seconds; 0: to its end."""
        self.stuck = ""  # the request whose code has gone on for longest beyond GRACE, in words
        self._running = running
        self._grace = disconnect_grace
        self._deserted: dict[Exchange, float] = {}  # exchange -> when it is cancelled
        self._since: dict[Exchange, float] = {}
        self._logged: set[Exchange] = set()

    def add(self, exchange: Exchange, now: float) -> None:
        """The time of a request is over, and nobody hears it any more: end its work."""
        if exchange in self._running:
            self._since[exchange] = now
            exchange.cancel()

    def desert(self, exchange: Exchange, now: float) -> None:
        """The client has left before its response was complete."""
        if self._grace:
            self._deserted[exchange] = now + self._grace

    def look(self, now: float) -> None:
        """See what has ended by itself, and log what has not."""
        if self._deserted:
            self._look_for_deserted(now)
        self.stuck = ""
        for exchange, since in list(self._since.items()):
            if exchange not in self._running:
                del self._since[exchange]
                self._logged.discard(exchange)
            elif now - since >= GRACE and exchange.slot >= 0:  # else it waits for a thread, and will not be called
                request = exchange.request
                what = f"{request.method} {printable(request.path.decode('latin-1'))}"
                self.stuck = self.stuck or what
                if exchange not in self._logged:
                    self._logged.add(exchange)
                    log.warning("%s: still runs %.0f s after it was given up (--request-timeout)", what, now - since)

    def _look_for_deserted(self, now: float) -> None:
        for exchange, until in list(self._deserted.items()):
            if exchange not in self._running:
                del self._deserted[exchange]
            elif now >= until:
                del self._deserted[exchange]
                exchange.cancel()

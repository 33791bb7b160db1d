"""The matrix of tests/sharding: how hard it is run, what a row collects, and the tables printed at the end.

SHARDING=full in the environment (`make sharding`) runs every event as often, and with as many requests, as the tables
of docs/sharding.md say; without, one reduced pass shows that each row works.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from support.netns import current_network, enter
from support.strict import Outcome, Plan, Record, StrictLoad, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import Server

FULL = os.environ.get("SHARDING") == "full"
EVENTS = 5 if FULL else 1
REQUESTS = 2000 if FULL else 400  # at least so many for each event

HEADS = {
    "row": ("row", "events", "requests", "failed", "truncated", "closed", "worst wait", "beside that"),
    "balance": ("steering", "arrivals", "connections", "trials", "worst share: mean", "p95", "max"),
    "wait": ("fast requests, through", "server", "requests", "p50", "p95", "p99"),
}
"""The columns of each table; a test adds a line to one by `record_property(table, cells)`."""


class Link:
    """Between the clients and the server: loopback, or one with a round-trip time."""

    def __init__(self, rtt: float = 0.0, host: str = "127.0.0.1", enter: Callable[[], None] | None = None) -> None:
        self.rtt = rtt
        self.host = host
        self.name = f", {rtt * 1000:g} ms RTT" if rtt else ""
        self._enter = enter

    @property
    def bind(self) -> str:
        return f"{self.host}:0"

    def load(self, server: Server, **plan: Any) -> StrictLoad:
        """Start a strict load on the server, from the link's other end."""
        return StrictLoad(Plan(host=self.host, port=server.port, **plan), self._enter)

    @contextmanager
    def far(self) -> Iterator[None]:
        """Be at the clients' end meanwhile."""
        if self._enter is None:
            yield
            return
        near = current_network()
        try:
            self._enter()
            yield
        finally:
            enter(near)
            os.close(near)


class Row:
    """One row: what its loads have seen, in how many events."""

    def __init__(self) -> None:
        self.name = ""
        self.events = 0
        self.outcome = Outcome([])
        self.beside = ""
        self.waits_that_count: Callable[[Record], bool] = lambda _: True

    @contextmanager
    def under(self, *loads: StrictLoad) -> Iterator[None]:
        """While the loads run; in any case they are stopped at the end, and what they saw is kept."""
        try:
            yield
        finally:
            for load in loads:
                with load:
                    self.outcome = merge((self.outcome, load.stop()))

    def assert_nothing_lost(self) -> None:
        """Every request got its own answer, whole."""
        assert len(self.outcome.failed) == 0, self.outcome
        assert self.outcome.answered >= self.events * REQUESTS, self.outcome

    def assert_none_closed(self) -> None:
        """Every connection that a client kept, the server kept too."""
        assert len(self.outcome.closed) == 0, self.outcome

    def cells(self) -> tuple[str, ...]:
        """Of the table."""
        seen = self.outcome
        worst = f"{seen.only(self.waits_that_count).worst * 1000:.0f} ms"
        counts = self.events, len(seen.records), len(seen.failed), seen.truncated, len(seen.closed)
        return (self.name, *map(str, counts), worst, self.beside)


def draw(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A table in Markdown, aligned."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    rule = tuple("-" * width for width in widths)
    drawn = (
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (head, rule, *lines)
    )
    return "\n".join(f"| {line} |" for line in drawn)

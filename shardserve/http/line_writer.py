"""Lines of a log on their way from a loop to a sink: one write a turn, and nothing of it ever waits.

What the sink does not take at once (a pipe that is full, a disk) is kept and tried again, up to a bound. Beyond it,
lines are dropped until the sink has taken all that is kept; then the log itself tells how many are missing at that
place, and the server's log tells it as well.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING

from shardserve.logs import log

if TYPE_CHECKING:
    from shardserve.logs import Sink

_KEPT_MAX = 1 << 20  # octets that wait for a sink
_AGAIN = 0.05  # seconds until the sink is tried again
_SAY_EVERY = 10.0  # seconds between messages on lines that are dropped


class LineWriter:
    """Whoever has lines appends them to `lines`, line ends and all, and calls `schedule` if it was empty."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: Sink) -> None:
        self.lines: list[str] = []
        self.dropped = 0  # lines, ever
        self._loop = loop
        self._sink = sink
        self._context = contextvars.Context()  # not that of the application's that happens to be current
        self._kept = bytearray()
        self._missing = 0  # lines that have been dropped behind what is kept
        self._unsaid = 0  # lines dropped that the server's log has not told of
        self._say_after = 0.0
        self._retry: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """Write at the end of this turn of the loop."""
        self._loop.call_soon(self.flush, context=self._context)

    def write_to(self, sink: Sink) -> None:
        """Write to another sink from now on; the one before is closed."""
        self.flush()
        self._sink.close()
        self._sink = sink

    def flush(self) -> None:
        """Have the sink take what it takes at once."""
        lines = self.lines
        if lines:
            self.lines = []
            octets = "".join(lines).encode(errors="backslashreplace")
            if self._kept or self._missing:
                self._keep(octets)
            else:
                taken = self._sink.take(octets)
                if taken == len(octets):
                    return
                self._keep(octets[taken:])
        self._write_kept()

    async def finish(self, patience: float) -> None:
        """Flush for the last time: wait at most `patience` seconds for the sink, then say what is lost."""
        ends = time.monotonic() + patience
        self.flush()
        while self._kept and time.monotonic() < ends:
            await asyncio.sleep(_AGAIN)
            self.flush()
        if self._retry is not None:
            self._retry.cancel()
        self._drop(self._kept.count(b"\n"))
        self._kept.clear()
        self._say_dropped()

    def _keep(self, lines: bytes) -> None:
        """Keep lines for later, as many as there is room for: then none until there is room for all again."""
        room = 0 if self._missing else _KEPT_MAX - len(self._kept)
        if len(lines) > room:
            room = lines.rfind(b"\n", 0, max(room, 0)) + 1
            self._drop(lines.count(b"\n", room))
            lines = lines[:room]
        self._kept += lines

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._missing += count
        self._unsaid += count
        if self._unsaid and time.monotonic() >= self._say_after:
            self._say_dropped()

    def _say_dropped(self) -> None:
        if self._unsaid:
            self._say_after = time.monotonic() + _SAY_EVERY
            log.warning("%d lines of the access log are lost: nobody takes them fast enough, or at all", self._unsaid)
            self._unsaid = 0

    def _write_kept(self) -> None:
        if self._kept:
            del self._kept[: self._sink.take(self._kept)]
        if not self._kept and self._missing:
            self._kept += b"(%d lines are missing here: nobody took them)\n" % self._missing
            self._missing = 0
            self._say_dropped()
            del self._kept[: self._sink.take(self._kept)]
        if self._kept and self._retry is None:
            self._retry = self._loop.call_later(_AGAIN, self._try_again, context=self._context)

    def _try_again(self) -> None:
        self._retry = None
        self.flush()

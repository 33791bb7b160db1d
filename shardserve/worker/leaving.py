"""Leaving in stages: what a worker that drains says and does while answers are still under way.

After a second it says when only streams are left. In the last part of the graceful timeout it tells these, one after
another, that they are to end, so that their clients do not all come back at one moment; what is left then is cancelled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.http.service import Service

TICK = 0.1  # seconds between looks
_STREAM = 1.0  # seconds into the drain after which an answer that goes on is a stream
_TELL, _TELL_SHARE = 5.0, 0.25  # the last seconds, and at most which part, of the graceful timeout
_TOLD = 0.8  # the part of that time in which all are told; the rest is for the last of them to end


class Leaving:
    """The drain of one worker, from its making on, which ends `timeout` seconds later; `tick` is called every TICK."""

    def __init__(self, service: Service, timeout: float, streaming: Callable[[], None] | None) -> None:
        """`streaming` is called once when nobody waits for an answer to begin any more: only streams are left."""
        self._service = service
        self._streaming = streaming
        now = service.loop.time()
        self._streams_from = now + _STREAM
        last = min(_TELL, timeout * _TELL_SHARE)
        self._tell_from = now + timeout - last
        self._told_by = self._tell_from + last * _TOLD

    def tick(self) -> None:
        """Look at what is left."""
        now = self._service.loop.time()
        connections = self._service.connections
        if self._streaming and now >= self._streams_from and all(one.is_answering() for one in connections):
            self._streaming()
            self._streaming = None
        if now >= self._tell_from:
            self._tell(now)

    def _tell(self, now: float) -> None:
        """Tell as many as keep all being told in time, also those that begin only now."""
        streams = [exchange for exchange in self._service.running if exchange.is_streaming()]
        looks = max(1, math.ceil((self._told_by - now) / TICK))
        for exchange in streams[: math.ceil(len(streams) / looks)]:
            exchange.dismiss()

"""Leaving in stages: what a worker that drains says and does while answers are still under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.http.service import Service

_STREAM = 1.0  # seconds into the drain after which an answer that goes on is a stream


class Leaving:
    """The drain of one worker, from its making on; `tick` is called about ten times a second."""

    def __init__(self, service: Service, streaming: Callable[[], None] | None) -> None:
        """`streaming` is called once when nobody waits for an answer to begin any more: only streams are left."""
        self._service = service
        self._streaming = streaming
        self._began = service.loop.time()

    def tick(self) -> None:
        """Look at what is left."""
        if self._streaming is None or self._service.loop.time() < self._began + _STREAM:
            return
        if all(connection.is_answering() for connection in self._service.connections):
            self._streaming()
            self._streaming = None

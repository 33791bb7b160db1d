"""A fixed pool of threads that run WSGI calls, first come first served."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Call(Protocol):
    """What a thread runs."""

    def call(self) -> None:
        """Run; it must not raise."""


class ThreadPool:
    """`size` threads. Their stuck calls do not keep the process alive (they are daemons)."""

    def __init__(self, size: int) -> None:
        self.size = size
        # One entry wakes one thread, which takes what waits until nothing does.
        self._wakings: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, take: Callable[[], Call | None]) -> None:
        """Start the threads; `take` gives them what waits."""
        self._threads = [
            threading.Thread(target=self._work, args=(take,), name=f"shardserve-wsgi-{index}", daemon=True)
            for index in range(self.size)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Have one thread more look for calls, if one is idle."""
        self._wakings.put(True)

    def stop(self, timeout: float) -> None:
        """End the threads after the calls that wait; give up on each after `timeout` seconds."""
        for _ in self._threads:
            self._wakings.put(False)
        for thread in self._threads:
            thread.join(timeout)

    def _work(self, take: Callable[[], Call | None]) -> None:
        while self._wakings.get():
            while (call := take()) is not None:
                call.call()

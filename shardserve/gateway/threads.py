"""A fixed pool of threads that run WSGI calls, first come first served."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ThreadPool:
    """`size` threads, started at once. Their stuck calls do not keep the process alive (they are daemons)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"shardserve-wsgi-{index}", daemon=True) for index in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on the next free thread; it must not raise."""
        self._calls.put(call)

    def stop(self, timeout: float) -> None:
        """End the threads after the calls that wait; give up on each after `timeout` seconds."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(timeout)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

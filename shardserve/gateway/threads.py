"""A fixed pool of threads that run WSGI calls, first come first served."""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import Generic, Protocol, TypeVar


class Call(Protocol):
    """What a thread runs."""

    def call(self) -> None:
        """Run; it must not raise."""


C = TypeVar("C", bound=Call)


class ThreadPool(Generic[C]):
    """`size` threads, started at once. Their stuck calls do not keep the process alive (they are daemons)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._waiting: deque[C] = deque()
        # One entry wakes one thread, which takes what has waited longest: nothing, if that has been withdrawn.
        self._wakings: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"shardserve-wsgi-{index}", daemon=True) for index in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: C) -> None:
        """Run `call` on the next free thread."""
        self._waiting.append(call)
        self._wakings.put(True)

    def withdraw(self) -> C | None:
        """Take back the call that has waited longest for a thread, if one waits."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def stop(self, timeout: float) -> None:
        """End the threads after the calls that wait; give up on each after `timeout` seconds."""
        for _ in self._threads:
            self._wakings.put(False)
        for thread in self._threads:
            thread.join(timeout)

    def _work(self) -> None:
        while self._wakings.get():
            call = self.withdraw()
            if call is not None:
                call.call()

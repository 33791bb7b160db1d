"""Whether the application's code runs on the loop's thread just now, so that the loop cannot.

The loop's thread says so before and after each step of the application. Another thread (worker/deputy.py) that holds
`lock` while `inside` is set may do in the loop's place what a callback of it could do: the step cannot end meanwhile.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from shardserve.net.loads import note_one_busy, note_one_free

if TYPE_CHECKING:
    from shardserve.http.service import Service


class Inside:
    """Of one loop's thread. `steps` counts them; `parked` is set by a watcher that is to be woken by the bell."""

    __slots__ = ("bell", "inside", "lock", "parked", "service", "steps")

    def __init__(self, service: Service) -> None:
        self.service = service
        self.inside = False
        self.steps = 0
        self.parked = True
        self.lock = threading.Lock()
        self.bell: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def enter(self) -> None:
        """A step begins."""
        self.steps += 1
        self.inside = True
        note_one_busy(self.service.load)
        if self.parked:
            self.parked = False
            self.bell.put(True)

    def leave(self) -> None:
        """It has ended."""
        with self.lock:
            self.inside = False
        note_one_free(self.service.load, cut_off=self.service.cut_off)

    def say_free(self) -> None:
        """Write it again: a sibling that wanted to give us something may have written that we are busy."""
        if not self.inside and not self.service.draining:
            note_one_free(self.service.load, cut_off=self.service.cut_off)

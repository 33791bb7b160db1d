"""Whether the application's code runs on the loop's thread just now, so that the loop cannot.

The loop's thread says so before and after each step of the application. Another thread (worker/deputy.py) that is
`with` this object, and then sees `inside` set, may do in the loop's place what a callback of it could do: the step
cannot end meanwhile.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from shardserve.net.loads import BUSY_LOAD, Load

if TYPE_CHECKING:
    from shardserve.http.service import Service


COMPILED = not __file__.endswith((".py", ".pyc"))
_FREE, _BUSY, _BUSY_LOAD = int(Load.FREE), int(Load.BUSY), BUSY_LOAD


class Inside:
    """Of one loop's thread. `steps` counts them; `parked` is set by a watcher that is to be woken by the bell."""

    __slots__ = ("_held", "_line", "_load", "_lock", "bell", "inside", "parked", "service", "steps")

    def __init__(self, service: Service) -> None:
        self.service = service
        self._load = self._line = service.load  # one of them typed, compiled
        self.inside = False
        self.steps = 0
        self.parked = True
        self._lock = threading.Lock()
        self._held = False  # by whoever has the lock
        self.bell: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def enter(self) -> None:
        """A step begins."""
        self.steps += 1
        self.inside = True
        line = self._line if self._load is self.service.load else self._new_line()
        line[_FREE] = 0
        line[_BUSY] = _BUSY_LOAD
        if self.parked:
            self.parked = False
            self.bell.put(True)

    def leave(self) -> None:
        """It has ended."""
        if COMPILED and not self._held:  # compiled, no other thread runs between these two lines: the GIL is kept
            self.inside = False
        else:
            with self._lock:
                self.inside = False
        self._write_free()

    def __enter__(self) -> None:
        """Keep the loop's thread in its step, if it is in one: `inside` says so from now on."""
        self._lock.acquire()
        self._held = True

    def __exit__(self, *_: object) -> None:
        """Let the step end."""
        self._held = False
        self._lock.release()

    def say_free(self) -> None:
        """Write it again: a sibling that wanted to give us something may have written that we are busy."""
        if not self.inside and not self.service.draining:
            self._write_free()

    def _write_free(self) -> None:
        """For the calls of others it is not, while they could not be given to it."""
        service = self.service
        line = self._line if self._load is service.load else self._new_line()
        line[_FREE] = not service.cut_off
        line[_BUSY] = 0

    def _new_line(self) -> memoryview:
        """The service has got another one: its shard's is that of the worker which replaces it."""
        self._load = self._line = self.service.load
        return self._line

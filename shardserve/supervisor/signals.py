"""Signals of the supervisor: each is a verb, read from a descriptor that the main loop waits on."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VERBS = {
    signal.SIGTERM: "stop",
    signal.SIGINT: "stop",
    signal.SIGQUIT: "quit",
    signal.SIGHUP: "reload",
    signal.SIGUSR1: "reopen",
    signal.SIGTTIN: "more",
    signal.SIGTTOU: "fewer",
    # Their default would end or stop the whole service; gunicorn's users send them.
    signal.SIGUSR2: "ignore",
    signal.SIGWINCH: "ignore",
    signal.SIGCHLD: "reap",
}


class SignalQueue:
    """Turns signals into verbs. Takes over the process's handlers; `fileno` is readable when `verbs` has something."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in VERBS:
            signal.signal(number, _wake)
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """For selectors."""
        return self._read_end

    def verbs(self) -> Iterator[str]:
        """The verbs of the signals that have come since the last call, in order."""
        try:
            numbers = os.read(self._read_end, 512)
        except BlockingIOError:
            return
        for number in numbers:
            verb = VERBS.get(signal.Signals(number))
            if verb is not None:
                yield verb

    def close(self) -> None:
        """Close both ends; for a forked child, whose signals must not reach the parent's queue."""
        signal.set_wakeup_fd(-1)
        os.close(self._read_end)
        os.close(self._write_end)


def _wake(number: int, frame: object) -> None:
    """Do nothing: Python writes the number to the wake-up descriptor."""

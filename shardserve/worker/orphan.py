"""When the supervisor is killed: the kernel tells its workers, even one whose loop does not run, and they let go.

The end of the channel says the same, but only to a loop that runs. An orphan that held its listener would keep the port
from the next start.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
from typing import TYPE_CHECKING

from shardserve.worker.worker import LEAVING_EXTRA

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(parent: int) -> None:
    """Have this process killed when its parent, of this process id, ends: for a worker that does not serve yet."""
    _signal_at_end_of(parent, signal.SIGKILL)


def let_go_with(parent: int, let_go: Callable[[], None], timeout: float) -> None:
    """Have `let_go` called at once when the parent ends, between two bytecodes of whatever runs on the main thread.

    `timeout` is how long, in seconds, a leaving worker has for its requests; some seconds later the process ends even
    if nothing of it moves any more (SIGALRM).
    """
    if sys.platform != "linux":
        return

    def handle(*_: object) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(math.ceil(timeout + LEAVING_EXTRA))
        let_go()

    signal.signal(signal.SIGRTMAX, handle)  # one that neither applications nor libraries use
    _signal_at_end_of(parent, signal.SIGRTMAX)


def _signal_at_end_of(parent: int, number: signal.Signals) -> None:
    """PR_SET_PDEATHSIG, prctl(2). A change of user clears it: to be called after that."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number))
    if os.getppid() != parent:  # it ended before the kernel knew
        signal.raise_signal(number)

"""`--reload`: a child process that watches the source files and asks the supervisor to reload when one changes.

A process of its own because watching needs threads, and the supervisor, which forks, must have none.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import traceback
from typing import TYPE_CHECKING

from shardserve.errors import ConfigError
from shardserve.logs import log
from shardserve.worker.process import end_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PR_SET_PDEATHSIG = 1  # prctl(2)


def require_watchfiles() -> None:
    """Raise ConfigError if what --reload needs is not installed."""
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigError("--reload needs watchfiles: pip install 'shardserve[reload]'")


def fork_watcher(folders: Sequence[str], leave_behind: Callable[[], None]) -> int:
    """Start watching `folders` for changes of Python files; the watcher ends with this process. Returns its pid."""
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            leave_behind()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            # When the supervisor dies, however that is, nobody is left to tell.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == supervisor:
                _watch(folders, supervisor)
            code = 0
        except KeyboardInterrupt:
            code = 0
        except BaseException:  # the last frame of the process: whatever comes here ends it, and is shown
            traceback.print_exc()
        finally:
            end_process(code)
    return pid


def _watch(folders: Sequence[str], supervisor: int) -> None:
    from watchfiles import PythonFilter, watch

    for changes in watch(*folders, watch_filter=PythonFilter(), raise_interrupt=False):
        names = sorted({os.path.relpath(path) for _, path in changes})
        log.info("changed: %s%s", ", ".join(names[:3]), " ..." if len(names) > 3 else "")
        os.kill(supervisor, signal.SIGHUP)

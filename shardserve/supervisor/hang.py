"""When a worker is hung: its loop, or every thread of its WSGI calls, has stood still for --timeout.

Time is counted in what the supervisor itself has seen: while it did not run either, as in a throttled or frozen
container, nobody can be blamed. A worker with a debugger attached is at a breakpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shardserve.net.blackbox import full_since, has_threads, newest_start
from shardserve.net.board import Word, box

if TYPE_CHECKING:
    from shardserve.supervisor.child import Child


_BEAT = 1.0  # seconds between heartbeats: a loop may have run for so long after the last one


class Hangs:
    """Judges workers at each look of the watch. `pass_time` tells it between looks what time has been watched."""

    def __init__(self) -> None:
        self._clock = 0.0  # seconds watched
        # (shard, what moves) -> (pid, what it was last seen as, when on our clock it was first seen so)
        self._seen: dict[tuple[int, str], tuple[int, int, float]] = {}

    def pass_time(self, seconds: float) -> None:
        """So many seconds have been watched."""
        self._clock += seconds

    def why(self, child: Child, timeout: float) -> str:
        """Why the worker is taken for hung, in words, or ""."""
        line = child.place.board
        moved = line[Word.HEARTBEAT]
        if not has_threads(box(line)):  # a loop that makes WSGI calls one after another, without a tick, moves as well
            moved = max(moved, newest_start(box(line)))
        if self._stands_still(child, "loop", moved) > timeout + _BEAT:
            why = f"hung: its loop has not run for {timeout:g} s"
        elif (newest := full_since(box(line))) and self._stands_still(child, "threads", newest) > timeout:
            why = f"hung: no thread has been free for {timeout:g} s"
        else:
            return ""
        if not _is_traced(child.pid):
            return why
        self._seen = {key: seen for key, seen in self._seen.items() if seen[0] != child.pid}  # it begins anew
        return ""

    def _stands_still(self, child: Child, what: str, value: int) -> float:
        """For how long, in seconds, a word of the worker's has been the same."""
        pid, before, since = self._seen.get((child.shard, what), (0, 0, 0.0))
        if (pid, before) != (child.pid, value):
            self._seen[child.shard, what] = (child.pid, value, self._clock)
            return 0.0
        return self._clock - since


def _is_traced(pid: int) -> bool:
    """Whether a debugger is attached (proc_pid_status(5))."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "TracerPid:\t0" not in status

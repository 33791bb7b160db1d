"""A worker as the supervisor sees it: a process with a channel and a line of the board. Forking one, ending one."""

from __future__ import annotations

import atexit
import os
import signal
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardserve.logs import log
from shardserve.net.blackbox import describe, has_threads
from shardserve.net.board import WorkerState, box
from shardserve.worker.channel import Channel
from shardserve.worker.process import end_process, run_worker
from shardserve.worker.stacks import SHOW_TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.config.settings import Config
    from shardserve.worker.channel import Command
    from shardserve.worker.place import Place


_SHOW_TASKS = 0.5  # seconds that a hung worker has to show its tasks
_ABORT_GRACE = 1.0  # and then its threads' stacks


class Child:
    """One worker process. Times are of `time.monotonic()`; `deadline` is when it will be killed, or None.

    One that a template is to fork (templates.py) has no process yet: `pid` is 0, `pidfd` -1.
    """

    def __init__(self, pid: int, channel: Channel, place: Place, boot_timeout: float) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid) if pid else -1
        self.channel = channel
        self.place = place
        self.shard = place.shard
        self.generation = place.generation
        self.state = WorkerState.BOOTING
        self.born = time.monotonic()
        self.ready_at = 0.0
        self.deadline: float | None = self.born + boot_timeout if boot_timeout else None
        self.killed = ""  # why the supervisor has killed it
        self._to_abort = False  # at the deadline, before it is killed
        self.failure: dict[str, Any] | None = None  # what it said when it could not start

    @property
    def name(self) -> str:
        """What to call it in the log."""
        return f"worker {self.pid}" if self.pid else "a worker"

    def has_process(self, pid: int) -> None:
        """A template has forked it. Raises OSError if `pid` is no process, or not a child of this one's."""
        pidfd = os.pidfd_open(pid)
        try:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:
            os.close(pidfd)
            raise
        self.pid, self.pidfd = pid, pidfd
        if self.killed:
            self.kill(self.killed)

    def command(self, command: Command, deadline: float | None = None) -> None:
        """Tell the worker to leave; it will be killed at `deadline`."""
        if not self.pid:
            self.kill("it had no process yet when it was told to leave")
        self.channel.send({"command": command})
        self.state = WorkerState.DRAINING
        if deadline is not None:
            self.deadline = deadline

    def kill(self, why: str) -> None:
        """End the process now."""
        self.killed = self.killed or why
        self.deadline = None
        if self.pid:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def abort(self, why: str) -> None:
        """End a process that does not move: it shows its tasks if it still runs Python, its stacks in any case.

        Unless it is stopped (SIGSTOP): then it can show nothing.
        """
        self.state = WorkerState.DRAINING
        if _is_stopped(self.pid):
            log.error("shard %d: worker %d is %s; it is stopped, and cannot show its stacks", self.shard, self.pid, why)
            self.kill(why)
            return
        log.error("shard %d: worker %d is %s; its stacks follow", self.shard, self.pid, why)
        self.killed = why
        self._to_abort = True
        if has_threads(box(self.place.board)):
            self.expire()
        else:
            self.deadline = time.monotonic() + _SHOW_TASKS
            signal.pidfd_send_signal(self.pidfd, SHOW_TASKS)

    def expire(self) -> None:
        """The deadline of a process that is to leave has passed: SIGABRT once, if it hangs, and then SIGKILL."""
        if self._to_abort:
            self._to_abort = False
            self.deadline = time.monotonic() + _ABORT_GRACE
            signal.pidfd_send_signal(self.pidfd, signal.SIGABRT)
        else:
            self.kill("did not leave in time")

    def executing(self) -> str:
        """What it executes, or did when it died, as the end of a sentence; "" if nothing."""
        what = describe(box(self.place.board))
        return f" while executing: {what}" if what else ""

    def reap(self) -> str:
        """Collect the process, whose pidfd is readable; return how it ended, in words ("" for exit code 0)."""
        if not self.pid:
            self.close()
            return ""
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        self.close()
        if result is None or (result.si_code == os.CLD_EXITED and result.si_status == 0):
            return ""
        if result.si_code == os.CLD_EXITED:
            return f"exit code {result.si_status}"
        return signal.Signals(result.si_status).name

    def close(self) -> None:
        """Close this process's descriptors of the worker."""
        self.channel.close()
        if self.pid:
            os.close(self.pidfd)


def _is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal (proc_pid_stat(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def fork_worker(config: Config, place: Place, leave_behind: Callable[[], None]) -> Child:
    """Fork a worker for `place`. `leave_behind` runs in the child and closes what is the supervisor's alone."""
    parent = os.getpid()
    pid, channel = fork_process(lambda channel: run_worker(config, place, channel, parent), leave_behind)
    return Child(pid, channel, place, config.boot_timeout)


def fork_process(run: Callable[[Channel], int], leave_behind: Callable[[], None]) -> tuple[int, Channel]:
    """Fork a process that `run`s with one end of a channel and exits with what that returns.

    Returns its pid and the other end. Raises OSError.
    """
    ours, theirs = Channel.pair()
    # A signal between the fork and the child's own handlers would be written to the supervisor's queue.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                atexit._clear()  # noqa: SLF001 what the supervisor registered is not the worker's to run
                ours.close()
                leave_behind()
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                code = run(theirs)
            except BaseException:  # the last frame of the process: whatever comes here ends it, and is shown
                traceback.print_exc()
            finally:
                end_process(code)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
    return pid, ours

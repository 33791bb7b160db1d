"""`--preload`: the templates, a process for each generation that has imported the application and forks its workers.

A worker that waits for its template is a `Child` without a process. Whatever keeps it from getting one ends it, and is
its failure; so nothing else has to know of templates (docs/decisions/0015).
"""

from __future__ import annotations

import ctypes
import os
import select
import selectors
import signal
import time
from typing import TYPE_CHECKING, Any

from shardserve.errors import EXIT_APP
from shardserve.logs import log
from shardserve.supervisor.child import Child, fork_process
from shardserve.worker.channel import Channel, failure
from shardserve.worker.place import pack
from shardserve.worker.template import run_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shardserve.config.settings import Config
    from shardserve.worker.place import Place, Shared

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_FORKING = 10.0  # seconds a template may take to fork a worker
_LEAVING = 2.5  # seconds it has to leave: what the application has registered with atexit runs


class _Template:
    """One template. `queue` waits for its import, `asked` for its answer; `deadline` is when it is killed, or None."""

    def __init__(self, pid: int, channel: Channel, generation: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel = channel
        self.generation = generation
        self.born = time.monotonic()
        self.ready = False
        self.leaving = False
        self.deadline: float | None = None
        self.queue: list[tuple[Child, Channel]] = []  # with the worker's end of its channel
        self.asked: dict[int, Child] = {}
        self.failure: dict[str, Any] | None = None

    def kill(self) -> None:
        """End the process now."""
        self.leaving, self.deadline = True, None
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Templates:
    """All of them. `born` is told of each worker that has its process.

    Once there has been a template, this process adopts what its descendants leave behind (`adopts`).
    """

    def __init__(
        self,
        shared: Shared,
        selector: selectors.BaseSelector,
        leave_behind: Callable[[], None],
        born: Callable[[Child], None],
    ) -> None:
        self._shared = shared
        self._selector = selector
        self._leave_behind = leave_behind
        self._born = born
        self._all: list[_Template] = []
        self._ended: list[Child] = []
        self._asked = 0  # workers, ever
        self.adopts = False

    @property
    def pids(self) -> set[int]:
        """The processes that are templates."""
        return {template.pid for template in self._all}

    @property
    def forking(self) -> bool:
        """Whether there may be workers whose process ids are not known yet."""
        return any(template.asked for template in self._all)

    @property
    def deadlines(self) -> list[float]:
        """When `tend` has something to do, of `time.monotonic()`."""
        return [template.deadline for template in self._all if template.deadline is not None]

    def start_worker(self, config: Config, place: Place) -> Child:
        """Have a worker forked for `place` by the template of its generation, which is made if need be.

        Raises OSError.
        """
        message, files = pack(place, self._shared)
        template = next((one for one in self._all if one.generation == place.generation and not one.leaving), None)
        template = template or self._start(config, place.generation)
        ours, theirs = Channel.pair()
        ours.send(message, files)
        child = Child(0, ours, place, config.boot_timeout)
        template.queue.append((child, theirs))
        if template.ready:
            self._ask(template)
        return child

    def ended(self) -> list[Child]:
        """The workers that will never have a process, each once."""
        for template in self._all:
            for child, theirs in [waiting for waiting in template.queue if waiting[0].killed]:
                template.queue.remove((child, theirs))
                theirs.close()
                self._ended.append(child)
        ended, self._ended = self._ended, []
        return ended

    def tend(self, generations: Iterable[int]) -> None:
        """Have those leave that nobody waits for and whose generation is not one of these; kill what is overdue."""
        for template in self._all:
            if template.deadline is not None and template.deadline <= time.monotonic():
                log.error("template %d does not move and is killed", template.pid)
                template.kill()
            elif template.leaving or template.queue or template.asked:
                pass
            elif not template.ready:
                template.kill()  # it still imports what nobody waits for any more
            elif template.generation not in generations:
                self._close_channel(template)
                template.leaving, template.deadline = True, time.monotonic() + _LEAVING

    def leave(self) -> None:
        """In a forked process: close everything."""
        for template in self._all:
            template.channel.close()
            os.close(template.pidfd)
            for _, theirs in template.queue:
                theirs.close()

    def close(self) -> None:
        """End all templates now; those that leave already have the rest of their time."""
        for template in self._all:
            if template.leaving and template.deadline is not None:
                select.select((template.pidfd,), (), (), max(0.0, template.deadline - time.monotonic()))
            template.kill()
            os.waitid(os.P_PIDFD, template.pidfd, os.WEXITED)
        self.leave()

    def _start(self, config: Config, generation: int) -> _Template:
        if not self.adopts:
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            self.adopts = True
        supervisor = os.getpid()
        pid, channel = fork_process(
            lambda channel: run_template(config, self._shared, channel, supervisor), self._leave_behind
        )
        template = _Template(pid, channel, generation)
        self._all.append(template)
        self._selector.register(template.pidfd, selectors.EVENT_READ, lambda: self._on_exit(template))
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._on_message(template))
        return template

    def _ask(self, template: _Template) -> None:
        """Ask for all workers that wait."""
        for child, theirs in template.queue:
            if child.killed:
                self._ended.append(child)
            else:
                self._asked += 1
                template.asked[self._asked] = child
                template.channel.send({"fork": self._asked}, [theirs])
            theirs.close()
        template.queue.clear()
        template.deadline = time.monotonic() + _FORKING if template.asked else None

    def _on_message(self, template: _Template) -> None:
        messages = template.channel.receive()
        if messages is None:  # its end is seen at the pidfd
            self._close_channel(template)
            return
        for message in messages:
            if "ready" in message:
                took = time.monotonic() - template.born
                log.info("template %d of generation %d is ready after %.2f s", template.pid, template.generation, took)
                template.ready = True
                self._ask(template)
            elif "failed" in message:
                template.failure = message
            elif "forked" in message:
                self._on_fork(template, message)

    def _on_fork(self, template: _Template, message: dict[str, Any]) -> None:
        child = template.asked.pop(message["number"])
        template.deadline = time.monotonic() + _FORKING if template.asked else None
        try:
            if not message["forked"]:
                raise OSError(0, message["error"])
            child.has_process(message["forked"])
        except OSError as error:
            child.failure = failure(f"the template could not fork a worker: {error.strerror}", "", EXIT_APP)
            self._ended.append(child)
        else:
            self._born(child)

    def _on_exit(self, template: _Template) -> None:
        if template.channel.fileno() >= 0:
            self._on_message(template)  # its last words
        self._close_channel(template)
        self._selector.unregister(template.pidfd)
        result = os.waitid(os.P_PIDFD, template.pidfd, os.WEXITED)
        os.close(template.pidfd)
        self._all.remove(template)
        how = "it ended"
        if result is not None:
            exited = result.si_code == os.CLD_EXITED
            how = f"exit code {result.si_status}" if exited else signal.Signals(result.si_status).name
        if template.failure is None and not template.leaving:
            log.error("template %d died (%s); the next worker's start makes a new one", template.pid, how)
        for child, theirs in template.queue:
            theirs.close()
            self._ended.append(child)
            child.failure = template.failure or failure(f"its template died ({how})", "", EXIT_APP)
        for child in template.asked.values():
            self._ended.append(child)
            child.failure = failure(f"its template died ({how})", "", EXIT_APP)

    def _close_channel(self, template: _Template) -> None:
        if template.channel.fileno() >= 0:
            self._selector.unregister(template.channel)
            template.channel.close()

"""The supervisor's loop: every shard has a worker, a reload replaces one at a time, a stop is graceful and bounded.

It blocks until something happens: a signal, a worker's end (pidfd), a worker's word (channel), or the nearest deadline.
Its one poll, ten times a second, is for workers that live but do not move (watch.py).
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shardserve.errors import EXIT_APP_NOT_FOUND, EXIT_OK, AppError, AppNotFound
from shardserve.logs import log
from shardserve.net.board import Board, WorkerState
from shardserve.supervisor.access_file import AccessFile
from shardserve.supervisor.announce import announce_ready
from shardserve.supervisor.child import Child, fork_worker
from shardserve.supervisor.cover import Cover
from shardserve.supervisor.reload import Reloads
from shardserve.supervisor.scaling import Scaling
from shardserve.supervisor.shard import Shard
from shardserve.supervisor.stopping import Stopping
from shardserve.supervisor.templates import Templates
from shardserve.supervisor.watch import Watch
from shardserve.supervisor.watcher import fork_watcher
from shardserve.worker.process import remove_pidfile, write_pidfile
from shardserve.worker.worker import LEAVING_EXTRA

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.config.settings import Config
    from shardserve.supervisor.sharding import Sharding
    from shardserve.supervisor.signals import SignalQueue
    from shardserve.worker.place import Place

_DEVELOPER_WAITS = 2.0  # seconds a replaced worker has under --reload: an open page must not hold the next one up
_UNWANTED = "it is not wanted any more"  # why a worker that boots is killed when its shard is parked
_FORK_AGAIN = 1.0  # seconds before another try where the system had no room for a process


class Supervisor:
    """Keeps every shard served. `reread` resolves the configuration again, for a reload."""

    def __init__(self, config: Config, sharding: Sharding, reread: Callable[[], Config], signals: SignalQueue) -> None:
        count = sharding.count
        self.sharding = sharding
        self.shards = [Shard(index) for index in range(count)]
        self._scaling = Scaling(sharding, self.shards, config.backlog, self._add, self._let_go)
        self._cover = Cover(sharding, self.shards)
        self._reloads = Reloads(
            config,
            sharding,
            self.shards,
            reread,
            self._replace,
            self._scaling.to,
            self._make_room,
            self._cover.renew,
        )
        self._watch = Watch(sharding, self.shards)
        self._signals = signals
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signals)
        self._templates = Templates(sharding.shared, self._selector, lambda: self._leave_behind(None), self._on_born)
        self._untried = set(range(count))  # shards whose first worker has neither become ready nor failed
        self._serving = False  # some worker has become ready
        self._stopping = Stopping(sharding, self.shards)
        self._failure: AppError | None = None  # the first one, before any worker was ready
        self._interface = ""
        self._watcher = 0  # pid
        self._orphaned = False  # as process 1: a process that is not ours to wait for may have ended
        self._pidfile = config.pidfile
        self._access = AccessFile()

    def run(self) -> int:
        """Serve until told to stop; returns the exit code. Raises AppError if no worker could start."""
        if self._reloads.config.reload:
            folders = self._reloads.config.reload_dir or (self._reloads.config.chdir or ".",)
            self._watcher = fork_watcher(folders, lambda: self._leave_behind(None))
        for shard in self.shards:
            self._replace(shard)
        while not (self._stopping.stage and not self._children()):
            if not self._untried and not self._serving and not self._children() and self._failure is not None:
                raise self._failure
            for key, _ in self._selector.select(self._time_left()):
                if self._selector.get_map().get(key.fd) is key:  # not closed by a handler before this one
                    key.data()
            self._check_deadlines()
            while ended := self._templates.ended():
                for child in ended:
                    self._on_exit(child)
            if self._orphaned and not self._templates.forking:
                self._reap_orphans()
        return EXIT_OK

    def close(self) -> None:
        """Give back what outlives the loop."""
        if self._watcher:
            os.kill(self._watcher, signal.SIGKILL)
            os.waitpid(self._watcher, 0)
        self._templates.close()
        self.sharding.close()
        if self._serving:
            remove_pidfile(self._pidfile)
        self._selector.close()
        self._signals.close()

    # What happens

    def _on_signals(self) -> None:
        for verb in self._signals.verbs():
            if verb == "reload":
                if not self._stopping.stage:
                    self._reloads.begin(may_begin=not self._untried)
            elif verb == "reopen":
                self._access.reopen(self._reloads.config, self._children())
            elif verb in ("more", "fewer"):
                if self._stopping.stage or self._untried:
                    log.info("the number of workers is not changed while the service starts or stops")
                else:
                    self._reloads.scale_by(1 if verb == "more" else -1)
            elif verb == "reap":
                self._orphaned = os.getpid() == 1 or self._templates.adopts
            elif verb == "ignore":
                log.debug("a signal that has no meaning here was ignored")
            elif verb == "quit":
                self._stopping.quit(self._reloads.config)
            else:
                self._stopping.advance(self._reloads.config)

    def _on_message(self, child: Child) -> None:
        messages = child.channel.receive()
        if messages is None:  # its end is seen at the pidfd
            self._selector.unregister(child.channel)
            return
        for message in messages:
            if "ready" in message:
                self._on_ready(child, message["interface"])
            elif "failed" in message:
                child.failure = message
            elif self._stopping.stage:
                pass  # what else it says is about its replacement
            elif "refused" in message:
                self._cover.refused(message["refused"], child)
            elif "streaming" in message:
                self._reloads.left(child)
            elif "retire" in message:
                self._reloads.retire(child, message["retire"])

    def _on_ready(self, child: Child, interface: str) -> None:
        if child.state != WorkerState.BOOTING or child.killed:
            return  # told to leave, or killed, while it said so
        if self._stopping.stage:  # it was let to boot for the sake of what is queued on its shard
            child.command("stop", child.deadline)
            return
        child.state = WorkerState.READY
        child.ready_at = time.monotonic()
        child.deadline = None
        shard = self.shards[child.shard]
        took = child.ready_at - child.born
        log.info("shard %d: worker %d serves (ready after %.2f s)", shard.index, child.pid, took)
        old = shard.promote(child)
        if old is not None:
            self._drain(old)
        if not self._serving:
            self._serving = True
            write_pidfile(self._pidfile)
            if self._failure is not None:
                self._reloads.log_failure("a worker did not start", self._failure)
        self._tried(shard, interface)
        self._cover.update()
        self.sharding.steering.start_slowly(shard.index)
        self._reloads.became_ready(child, old)

    def _on_exit(self, child: Child) -> None:
        if self._selector.get_map().get(child.channel.fileno()) is not None:
            self._on_message(child)  # its last words
        self._unregister(child)
        shard = self.shards[child.shard]
        was_current, was_incoming = child is shard.current, child is shard.incoming
        how = child.reap()
        if child.killed:
            how = f"killed: {child.killed}"
        doing = child.executing()
        self.sharding.board.release(child.place.board)
        shard.forget(child)
        if self._stopping.stage:
            if self._stopping.stage == "delay":
                self._cover.update()
            if how and child.ready_at:
                log.error("shard %d: worker %d ended badly (%s)%s", shard.index, child.pid, how, doing)
            return
        self._cover.update()
        if was_incoming:
            self._on_boot_failure(shard, child, how)
        elif was_current:
            log.error("shard %d: worker %d died (%s)%s", shard.index, child.pid, how or "exit code 0", doing)
            if shard.incoming is None:
                self._retry(shard, shard.delay_after(child))
        else:
            if how and child.killed != _UNWANTED:
                said = "shard %d: worker %d, which was leaving, ended badly (%s)%s"
                log.error(said, shard.index, child.pid, how, doing)
            self._reloads.left(child)
            if child is shard.making_room:
                shard.making_room = None
                if shard.current is None and shard.incoming is None and not shard.parked:
                    self._replace(shard)

    def _on_boot_failure(self, shard: Shard, child: Child, how: str) -> None:
        error = _failure_of(child, how)
        if self._reloads.failed_to_boot(shard, child, error):
            return
        if self._serving:
            self._reloads.log_failure(f"shard {shard.index}: {child.name} did not start", error)
        else:
            self._failure = self._failure or error  # run() raises it if no shard becomes ready
        if shard.current is None and shard.incoming is None:
            self._retry(shard, shard.delay_after(child))
        self._tried(shard)

    # Starting workers

    def _replace(self, shard: Shard) -> None:
        """Start a worker on the shard's listeners; it takes over from the current one, if any, once it is ready."""
        if len(shard.children()) == Board.LINES_PER_SHARD:
            if shard.retry_at is None:
                log.info("shard %d: %d workers still leave; the next waits for one", shard.index, len(shard.leaving))
            shard.retry_at = time.monotonic() + 1.0
            return
        shard.retry_at = None
        config, generation = self._reloads.for_shard(shard)
        place = self.sharding.place(shard.index, generation, self._access.open(config))
        try:
            if config.preload:
                child = self._templates.start_worker(config, place)
            else:
                child = fork_worker(config, place, lambda: self._leave_behind(place))
        except OSError as error:  # no process, memory or descriptor left on the machine or in the container
            self.sharding.board.release(place.board)
            log.error("shard %d: cannot start a worker: %s; trying again", shard.index, error.strerror)
            shard.retry_at = time.monotonic() + _FORK_AGAIN
            return
        shard.incoming = child
        if child.pid:
            self._on_born(child)

    def _on_born(self, child: Child) -> None:
        """A worker has its process: hear what it says, and see when that ends.

        Not before: one that a template has forked may be ready sooner than the template has said its pid.
        """
        self._selector.register(child.channel, selectors.EVENT_READ, lambda: self._on_message(child))
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._on_exit(child))

    def _make_room(self, shard: Shard) -> None:
        """Have the shard's worker leave while siblings serve for it; its replacement starts when it has left."""
        shard.making_room, _ = shard.vacate()
        self._cover.update()
        if shard.making_room is not None:
            self._drain(shard.making_room)

    def _leave_behind(self, place: Place | None) -> None:
        """In a forked process: close everything but what is for the worker of this place."""
        self._selector.close()
        self._signals.close()
        self._templates.leave()
        for child in self._children():
            child.close()
        self.sharding.leave_to(place)

    def _add(self, shard: Shard) -> None:
        """Start a worker on a shard that is new, or has been parked; until it is ready, siblings serve for it."""
        self._replace(shard)
        self._cover.update()

    def _let_go(self, shard: Shard) -> None:
        """Make do without a worker on a shard that has been parked."""
        current, incoming = shard.vacate()
        self._cover.update()
        if incoming is not None:
            incoming.kill(_UNWANTED)
        if current is not None:
            self._drain(current)
        self._reloads.parked(shard)

    def _retry(self, shard: Shard, delay: float) -> None:
        if delay:
            if self._serving:
                log.warning("shard %d: trying again in %.1f s", shard.index, delay)
            shard.retry_at = time.monotonic() + delay
        else:
            self._replace(shard)

    def _tried(self, shard: Shard, interface: str = "") -> None:
        """A worker of the shard has become ready or failed: at start, see whether all have."""
        if shard.index in self._untried:
            self._untried.remove(shard.index)
            self._interface = interface or self._interface
            if not self._untried and self._serving:
                announce_ready(self._reloads.config, self.sharding.groups, self.shards, self._interface)
                self._reloads.finish()  # with the start; a reload asked for meanwhile may begin

    def _drain(self, child: Child) -> None:
        """A replacement serves: the worker answers what it has accepted and leaves."""
        child.command("drain", time.monotonic() + self._reloads.config.graceful_timeout + LEAVING_EXTRA)
        if self._reloads.config.reload:
            child.deadline = time.monotonic() + _DEVELOPER_WAITS

    # Time

    def _children(self) -> list[Child]:
        return [child for shard in self.shards for child in shard.children()]

    def _waiting(self) -> list[Shard]:
        """Shards that will try again; at start only once some worker serves (else the first failure ends it all)."""
        if self._stopping.stage or not self._serving:
            return []
        return [shard for shard in self.shards if shard.retry_at is not None and shard.incoming is None]

    def _time_left(self) -> float | None:
        """Seconds until the nearest deadline, or None."""
        times = [child.deadline for child in self._children() if child.deadline is not None]
        times += self._templates.deadlines
        times += [shard.retry_at for shard in self._waiting() if shard.retry_at is not None]
        if self._stopping.stage == "delay":
            times.append(self._stopping.next_at)
        if self._serving and not self._stopping.stage:
            times.append(self._watch.next_look)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        if now >= self._stopping.next_at:
            self._stopping.stop(self._reloads.config)
        if self._serving and not self._stopping.stage and now >= self._watch.next_look:
            self._look_at_workers()
        for child in self._children():
            if child.deadline is not None and child.deadline <= now:
                if child.state == WorkerState.BOOTING:
                    child.kill(f"not ready within the boot timeout of {self._reloads.config.boot_timeout:g} s")
                else:
                    child.expire()
        self._templates.tend(() if self._stopping.stage else self._reloads.generations)
        for shard in self._waiting():
            if shard.retry_at is not None and shard.retry_at <= now:
                self._replace(shard)

    def _look_at_workers(self) -> None:
        self.sharding.steering.look_after()
        changed, hung = self._watch.look(self._reloads.config.timeout)
        if changed or self._cover.is_due(time.monotonic()):
            self._cover.update()
        for child, why in hung:
            if not child.killed:
                child.abort(why)

    # Odds and ends

    def _unregister(self, child: Child) -> None:
        registered = self._selector.get_map()
        for descriptor in (child.pidfd, child.channel.fileno()):
            if descriptor >= 0 and descriptor in registered:
                self._selector.unregister(descriptor)

    def _reap_orphans(self) -> None:
        """As process 1 of a container, or with templates: collect processes that lost their parent.

        Ours are collected by their pidfd.
        """
        self._orphaned = False
        ours = {child.pid for child in self._children()} | self._templates.pids | {self._watcher}
        with suppress(ChildProcessError):  # there are no children at all
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in ours:
                os.waitpid(ended.si_pid, 0)
            self._orphaned = ended is not None and ended.si_pid != self._watcher  # once ours has been: those behind it


def _failure_of(child: Child, how: str) -> AppError:
    said: dict[str, Any] = child.failure or {}
    if not said:
        return AppError(f"{child.name} died while it started ({how or 'exit code 0'})")
    kind = AppNotFound if said["exit_code"] == EXIT_APP_NOT_FOUND else AppError
    return kind(said["failed"], said["trace"])

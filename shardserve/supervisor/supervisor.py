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

from shardserve.errors import EXIT_APP_NOT_FOUND, EXIT_OK, AppError, AppNotFound, BindError
from shardserve.logs import log
from shardserve.net.board import Board, WorkerState
from shardserve.net.listener import queue_length
from shardserve.net.loads import CAPACITY
from shardserve.supervisor.access_file import AccessFile
from shardserve.supervisor.announce import announce_ready
from shardserve.supervisor.child import Child, fork_worker
from shardserve.supervisor.cover import Cover
from shardserve.supervisor.reload import Reloads
from shardserve.supervisor.shard import Shard
from shardserve.supervisor.watch import Watch
from shardserve.supervisor.watcher import fork_watcher
from shardserve.worker.process import remove_pidfile, write_pidfile
from shardserve.worker.worker import LEAVING_EXTRA

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.config.settings import Config
    from shardserve.supervisor.sharding import Sharding
    from shardserve.supervisor.signals import SignalQueue

_QUICK = 2.5  # seconds a worker has to leave at once
_DEVELOPER_WAITS = 2.0  # seconds a replaced worker has under --reload: an open page must not hold the next one up
_FORK_AGAIN = 1.0  # seconds before another try where the system had no room for a process
_IMPORTING = 1.0  # seconds a worker that is still importing the application has: it cannot hear us before


class Supervisor:
    """Keeps every shard served. `reread` resolves the configuration again, for a reload."""

    def __init__(self, config: Config, sharding: Sharding, reread: Callable[[], Config], signals: SignalQueue) -> None:
        count = sharding.count
        self.sharding = sharding
        self.shards = [Shard(index) for index in range(count)]
        self._reloads = Reloads(config, sharding, self.shards, reread, self._replace, self._scale_to, self._make_room)
        self._cover = Cover(sharding, self.shards)
        self._watch = Watch(sharding, self.shards)
        self._signals = signals
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signals)
        self._untried = set(range(count))  # shards whose first worker has neither become ready nor failed
        self._serving = False  # some worker has become ready
        self._stopping = ""  # or "delay" (--drain-delay), "stop", "quit"
        self._stop_at = 0.0  # when the delay is over
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
            self._watcher = fork_watcher(folders, lambda: self._leave_behind(-1))
        for shard in self.shards:
            self._replace(shard)
        while not (self._stopping and not self._children()):
            if not self._untried and not self._serving and not self._children() and self._failure is not None:
                raise self._failure
            for key, _ in self._selector.select(self._time_left()):
                if self._selector.get_map().get(key.fd) is key:  # not closed by a handler before this one
                    key.data()
            self._check_deadlines()
            if self._orphaned:
                self._reap_orphans()
        return EXIT_OK

    def close(self) -> None:
        """Give back what outlives the loop."""
        if self._watcher:
            os.kill(self._watcher, signal.SIGKILL)
            os.waitpid(self._watcher, 0)
        self.sharding.close()
        if self._serving:
            remove_pidfile(self._pidfile)
        self._selector.close()
        self._signals.close()

    # What happens

    def _on_signals(self) -> None:
        for verb in self._signals.verbs():
            if verb == "reload":
                if not self._stopping:
                    self._reloads.begin(may_begin=not self._untried)
            elif verb == "reopen":
                self._access.reopen(self._reloads.config, self._children())
            elif verb in ("more", "fewer"):
                if not self._stopping and not self._untried:
                    self._scale_to(self._wanted() + (1 if verb == "more" else -1))
            elif verb == "reap":
                self._orphaned = os.getpid() == 1
            elif verb == "ignore":
                log.debug("a signal that has no meaning here was ignored")
            elif verb == "quit" or self._stopping:
                self._quit()
            else:
                self._stop()

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
            elif self._stopping:
                pass  # what else it says is about its replacement
            elif "streaming" in message:
                self._reloads.left(child)
            elif "retire" in message:
                self._reloads.retire(child, message["retire"])

    def _on_ready(self, child: Child, interface: str) -> None:
        if child.state != WorkerState.BOOTING:
            return  # told to leave while it said so
        if self._stopping:  # it was let to boot for the sake of what is queued on its shard
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
        if self._stopping:
            if self._stopping == "delay":
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
            if how:
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
            self._reloads.log_failure(f"shard {shard.index}: worker {child.pid} did not start", error)
        else:
            self._failure = self._failure or error  # run() raises it if no shard becomes ready
        if shard.current is None and shard.incoming is None and not shard.parked:
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
            child = shard.incoming = fork_worker(config, place, lambda: self._leave_behind(shard.index))
        except OSError as error:  # no process, memory or descriptor left on the machine or in the container
            self.sharding.board.release(place.board)
            log.error("shard %d: cannot start a worker: %s; trying again", shard.index, error.strerror)
            shard.retry_at = time.monotonic() + _FORK_AGAIN
            return
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._on_exit(child))
        self._selector.register(child.channel, selectors.EVENT_READ, lambda: self._on_message(child))

    def _make_room(self, shard: Shard) -> None:
        """Have the shard's worker leave while siblings serve for it; its replacement starts when it has left."""
        old = shard.make_room()
        self._cover.update()
        if old is not None:
            self._drain(old)

    def _leave_behind(self, index: int) -> None:
        """In a forked process: close everything but the listeners of shard `index` (-1: all of them)."""
        self._selector.close()
        self._signals.close()
        for child in self._children():
            child.close()
        self.sharding.leave_to(index)

    # More and fewer of them

    def _wanted(self) -> int:
        """How many workers there should be."""
        return sum(not shard.parked for shard in self.shards)

    def _scale_to(self, count: int) -> None:
        """Have `count` workers: unpark or make shards, or park those with the highest numbers."""
        if not 1 <= count <= max(CAPACITY, self.sharding.count):
            log.warning("there are %d workers; not fewer than 1, not more than %d", self._wanted(), CAPACITY)
            return
        while self._wanted() < count:
            shard = next((shard for shard in self.shards if shard.parked), None)
            try:
                shard = shard or self._new_shard()
            except BindError as error:
                log.error("there are %d workers, one more cannot be started: %s", self._wanted(), error)
                return
            shard.parked = False
            log.info("shard %d: a worker more, %d now", shard.index, self._wanted())
            self._replace(shard)
        while self._wanted() > count:
            shard = next(shard for shard in reversed(self.shards) if not shard.parked)
            incoming, old = shard.incoming, shard.park()
            log.info("shard %d: a worker less, %d now", shard.index, self._wanted())
            self._cover.update()
            if incoming is not None:
                incoming.kill("it is not wanted any more")
            if old is not None:
                self._drain(old)
            self._reloads.parked(shard)

    def _new_shard(self) -> Shard:
        inbox = self.sharding.grow(self._reloads.config.backlog)
        for child in self._children():
            child.channel.send({"command": "meet", "shard": len(self.shards)}, [inbox.writing])
        self.shards.append(Shard(len(self.shards)))
        return self.shards[-1]

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

    # Stopping

    def _drain(self, child: Child) -> None:
        """A replacement serves: the worker answers what it has accepted and leaves."""
        child.command("drain", time.monotonic() + self._reloads.config.graceful_timeout + LEAVING_EXTRA)
        if self._reloads.config.reload:
            child.deadline = time.monotonic() + _DEVELOPER_WAITS

    def _stop(self) -> None:
        """Stop gracefully: at once, or after --drain-delay, in which workers go on and nothing is begun any more."""
        delay, now = self._reloads.config.drain_delay, time.monotonic()
        children = self._children()
        if not delay or not any(child.state == WorkerState.READY for child in children):
            self._stop_now()
            return
        log.info("stopping in %g s: until then connections are accepted, and closed after their answer", delay)
        self._stopping = "delay"
        self._stop_at = now + delay
        for child in children:
            if child.state == WorkerState.READY:
                child.channel.send({"command": "close"})
            elif child.state == WorkerState.BOOTING:
                child.command("stop", now + _IMPORTING)

    def _stop_now(self) -> None:
        log.info("stopping: at most %g s for the requests under way", self._reloads.config.graceful_timeout)
        self._stopping = "stop"
        waited_for = {shard.index for shard in self.shards if self._is_waited_for(shard)}
        for group in (*self.sharding.groups, *self.sharding.removed):
            group.remove_path()  # nobody finds a unix socket any more
            group.close()  # the workers hold theirs until they have taken what is queued
        now = time.monotonic()
        for child in self._children():
            if child.state == WorkerState.READY:
                child.command("stop", now + self._reloads.config.graceful_timeout + LEAVING_EXTRA)
            elif child.state == WorkerState.BOOTING and child.shard not in waited_for:
                child.command("stop", now + _IMPORTING)
            elif child.state == WorkerState.BOOTING:
                child.deadline = now + self._reloads.config.graceful_timeout

    def _is_waited_for(self, shard: Shard) -> bool:
        """Whether connections wait for the shard's first worker, and no sibling could have taken them."""
        nobody = not any(other.moves for other in self.shards)
        queued = any(map(queue_length, self.sharding.sockets(shard.index)[1:]))
        return nobody and queued and shard.incoming is not None

    def _quit(self) -> None:
        if self._stopping in ("", "delay"):
            self._stop_now()
        log.info("stopping now")
        self._stopping = "quit"
        for child in self._children():
            child.command("quit", time.monotonic() + _QUICK)

    # Time

    def _children(self) -> list[Child]:
        return [child for shard in self.shards for child in shard.children()]

    def _waiting(self) -> list[Shard]:
        """Shards that will try again; at start only once some worker serves (else the first failure ends it all)."""
        if self._stopping or not self._serving:
            return []
        return [shard for shard in self.shards if shard.retry_at is not None and shard.incoming is None]

    def _time_left(self) -> float | None:
        """Seconds until the nearest deadline, or None."""
        times = [child.deadline for child in self._children() if child.deadline is not None]
        times += [shard.retry_at for shard in self._waiting() if shard.retry_at is not None]
        if self._stopping == "delay":
            times.append(self._stop_at)
        if self._serving and not self._stopping:
            times.append(self._watch.next_look)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        if self._stopping == "delay" and now >= self._stop_at:
            self._stop_now()
        if self._serving and not self._stopping and now >= self._watch.next_look:
            self._look_at_workers()
        for child in self._children():
            if child.deadline is not None and child.deadline <= now:
                if child.state == WorkerState.BOOTING:
                    child.kill(f"not ready within the boot timeout of {self._reloads.config.boot_timeout:g} s")
                else:
                    child.expire()
        for shard in self._waiting():
            if shard.retry_at is not None and shard.retry_at <= now:
                self._replace(shard)

    def _look_at_workers(self) -> None:
        self.sharding.steering.look_after()
        changed, hung = self._watch.look(self._reloads.config.timeout)
        if changed:
            self._cover.update()
        for child, why in hung:
            if not child.killed:
                child.abort(why)

    # Odds and ends

    def _unregister(self, child: Child) -> None:
        registered = self._selector.get_map()
        for descriptor in (child.pidfd, child.channel.fileno()):
            if descriptor in registered:
                self._selector.unregister(descriptor)

    def _reap_orphans(self) -> None:
        """As process 1 of a container: collect processes that lost their parent. Ours are collected by their pidfd."""
        self._orphaned = False
        ours = {child.pid for child in self._children()}
        with suppress(ChildProcessError):  # there are no children at all
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in ours:
                os.waitpid(ended.si_pid, 0)


def _failure_of(child: Child, how: str) -> AppError:
    said: dict[str, Any] = child.failure or {}
    if not said:
        return AppError(f"worker {child.pid} died while it started ({how or 'exit code 0'})")
    kind = AppNotFound if said["exit_code"] == EXIT_APP_NOT_FOUND else AppError
    return kind(said["failed"], said["trace"])

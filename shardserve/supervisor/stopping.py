"""The end of the service, in stages: the delay for load balancers, the graceful stop, and the quick one."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from shardserve.logs import log
from shardserve.net.board import WorkerState
from shardserve.net.listener import queue_length
from shardserve.worker.worker import LEAVING_EXTRA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shardserve.config.settings import Config
    from shardserve.supervisor.child import Child
    from shardserve.supervisor.shard import Shard
    from shardserve.supervisor.sharding import Sharding

_QUICK = 2.5  # seconds a worker has to leave at once
_IMPORTING = 1.0  # seconds a worker that is still importing the application has: it cannot hear us before


class Stopping:
    """Whether the service is to end, and how far that is. `stage` is "", "delay" (--drain-delay), "stop" or "quit"."""

    def __init__(self, sharding: Sharding, shards: Sequence[Shard]) -> None:
        self.stage = ""
        self.next_at = math.inf  # when the delay is over, of `time.monotonic()`
        self._sharding = sharding
        self._shards = shards

    def advance(self, config: Config) -> None:
        """TERM or INT: stop gracefully; the second one: at once."""
        if self.stage:
            self.quit(config)
            return
        delay, now = config.drain_delay, time.monotonic()
        children = self._children()
        if not delay or not any(child.state == WorkerState.READY for child in children):
            self.stop(config)
            return
        log.info("stopping in %g s: until then connections are accepted, and closed after their answer", delay)
        self.stage = "delay"
        self.next_at = now + delay
        for child in children:
            if child.state == WorkerState.READY:
                child.channel.send({"command": "close"})
            elif child.state == WorkerState.BOOTING:
                child.command("drain", now + _IMPORTING)  # not "stop": its shard is served on

    def stop(self, config: Config) -> None:
        """Stop gracefully now."""
        log.info("stopping: at most %g s for the requests under way", config.graceful_timeout)
        self.stage, self.next_at = "stop", math.inf
        waited_for = {shard.index for shard in self._shards if self._is_waited_for(shard)}
        for group in self._sharding.groups:
            group.remove_path()  # nobody finds a unix socket any more
            group.close()  # the workers hold theirs until they have taken what is queued
        now = time.monotonic()
        for child in self._children():
            if child.state == WorkerState.READY:
                child.command("stop", now + config.graceful_timeout + LEAVING_EXTRA)
            elif child.state == WorkerState.BOOTING and child.shard not in waited_for:
                child.command("stop", now + _IMPORTING)
            elif child.state == WorkerState.BOOTING:
                child.deadline = now + config.graceful_timeout
            else:
                child.channel.send({"command": "close"})  # those that take what it would give on leave, too

    def quit(self, config: Config) -> None:
        """QUIT: have everybody leave at once."""
        if self.stage in ("", "delay"):
            self.stop(config)
        log.info("stopping now")
        self.stage = "quit"
        for child in self._children():
            child.command("quit", time.monotonic() + _QUICK)

    def _children(self) -> list[Child]:
        return [child for shard in self._shards for child in shard.children()]

    def _is_waited_for(self, shard: Shard) -> bool:
        """Whether connections wait for the shard's first worker, and no sibling could have taken them."""
        nobody = not any(other.moves for other in self._shards)
        queued = any(map(queue_length, self._sharding.sockets(shard.index)[1:]))
        return nobody and queued and shard.incoming is not None

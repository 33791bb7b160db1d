"""More and fewer workers: shards are made, or parked and taken up again; none is ever closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.errors import BindError
from shardserve.logs import log
from shardserve.net.loads import CAPACITY
from shardserve.supervisor.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.supervisor.sharding import Sharding


class Scaling:
    """Sets the number of workers. `start` starts one on a shard, `let_go` makes do without the one it has."""

    def __init__(
        self,
        sharding: Sharding,
        shards: list[Shard],
        backlog: int,
        start: Callable[[Shard], None],
        let_go: Callable[[Shard], None],
    ) -> None:
        self._sharding = sharding
        self._shards = shards
        self._backlog = backlog
        self._start = start
        self._let_go = let_go

    @property
    def wanted(self) -> int:
        """How many workers there should be."""
        return sum(not shard.parked for shard in self._shards)

    def to(self, count: int) -> None:
        """Have `count` workers: parked shards first, then new ones; or park those with the highest numbers."""
        if not 1 <= count <= max(CAPACITY, self._sharding.count):
            log.warning("there are %d workers; not fewer than 1, not more than %d", self.wanted, CAPACITY)
            return
        while self.wanted < count:
            shard = next((shard for shard in self._shards if shard.parked), None)
            try:
                shard = shard or self._new_shard()
            except BindError as error:
                log.error("there are %d workers, one more cannot be started: %s", self.wanted, error)
                return
            shard.parked = False
            log.info("shard %d: a worker more, %d now", shard.index, self.wanted)
            self._start(shard)
        while self.wanted > count:
            shard = next(shard for shard in reversed(self._shards) if not shard.parked)
            shard.parked = True
            log.info("shard %d: a worker less, %d now", shard.index, self.wanted)
            self._let_go(shard)

    def _new_shard(self) -> Shard:
        inbox = self._sharding.grow(self._backlog)
        made = Shard(len(self._shards))
        for shard in self._shards:
            for child in shard.children():
                child.channel.send({"command": "meet", "shard": made.index}, [inbox.writing])
        self._shards.append(made)
        return made

"""Cover: what happens to a shard while it has no worker, or one that does not move.

New connections are steered to the shards that have one, and a sibling adopts what is queued, until the shard's own
worker is ready, or moves again.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from shardserve.logs import log
from shardserve.net.board import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shardserve.supervisor.child import Child
    from shardserve.supervisor.shard import Shard
    from shardserve.supervisor.sharding import Sharding


_AGAIN = 1.0  # seconds before another try where a sibling could not stand in


class Cover:
    """Keeps every shard covered. `update` is called whenever a worker has come or gone."""

    def __init__(self, sharding: Sharding, shards: Sequence[Shard]) -> None:
        self._sharding = sharding
        self._shards = shards
        self._adopters: dict[int, Child] = {}  # shard -> the sibling that accepts for it
        self._again_at = math.inf  # when to look for another one, of `time.monotonic()`

    def update(self) -> None:
        """Steer and adopt as the shards stand now."""
        self._again_at = math.inf
        serving = [shard for shard in self._shards if shard.moves]
        if not serving:
            return  # nobody to steer to: what comes waits in the queues
        self._sharding.steering.exclude([shard.index for shard in self._shards if not shard.moves])
        for shard in self._shards:
            adopter = self._adopters.get(shard.index)
            if adopter is not None and adopter is not self._shards[adopter.shard].current:
                adopter = None  # it is gone, or leaves and has let go of what it adopted
                del self._adopters[shard.index]
            if adopter is not None and (shard.moves or self._shards[adopter.shard].stuck):
                adopter.channel.send({"command": "release", "shard": shard.index})
                adopter = None
                del self._adopters[shard.index]
            if adopter is None and not shard.moves:
                self._adopt(shard, serving)

    def refused(self, shard: int, child: Child) -> None:
        """A sibling cannot stand in for a shard (it has no descriptors left): another one will, or it later."""
        if self._adopters.get(shard) is child:
            del self._adopters[shard]
            self._again_at = time.monotonic() + _AGAIN

    def is_due(self, now: float) -> bool:
        """Whether a shard is still to be covered that a sibling has refused."""
        return now >= self._again_at

    def renew(self) -> None:
        """The listeners have changed: who stands in for a shard gets those of now."""
        for shard, adopter in self._adopters.items():
            adopter.channel.send({"command": "release", "shard": shard})
        self._adopters.clear()
        self.update()

    def _adopt(self, shard: Shard, serving: list[Shard]) -> None:
        sibling = min((one.current for one in serving if one.current is not None), key=_connections)
        sibling.channel.send({"command": "adopt", "shard": shard.index}, self._sharding.sockets(shard.index))
        self._adopters[shard.index] = sibling
        log.debug("shard %d: worker %d accepts for it", shard.index, sibling.pid)


def _connections(child: Child) -> int:
    return int(child.place.board[Word.CONNECTIONS])

"""A rolling reload: which shards still have to get a worker of the new generation, and what it was that failed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardserve.config.settings import Config


class Roll:
    """One reload, shard by shard. `shard` is the one being replaced now, None when all are done."""

    def __init__(self, config: Config, generation: int, shards: int) -> None:
        self.config = config
        self.generation = generation
        self.proven = False  # a worker of this generation has become ready
        self._to_do = deque(range(shards))

    @property
    def shard(self) -> int | None:
        """The index of the shard that is being replaced, or None."""
        return self._to_do[0] if self._to_do else None

    def advance(self) -> None:
        """The shard being replaced is done."""
        self._to_do.popleft()

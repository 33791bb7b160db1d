"""Where a worker stands: what the supervisor gives it before it forks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from shardserve.logs import Sink
    from shardserve.net.listener import Listener
    from shardserve.net.loads import Loads
    from shardserve.net.steering import Table


@dataclass(frozen=True, slots=True)
class Siblings:
    """What the workers of all shards share: their loads, the table where that is how they are steered, the inboxes.

    `reading` is the own inbox's end to take from, `writing` are the ends to put into of each shard's.
    """

    loads: Loads
    table: Table | None
    reading: socket.socket
    writing: list[socket.socket]


@dataclass(frozen=True, slots=True)
class Place:
    """A shard (0-based) and generation, its listeners, a line of the board."""

    shard: int
    generation: int
    listeners: Sequence[Listener]
    board: memoryview
    access: Sink | None = None  # opened before privileges are dropped
    siblings: Siblings | None = None  # None: there never are any

"""Where a worker stands: what the supervisor gives it by forking it, or in a message where a template forks it."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shardserve.logs import Sink
from shardserve.net.listener import Listener
from shardserve.net.steering import Table
from shardserve.worker.channel import DESCRIPTORS_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shardserve.net.board import Board
    from shardserve.net.loads import Loads
    from shardserve.worker.channel import HasFileno


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


@dataclass(frozen=True, slots=True)
class Shared:
    """What stands in shared memory, so that every process forked after it was made has it: a message only names it."""

    board: Board
    loads: Loads


def pack(place: Place, shared: Shared) -> tuple[dict[str, Any], list[HasFileno]]:
    """A place as a message of channel.py and the descriptors that go with it. Raises OSError if they are too many."""
    siblings, access = place.siblings, place.access
    files: list[HasFileno] = [listener.socket for listener in place.listeners]
    if siblings is not None:
        files += [siblings.reading, *siblings.writing]
    if access is not None and access.fileno() >= 0:
        files.append(access)
    if len(files) > DESCRIPTORS_MAX:
        raise OSError(errno.E2BIG, f"a preloaded worker can be given {DESCRIPTORS_MAX} sockets, not {len(files)}")
    message = {
        "shard": place.shard,
        "generation": place.generation,
        "line": shared.board.number(place.board),
        "sharded": [listener.sharded for listener in place.listeners],
        "inboxes": len(siblings.writing) if siblings is not None else 0,
        "table": siblings is not None and siblings.table is not None,
    }
    return {"place": message}, files


def unpack(message: dict[str, Any], shared: Shared) -> Place:
    """The place that a message describes."""
    place, descriptors = message["place"], iter(message["descriptors"])
    listeners = [Listener(socket.socket(fileno=next(descriptors)), sharded) for sharded in place["sharded"]]
    siblings = None
    if place["inboxes"]:
        reading, *writing = [socket.socket(fileno=next(descriptors)) for _ in range(1 + place["inboxes"])]
        of_groups = [listener.socket for listener in listeners if listener.sharded]
        siblings = Siblings(shared.loads, Table(of_groups, shared.loads) if place["table"] else None, reading, writing)
    access = next(descriptors, None)
    return Place(
        place["shard"],
        place["generation"],
        listeners,
        shared.board.line(place["line"]),
        Sink(access) if access is not None else None,
        siblings,
    )

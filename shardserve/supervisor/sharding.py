"""What shards are made of, and how there come to be more: listeners, inboxes, loads, lines of the board, steering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.errors import BindError
from shardserve.net.board import Board
from shardserve.net.inbox import Inbox
from shardserve.net.listener import bind_all, close_all
from shardserve.net.loads import CAPACITY
from shardserve.net.steering import choose_steering
from shardserve.worker.place import Place, Shared, Siblings

if TYPE_CHECKING:
    import socket

    from shardserve.config.settings import Config
    from shardserve.logs import Sink
    from shardserve.net.listener import ShardGroup


class Sharding:
    """All of it for `count` shards; the supervisor holds it for its whole life, workers borrow from it."""

    def __init__(self, config: Config, count: int, owner: tuple[int, int]) -> None:
        """Listen on the addresses of `config`; `owner` is for unix sockets' paths. Raises ConfigError, BindError."""
        self._owner = owner
        self.count = count
        self.groups = self._bind(config, config.bind)
        self._added: list[ShardGroup] = []  # by a reload that goes on: not for the workers before it
        self._dropped: list[ShardGroup] = []  # by a reload that goes on: not for its own workers
        self._rebound_for = 0  # the generation of that reload
        try:
            self.steering = choose_steering(config.steering, self.groups, count)
        except BaseException:
            close_all(self.groups)
            raise
        self.inboxes = [Inbox() for _ in range(count)]
        self.board = Board(max(count, CAPACITY))

    def _bind(self, config: Config, texts: tuple[str, ...]) -> list[ShardGroup]:
        sharded = config.steering != "shared"
        return bind_all(texts, self.count, config.backlog, self._owner, config.umask, sharded=sharded)

    def grow(self, backlog: int) -> Inbox:
        """Make what one more shard needs; returns its inbox. Raises BindError."""
        for group in self.groups:
            group.grow(self.count + 1, backlog)
        try:
            self.steering.regroup(self.groups, self.count + 1)
        except OSError as error:
            raise BindError(f"the kernel does not steer to one more: {error.strerror}") from None
        self.count += 1
        self.inboxes.append(Inbox())
        return self.inboxes[-1]

    def rebind(self, config: Config, generation: int) -> None:
        """Listen on what `config` asks for in addition: for workers from `generation` on, which is to take over.

        Workers before it keep what they have, so both sets are there until `settle`. Raises ConfigError or BindError,
        with nothing changed.
        """
        had = {group.asked for group in self.groups}
        self._added = self._bind(config, tuple(text for text in config.bind if text not in had))
        self._dropped = [group for group in self.groups if group.asked not in config.bind]
        self._rebound_for = generation
        self.groups += self._added
        self.steering.regroup(self.groups, self.count)

    def settle(self, *, taken_over: bool) -> list[ShardGroup]:
        """The generation has taken over, or has not started; returns the groups that are over with that, to close."""
        over = self._dropped if taken_over else self._added
        self._added, self._dropped = [], []
        if over:
            self.groups[:] = [group for group in self.groups if group not in over]
            self.steering.regroup(self.groups, self.count)
        return over

    def place(self, shard: int, generation: int, access: Sink | None) -> Place:
        """Where a new worker of a shard will stand."""
        siblings = None
        if self.count <= CAPACITY:
            siblings = Siblings(
                self.steering.loads,
                self.steering.table_of(shard),
                self.inboxes[shard].reading,
                [inbox.writing for inbox in self.inboxes],
            )
        others = self._dropped if generation >= self._rebound_for else self._added
        listeners = [group.listener(shard) for group in self.groups if group not in others]
        return Place(shard, generation, listeners, self.board.claim(shard, generation), access, siblings)

    @property
    def shared(self) -> Shared:
        """What stands in shared memory."""
        return Shared(self.board, self.steering.loads)

    def sockets(self, shard: int) -> list[socket.socket]:
        """What a sibling needs to stand in for a shard: its inbox to take from, then its listeners."""
        inbox = self.inboxes[shard].reading
        return [inbox, *(group.sockets[shard] for group in self.groups if group.sharded)]

    def leave_to(self, place: Place | None) -> None:
        """In a forked process: close everything that is not for the worker of this place (None: everything)."""
        self.steering.leave()
        kept: set[socket.socket] = set()
        if place is not None:
            kept.update(listener.socket for listener in place.listeners)
            kept.add(self.inboxes[place.shard].reading)
            kept.update(inbox.writing for inbox in self.inboxes)
        for inbox in self.inboxes:
            for end in (inbox.reading, inbox.writing):
                if end not in kept:
                    end.close()
        for group in self.groups:
            for sock in group.sockets:
                if sock not in kept:
                    sock.close()

    def close(self) -> None:
        """The end of the service, as far as this process goes."""
        close_all(self.groups)
        for inbox in self.inboxes:
            inbox.close()

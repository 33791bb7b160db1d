"""What shards are made of, and how there come to be more: listeners, inboxes, loads, lines of the board, steering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.errors import BindError
from shardserve.net.board import Board
from shardserve.net.inbox import Inbox
from shardserve.net.listener import bind_all, close_all
from shardserve.net.loads import CAPACITY
from shardserve.net.steering import choose_steering
from shardserve.worker.place import Place, Siblings

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
        self.removed: list[ShardGroup] = []  # no longer asked for; closed once no worker accepts from them
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

    def rebind(self, config: Config) -> list[ShardGroup]:
        """Listen on what `config` asks for in addition, and return it; what it does not ask for any more is `removed`.

        Raises ConfigError or BindError, with nothing changed.
        """
        had = {group.asked for group in self.groups}
        added = self._bind(config, tuple(text for text in config.bind if text not in had))
        self.removed += [group for group in self.groups if group.asked not in config.bind]
        self.groups[:] = [group for group in self.groups if group.asked in config.bind] + added
        self.steering.regroup(self.groups, self.count)
        return added

    def take_back(self, added: list[ShardGroup]) -> None:
        """Undo `rebind`."""
        self.groups[:] = [group for group in self.groups if group not in added] + self.removed
        self.removed.clear()
        self.steering.regroup(self.groups, self.count)
        close_all(added)

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
        listeners = [group.listener(shard) for group in self.groups]
        return Place(shard, generation, listeners, self.board.claim(shard, generation), access, siblings)

    def sockets(self, shard: int) -> list[socket.socket]:
        """What a sibling needs to stand in for a shard: its inbox to take from, then its listeners."""
        inbox = self.inboxes[shard].reading
        return [inbox, *(group.sockets[shard] for group in self.groups if group.sharded)]

    def leave_to(self, shard: int) -> None:
        """In a forked process: close everything that is not for the worker of `shard` (-1: everything)."""
        close_all_sockets = shard == -1
        self.steering.leave()
        for index, inbox in enumerate(self.inboxes):
            if close_all_sockets:
                inbox.close()
            elif index != shard:
                inbox.reading.close()
        for group in self.groups:
            if close_all_sockets:
                group.close()
            elif group.sharded:
                for index, sock in enumerate(group.sockets):
                    if index != shard:
                        sock.close()
        for group in self.removed:
            group.close()

    def close(self) -> None:
        """The end of the service, as far as this process goes."""
        close_all(self.groups)
        for inbox in self.inboxes:
            inbox.close()

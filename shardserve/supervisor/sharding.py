"""What shards are made of, and how there come to be more: listeners, inboxes, loads, lines of the board, steering."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from shardserve.errors import BindError
from shardserve.logs import log
from shardserve.net.board import Board
from shardserve.net.inbox import Inbox
from shardserve.net.listener import bind_all, close_all
from shardserve.net.loads import CAPACITY, EXCLUDED, Load
from shardserve.net.steering import choose_steering
from shardserve.worker.place import Place, Shared, Siblings

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterable

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
        self._added: list[ShardGroup] = []  # by a reload none of whose workers is ready yet: for those only
        self._added_for = 0  # the generation of that reload
        try:
            self.steering = choose_steering(config.steering, self.groups, count)
        except BaseException:
            close_all(self.groups)
            raise
        self.inboxes = [_make_inbox() for _ in range(count)]
        self.board = Board(max(count, CAPACITY))

    def _bind(self, config: Config, texts: tuple[str, ...]) -> list[ShardGroup]:
        sharded = config.steering != "shared"
        return bind_all(texts, self.count, config.backlog, self._owner, config.umask, sharded=sharded)

    def grow(self, backlog: int) -> Inbox:
        """Make what one more shard needs; returns its inbox. Raises BindError, with nothing changed."""
        with ExitStack() as undo:
            inbox = _make_inbox()
            undo.callback(inbox.close)
            prepared = []
            for group in self.groups:
                made = group.prepare(self.count + 1)
                undo.callback(_close_sockets, made)
                prepared.append((group, made))
            self._prepare_steering()
            undo.callback(self._shrink)
            for group, made in prepared:
                group.join(made, backlog)
            if self.count < CAPACITY:
                self.steering.loads.line(self.count)[Load.PENALTY] = EXCLUDED  # nobody accepts there yet
            self._steer(self.count + 1)
            undo.pop_all()
        self.count += 1
        self.inboxes.append(inbox)
        return inbox

    def _shrink(self) -> None:
        """One more shard could not be made: back to as many as there are."""
        for group in self.groups:
            if group.sharded:
                del group.sockets[self.count :]
        with suppress(BindError):  # then its line excludes it
            self._steer(self.count)

    def _prepare_steering(self) -> None:
        try:
            self.steering.prepare(self.count + 1)
        except OSError as error:
            raise BindError(f"the kernel does not steer to one more: {error.strerror}") from None

    def _steer(self, count: int) -> None:
        try:
            self.steering.regroup(self.groups, count)
        except OSError as error:
            raise BindError(f"the kernel does not steer to these listeners: {error.strerror}") from None

    # Other addresses. A reload listens on what is added before its first worker starts, and on what is not asked for
    # any more until its last one serves: should one of them fail, each address still has all workers that serve.

    def rebind(self, config: Config, generation: int) -> None:
        """Listen on what `config` asks for in addition: for workers from `generation` on.

        Once one of them is ready, the others are to get it too (`confirm`); if none is, it is over (`revoke`). Raises
        ConfigError or BindError, with nothing changed.
        """
        had = {group.asked for group in self.groups}
        added = self._bind(config, tuple(text for text in config.bind if text not in had))
        self.groups += added
        try:
            self._steer(self.count)
        except BindError:
            self._remove(added)
            close_all(added)
            raise
        self._added, self._added_for = added, generation

    def confirm(self) -> list[ShardGroup]:
        """What has been added is for all workers; returns it."""
        added, self._added = self._added, []
        return added

    def revoke(self) -> list[ShardGroup]:
        """What has been added is given up; returns it, to close."""
        added = self.confirm()
        self._remove(added)
        return added

    def discard(self, asked: Collection[str]) -> list[ShardGroup]:
        """Part with the groups that are not asked for; returns them, to close."""
        over = [group for group in self.groups if group.asked not in asked]
        self._remove(over)
        return over

    def _remove(self, over: list[ShardGroup]) -> None:
        if over:
            self.groups[:] = [group for group in self.groups if group not in over]
            try:
                self._steer(self.count)
            except BindError as error:
                log.error("%s", error)

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
        others = self._added if generation < self._added_for else []
        listeners = [group.listener(shard) for group in self.groups if group not in others]
        return Place(shard, generation, listeners, self.board.claim(shard, generation), access, siblings)

    @property
    def shared(self) -> Shared:
        """What stands in shared memory."""
        return Shared(self.board, self.steering.loads)

    def sockets(self, shard: int) -> list[socket.socket]:
        """What a sibling needs to stand in for a shard: its inbox to take from, then its listeners."""
        inbox = self.inboxes[shard].reading
        groups = (group for group in self.groups if group.sharded and group not in self._added)
        return [inbox, *(group.sockets[shard] for group in groups)]

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


def _make_inbox() -> Inbox:
    try:
        return Inbox()
    except OSError as error:
        raise BindError(f"cannot make a shard's inbox: {error.strerror}") from None


def _close_sockets(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()

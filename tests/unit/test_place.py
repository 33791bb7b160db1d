"""A place in a message: what arrives stands where the supervisor has put it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from shardserve.logs import Sink
from shardserve.net.board import Board, Word
from shardserve.net.inbox import Inbox
from shardserve.net.listener import Listener
from shardserve.net.loads import Loads
from shardserve.net.steering import Table
from shardserve.worker.channel import DESCRIPTORS_MAX, Channel
from shardserve.worker.place import Place, Shared, Siblings, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    """One that is sharded and one that is not."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        yield [Listener(first, sharded=True), Listener(second, sharded=False)]


def sent(place: Place, shared: Shared) -> Place:
    """What the other end of a channel makes of it."""
    ours, theirs = Channel.pair()
    ours.send(*pack(place, shared))
    message = theirs.take()
    assert message is not None
    ours.close()
    assert theirs.take() is None
    theirs.close()
    return unpack(message, shared)


def test_all_of_a_place_arrives(listeners: list[Listener], tmp_path: Path) -> None:
    shared = Shared(Board(3), Loads())
    inboxes = [Inbox() for _ in range(3)]
    siblings = Siblings(
        shared.loads,
        Table([listeners[0].socket], shared.loads),
        inboxes[1].reading,
        [inbox.writing for inbox in inboxes],
    )
    place = Place(1, 7, listeners, shared.board.claim(1, 7), Sink.append_to(str(tmp_path / "log")), siblings)
    there = sent(place, shared)
    assert (there.shard, there.generation) == (1, 7)
    assert [one.sharded for one in there.listeners] == [True, False]
    names = [[one.socket.getsockname() for one in end.listeners] for end in (place, there)]
    assert names[0] == names[1]
    there.board[Word.REQUESTS] = 3
    assert place.board[Word.REQUESTS] == 3
    assert there.access is not None
    there.access.write(b"a line\n")
    assert (tmp_path / "log").read_bytes() == b"a line\n"
    assert there.siblings is not None
    assert there.siblings.table is not None
    there.siblings.writing[1].send(b"to the shard itself")
    assert there.siblings.reading.recv(100) == b"to the shard itself"
    there.siblings.writing[2].send(b"to another")
    assert inboxes[2].reading.recv(100) == b"to another"
    for socket_ in (*(one.socket for one in there.listeners), there.siblings.reading, *there.siblings.writing):
        socket_.close()
    for inbox in inboxes:
        inbox.close()
    for sink in (there.access, place.access):
        assert sink is not None
        sink.close()


def test_a_place_without_siblings_and_log(listeners: list[Listener]) -> None:
    shared = Shared(Board(1), Loads())
    there = sent(Place(0, 1, listeners[:1], shared.board.claim(0, 1)), shared)
    assert there.siblings is None
    assert there.access is None
    there.listeners[0].socket.close()


def test_more_descriptors_than_a_message_takes_are_refused(listeners: list[Listener]) -> None:
    shared = Shared(Board(1), Loads())
    with pytest.raises(OSError, match="250 sockets, not 251"):
        pack(Place(0, 1, listeners[:1] * (DESCRIPTORS_MAX + 1), shared.board.claim(0, 1)), shared)

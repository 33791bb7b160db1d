"""What was steered to a shard and never comes is forgotten; what may still come is not."""

from __future__ import annotations

import socket
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from shardserve.net.listener import queue_length
from shardserve.net.loads import Load, Loads
from shardserve.net.strays import Strays, under_way

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOKS = 10  # a second of them


class Shard:
    """One shard's line, whose kernel and worker the test plays, and a listener of it."""

    def __init__(self, stack: ExitStack) -> None:
        self.line = Loads().line(0)
        self.strays = Strays(self.line)
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._stack = stack

    def look(self, times: int = LOOKS) -> None:
        for _ in range(times):
            self.strays.look([self.listener])

    def queue(self, times: int) -> None:
        """Connections that wait to be accepted, steered here."""
        for _ in range(times):
            self._stack.enter_context(socket.create_connection(self.listener.getsockname(), 5))
            self.line[Load.STEERED] += 1

    @property
    def under_way(self) -> int:
        return under_way(self.line)


@pytest.fixture
def shard() -> Iterator[Shard]:
    with ExitStack() as stack:
        yield Shard(stack)


def test_what_never_comes_is_forgotten_within_a_second_and_not_before_half_of_one(shard: Shard) -> None:
    shard.look()
    shard.line[Load.STEERED] += 500
    shard.look(5)
    assert shard.under_way == 500
    shard.look(2)
    assert shard.under_way == 0
    shard.line[Load.STEERED] += 3
    assert shard.under_way == 3, "what comes after it counts"


@pytest.mark.parametrize("looks", [1, 3, 5])
def test_handshakes_that_end_are_never_forgotten(shard: Shard, looks: int) -> None:
    """Load that never rests; each handshake is accepted so many looks after it was steered here."""
    under_way: deque[int] = deque(maxlen=looks)
    for number in range(50):
        if len(under_way) == looks:
            shard.line[Load.TAKEN] += under_way[0]
        shard.line[Load.STEERED] += number % 7
        under_way.append(number % 7)
        shard.look(1)
        assert (shard.under_way, shard.line[Load.FORGOTTEN]) == (sum(under_way), 0)


def test_under_load_what_never_comes_is_forgotten_but_for_what_came_in_half_a_second(shard: Shard) -> None:
    shard.line[Load.STEERED] += 400
    for _ in range(20):
        shard.line[Load.STEERED] += 10
        shard.look(1)
        shard.line[Load.TAKEN] += 10
    assert 0 <= shard.under_way <= 60
    shard.look(7)  # steering keeps away from it
    assert shard.under_way == 0


def test_what_waits_for_a_worker_that_stands_still_is_not_forgotten(shard: Shard) -> None:
    shard.queue(5)
    shard.line[Load.STEERED] += 7  # and some that will not come
    shard.look()
    assert queue_length(shard.listener) == shard.under_way == 5


def test_what_was_accepted_and_never_counted_is_no_credit_for_long(shard: Shard) -> None:
    shard.line[Load.TAKEN] += 9
    shard.look(1)
    assert shard.under_way == 0
    shard.line[Load.STEERED] += 1
    assert shard.under_way == 1

"""When a worker is hung: what stands still on the board, in time that the supervisor itself has seen pass."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from shardserve.config.settings import Config
from shardserve.net.blackbox import BlackBox
from shardserve.net.board import Board, Word, box
from shardserve.supervisor.child import Child
from shardserve.supervisor.hang import Hangs
from shardserve.worker.channel import Channel
from shardserve.worker.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def child() -> Iterator[Child]:
    """A worker that is this very process."""
    ours, theirs = Channel.pair()
    child = Child(os.getpid(), ours, Place(0, 1, (), Board(1).claim(0, 1)), Config().boot_timeout)
    yield child
    child.close()
    theirs.close()


def look(hangs: Hangs, child: Child, seconds: float) -> str:
    hangs.pass_time(seconds)
    return hangs.why(child, 2)


def tick(child: Child) -> None:
    child.place.board[Word.HEARTBEAT] += 1


def test_a_loop_that_stands_still_is_hung_and_one_that_ticks_is_not(child: Child) -> None:
    hangs = Hangs()
    for _ in range(5):
        tick(child)
        assert look(hangs, child, 1) == ""
    assert look(hangs, child, 3) == ""  # it may have run for a second after its last heartbeat
    assert look(hangs, child, 0.1) == "hung: its loop has not run for 2 s"


def test_calls_that_come_and_go_are_no_hang_and_the_same_ones_for_too_long_are(child: Child) -> None:
    hangs = Hangs()
    black_box = BlackBox(box(child.place.board))
    black_box.limit(2)
    slots = [black_box.began(number, "GET", b"/") for number in range(2)]
    for _ in range(5):
        tick(child)
        assert look(hangs, child, 1.5) == ""
        black_box.ended(1, slots[1])
        slots[1] = black_box.began(1, "GET", b"/next")  # one thread goes on, the other is stuck all the time
    tick(child)
    assert look(hangs, child, 1.5) == ""
    tick(child)
    assert look(hangs, child, 2.1) == "hung: no thread has been free for 2 s"
    black_box.ended(0, slots[0])
    assert look(hangs, child, 1) == ""


def test_calls_that_get_on_with_their_clients_are_no_hang(child: Child) -> None:
    hangs = Hangs()
    black_box = BlackBox(box(child.place.board))
    black_box.limit(2)
    for number in range(2):
        black_box.began(number, "PUT", b"/")
    for _ in range(5):
        tick(child)
        assert look(hangs, child, 1.5) == ""
        black_box.moved()
    tick(child)
    assert look(hangs, child, 1.5) == ""
    tick(child)
    assert look(hangs, child, 2.1) == "hung: no thread has been free for 2 s"


def test_time_that_the_supervisor_has_not_seen_does_not_count(child: Child) -> None:
    hangs = Hangs()
    child.place.board[Word.HEARTBEAT] = 1  # long ago, on the board's own clock
    assert look(hangs, child, 0) == ""
    assert look(hangs, child, 0.3) == ""
    assert look(hangs, child, 2.6) == ""
    assert look(hangs, child, 0.2) != ""


def test_another_worker_of_the_shard_is_judged_by_itself(child: Child) -> None:
    hangs = Hangs()
    assert look(hangs, child, 0) == ""
    assert look(hangs, child, 2.9) == ""
    child.pid += 1
    assert look(hangs, child, 2.9) == ""

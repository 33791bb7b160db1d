"""The board: counters of each worker in shared memory that outlives it."""

from __future__ import annotations

import os
import signal

import pytest

from shardserve.net import blackbox
from shardserve.net.board import WORDS, Board, Word, WorkerState, box


def test_a_claimed_line_is_wiped_and_booting() -> None:
    board = Board(2)
    line = board.claim(1, 7)
    assert len(Word) == WORDS
    assert len(line) == WORDS + blackbox.WORDS
    assert (line[Word.GENERATION], line[Word.STATE]) == (7, WorkerState.BOOTING)
    for word in range(len(line)):
        line[word] = 2**64 - 1
    board.release(line)
    again = board.claim(1, 8)
    assert list(again[:WORDS]) == [8 if word == Word.GENERATION else int(word == Word.STATE) for word in Word]
    assert not any(box(again))


def test_each_shard_has_lines_of_its_own_for_the_workers_that_may_be_alive_at_once() -> None:
    board = Board(3)
    lines = [(shard, board.claim(shard, 1)) for shard in range(3) for _ in range(Board.LINES_PER_SHARD)]
    for number, (_, line) in enumerate(lines):
        line[Word.PID] = number + 1
    assert [line[Word.PID] for _, line in lines] == list(range(1, len(lines) + 1))
    for shard in range(3):
        with pytest.raises(RuntimeError, match=f"shard {shard}"):
            board.claim(shard, 2)
    board.release(lines[5][1])
    assert board.claim(1, 2)[Word.GENERATION] == 2


def test_what_a_worker_wrote_is_there_after_its_sudden_death() -> None:
    line = Board(1).claim(0, 1)
    pid = os.fork()
    if not pid:
        line[Word.REQUESTS] = 42
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert line[Word.REQUESTS] == 42


def test_a_released_line_stays_readable() -> None:
    board = Board(1)
    line = board.claim(0, 1)
    line[Word.REQUESTS] = 5
    board.release(line)
    assert (line[Word.STATE], line[Word.REQUESTS]) == (WorkerState.GONE, 5)


def test_a_board_without_shards_has_room_for_the_calling_process() -> None:
    assert Board(0).claim(0, 1)[Word.STATE] == WorkerState.BOOTING


def test_a_line_can_be_named_to_a_process_that_shares_the_memory() -> None:
    board = Board(2)
    lines = [board.claim(shard, 1) for shard in (1, 0, 1)]
    numbers = [board.number(line) for line in lines]
    assert len(set(numbers)) == 3
    for number, line in zip(numbers, lines, strict=True):
        board.line(number)[Word.REQUESTS] = number + 1
        assert line[Word.REQUESTS] == number + 1

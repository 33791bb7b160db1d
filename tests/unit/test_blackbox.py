"""The black box: what a worker executes can be read by another process, whatever becomes of the worker."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time

import pytest

from shardserve.net.blackbox import SHOWN, SLOTS, BlackBox, describe, full_since
from shardserve.net.board import Board, box


@pytest.fixture
def words() -> memoryview:
    return box(Board(1).claim(0, 1))


def described(words: memoryview) -> str:
    """The description without the times."""
    return re.sub(r" \(\d+\.\d s\)", "", describe(words))


def test_what_is_in_execution_is_described_the_longest_first(words: memoryview) -> None:
    black_box = BlackBox(words)
    assert describe(words) == ""
    first = black_box.began("one", "GET", b"/a")
    time.sleep(0.2)
    second = black_box.began("two", "POST", b"/b/c")
    found = re.fullmatch(r"GET /a \((\d+\.\d) s\), POST /b/c \((\d+\.\d) s\)", describe(words))
    assert found is not None, describe(words)
    assert 0.2 <= float(found[1]) < 10
    assert float(found[2]) < float(found[1])
    black_box.ended("one", first)
    assert described(words) == "POST /b/c"
    black_box.ended("two", second)
    assert describe(words) == ""


def test_a_slot_that_is_used_again_shows_nothing_of_before(words: memoryview) -> None:
    black_box = BlackBox(words)
    for path in (b"/long/" + b"x" * 90, b"/short"):
        slot = black_box.began(path, "PROPPATCH", path)
        assert described(words) == f"PROPPATCH {path.decode()}"
        black_box.ended(path, slot)


def test_a_path_is_cut_where_it_does_not_fit_and_says_so(words: memoryview) -> None:
    black_box = BlackBox(words)
    black_box.began("cut", "MKACTIVITY", b"/" + b"x" * 500)
    assert described(words) == f"MKACTIVITY /{'x' * 103}..."


def test_nothing_of_a_client_can_forge_a_line(words: memoryview) -> None:
    black_box = BlackBox(words)
    black_box.began("evil", "GET", b"/\r\n[ERROR] \x1b[2J\xff")
    assert described(words) == r"GET /\r\n[ERROR] \x1b[2J\xff"


def test_of_many_the_oldest_and_the_newest_are_shown_and_the_others_are_counted(words: memoryview) -> None:
    black_box = BlackBox(words)
    paths = [b"/%02d" % number for number in range(SLOTS + 4)]
    slots = {path: black_box.began(path, "GET", path) for path in paths}

    def expected(*numbers: int) -> str:
        return ", ".join(f"GET /{number:02d}" for number in numbers) + f" and {len(slots) - len(numbers)} more"

    oldest = range(SHOWN // 2)
    newest = range(SLOTS - SHOWN // 2, SLOTS - 1)  # of those that have a slot of their own
    assert described(words) == expected(*oldest, *newest, SLOTS + 3)
    black_box.ended(paths[-1], slots.pop(paths[-1]))
    assert described(words) == expected(*oldest, newest[0] - 1, *newest)
    black_box.ended(paths[0], slots.pop(paths[0]))
    slots[b"/98"] = black_box.began(b"/98", "GET", b"/98")  # gets the slot that is free again
    assert described(words) == expected(*oldest[1:], SHOWN // 2, *newest, 98)
    slots[b"/99"] = black_box.began(b"/99", "GET", b"/99")
    assert described(words) == expected(*oldest[1:], SHOWN // 2, *newest[1:], 98, 99)
    for path, slot in slots.items():
        black_box.ended(path, slot)
    assert describe(words) == ""


def test_threads_lose_no_slot(words: memoryview) -> None:
    black_box = BlackBox(words)
    began = threading.Barrier(SLOTS + 4)
    often = sys.getswitchinterval()

    def work(number: int) -> None:
        began.wait()
        for _ in range(2000):
            black_box.ended(number, black_box.began(number, "GET", b"/%d" % number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(SLOTS + 4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(often)
    assert describe(words) == ""
    for number in range(SLOTS):
        black_box.began(number, "GET", b"/%02d" % number)
    assert described(words).endswith(f", GET /{SLOTS - 1} and {SLOTS - SHOWN} more")


def test_it_is_there_after_sudden_death(words: memoryview) -> None:
    pid = os.fork()
    if not pid:
        BlackBox(words).began("it", "DELETE", b"/everything")
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert described(words) == "DELETE /everything"


@pytest.mark.parametrize("threads", [1, 3, SLOTS, SLOTS + 4])
def test_threads_are_full_since_the_newest_call_began(words: memoryview, threads: int) -> None:
    black_box = BlackBox(words)
    black_box.limit(threads)
    slots = [black_box.began(number, "GET", b"/") for number in range(threads - 1)]
    assert full_since(words) == 0
    before = time.monotonic_ns()
    slots.append(black_box.began(threads - 1, "GET", b"/"))
    since = full_since(words)
    assert before <= since <= time.monotonic_ns()
    black_box.ended(0, slots[0])
    assert full_since(words) == 0
    black_box.began(0, "GET", b"/")
    assert full_since(words) > since


def test_without_threads_there_is_no_fullness(words: memoryview) -> None:
    black_box = BlackBox(words)
    for number in range(SLOTS * 2):
        black_box.began(number, "GET", b"/")
    assert full_since(words) == 0

"""A request body on its way to a WSGI application: in memory while small, then in a file that has no name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from shardserve.gateway.spool import MEMORY_MAX, Room, Spool

if TYPE_CHECKING:
    from pathlib import Path


def spool(*pieces: bytes) -> Spool:
    made = Spool(Room())
    for piece in pieces:
        made.write(piece)
    return made


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which temporary files would appear."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("pieces", [[], [b"a"], [b"ab\n", b"c", b"d\ne"], [b"x" * MEMORY_MAX]])
def test_a_small_body_stays_in_memory(pieces: list[bytes], empty_directory: Path) -> None:
    before = open_files()
    body = spool(*pieces)
    assert body.size == len(b"".join(pieces))
    file = body.file()
    assert open_files() == before
    assert file.read() == b"".join(pieces)
    assert file.read() == b""
    body.close()


def test_a_body_of_more_than_the_limit_goes_to_a_file_without_a_name_and_comes_back_whole(
    empty_directory: Path,
) -> None:
    before = open_files()
    body = spool(b"a" * (MEMORY_MAX - 1), b"bc", b"d\n", b"e")
    assert open_files() == before + 1
    assert list(empty_directory.iterdir()) == []
    assert body.size == MEMORY_MAX + 4
    file = body.file()
    assert file.readline() == b"a" * (MEMORY_MAX - 1) + b"bcd\n"
    assert file.read(10) == b"e"
    body.close()
    assert open_files() == before


def test_one_piece_of_more_than_the_limit_goes_to_a_file(empty_directory: Path) -> None:
    body = spool(b"a" * (MEMORY_MAX + 1), b"b")
    assert body.file().read() == b"a" * (MEMORY_MAX + 1) + b"b"
    body.close()


@pytest.mark.parametrize("sizes", [[65537], [1, 65536], [40_000] * 10, [65536] * 16, [1] * 10 + [MEMORY_MAX - 10]])
def test_a_body_whose_length_is_known_comes_back_whole(sizes: list[int], empty_directory: Path) -> None:
    pieces = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    room = Room()
    before = room.left
    body = Spool(room, sum(sizes))
    for number, piece in enumerate(pieces):
        body.write(piece)
        assert room.left == before - sum(sizes[: number + 1])  # and not what is only announced
    file = body.file()
    assert file.read(10) == b"".join(pieces)[:10]
    file.seek(0)
    assert file.read() == b"".join(pieces)
    body.close()
    assert room.left == before


@pytest.mark.parametrize("fits", [1, 3, 7])
def test_one_that_finds_no_more_room_on_its_way_goes_to_a_file(fits: int, empty_directory: Path) -> None:
    pieces = [bytes([65 + number]) * 20_000 for number in range(8)]
    room, before = Room(fits * 20_000), open_files()
    body = Spool(room, 160_000)
    for piece in pieces:
        body.write(piece)
    assert open_files() == before + 1
    assert room.left == fits * 20_000
    assert body.file().read() == b"".join(pieces)
    body.close()


def test_closing_gives_the_memory_back_and_may_be_repeated() -> None:
    for size in (10, MEMORY_MAX + 1):
        body = spool(b"a" * size)
        body.close()
        body.close()


def test_bodies_together_stay_within_their_room(empty_directory: Path) -> None:
    room, before = Room(1000), open_files()
    bodies = [Spool(room) for _ in range(3)]
    for body in bodies:
        body.write(b"a" * 300)
        body.write(b"b" * 100)
    assert open_files() == before + 1
    assert room.left == 200
    assert [body.file().read() for body in bodies] == [b"a" * 300 + b"b" * 100] * 3
    bodies[0].close()
    bodies[0].close()
    assert room.left == 600
    again = Spool(room)
    again.write(b"c" * 600)
    assert room.left == 0
    for body in (*bodies, again):
        body.close()
    assert room.left == 1000
    assert open_files() == before

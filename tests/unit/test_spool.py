"""A request body on its way to a WSGI application: in memory while small, then in a file that has no name."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

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


class TestManyPieces:
    """A large body is a file in every way, though its pieces are joined only where that is needed."""

    PIECES = tuple(bytes([97 + number]) * (9_000 + number) + b"\n" for number in range(10))
    WHOLE = b"".join(PIECES)

    def file(self) -> Any:
        return spool(*self.PIECES).file()

    @pytest.mark.parametrize("size", [1, 10, 8_999, 9_001, 9_002, 65_536, len(WHOLE), len(WHOLE) + 1])
    def test_it_is_read_part_by_part(self, size: int) -> None:
        file, wanted = self.file(), io.BytesIO(self.WHOLE)
        for _ in range(min(50_000, len(self.WHOLE) // size + 3)):
            assert file.read(size) == wanted.read(size)

    @pytest.mark.parametrize("after", [(), (5,), (9_001,), (20_000, 0, 3), (200_000,)])
    @pytest.mark.parametrize(
        "act",
        [
            lambda file: file.read(),
            lambda file: file.read(None),
            lambda file: file.read(-1),
            lambda file: (file.readline(), file.readline(7), file.read(3), file.tell()),
            lambda file: file.readlines(),
            lambda file: list(file),
            lambda file: next(file, None),
            lambda file: (file.seek(0), file.read(12), file.tell(), file.seek(0, 2), file.read(5)),
            lambda file: (file.readinto(room := bytearray(10_000)), bytes(room)),
            lambda file: io.BufferedReader(file).readline(),
            lambda file: io.TextIOWrapper(file).read(100),
            lambda file: (file.readable(), file.seekable(), file.writable(), file.closed, file.isatty()),
            lambda file: (file.getvalue(), file.read(2)),
        ],
    )
    def test_whatever_is_done_with_it_is_what_a_file_does(self, after: tuple[int, ...], act: Any) -> None:
        file, wanted = self.file(), io.BytesIO(self.WHOLE)
        assert [file.read(size) for size in after] == [wanted.read(size) for size in after]
        assert act(file) == act(wanted)
        assert file.read(10) == wanted.read(10) if not wanted.closed else file.closed

    def test_it_is_closed_like_one(self) -> None:
        with self.file() as file:
            assert file.read(1) == b"a"
        file = self.file()
        file.close()
        with pytest.raises(ValueError, match="closed"):
            file.read(1)

    def test_who_keeps_it_can_read_it_when_the_memory_has_been_given_back(self) -> None:
        room = Room()
        before = room.left
        body = Spool(room)
        for piece in self.PIECES:
            body.write(piece)
        file = body.file()
        body.close()
        assert room.left == before
        assert file.read(20_000) + file.read() == self.WHOLE


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

"""A request body read whole before the application is called: in memory while small, else in an unlinked file."""

from __future__ import annotations

import io
import tempfile
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY_MAX = 1024 * 1024  # octets of one body
_ROOM = 64 * 1024 * 1024  # octets of all bodies of a worker
_JOIN_MAX = 65536  # octets of a body whose pieces are joined at once
_BytesIO = io.BytesIO


class Room:
    """What is left of the memory for bodies, in octets: many that come slowly must not add up to all there is."""

    __slots__ = ("left",)

    def __init__(self, octets: int = _ROOM) -> None:
        self.left = octets


class Body:
    """What a call of a WSGI application gets of a request body. `size` is its length in octets; -1: it is not known."""

    __slots__ = ("size",)

    size: int

    def file(self) -> IO[bytes]:
        """What the application reads; called once."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what it takes."""
        raise NotImplementedError


class Spool(Body):
    """Collects a body. `size` is its length so far."""

    __slots__ = ("_file", "_held", "_pieces", "_room")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held = 0  # octets in memory
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append octets. Raises OSError for a file that cannot be written."""
        size = len(data)
        self.size += size
        if self._file is not None:
            self._file.write(data)
            return
        if self.size <= MEMORY_MAX and size <= self._room.left:
            self._pieces.append(data)
            self._held += size
            self._room.left -= size
            return
        self._file = tempfile.TemporaryFile(prefix="shardserve-")  # noqa: SIM115 closed by close()
        self._file.writelines((*self._pieces, data))
        self._forget()

    def file(self) -> IO[bytes]:
        """See Body.file: the whole body, from its beginning."""
        if self._file is not None:
            self._file.seek(0)
            return self._file
        if self.size <= _JOIN_MAX:
            return _BytesIO(b"".join(self._pieces))
        return cast("IO[bytes]", PiecedFile(self._pieces))

    def close(self) -> None:
        """See Body.close: memory and disk."""
        self._forget()
        if self._file is not None:
            self._file.close()

    def _forget(self) -> None:
        self._pieces = []  # an application may have kept the file, and they are its
        self._room.left += self._held
        self._held = 0


class PiecedFile:
    """A BytesIO of the pieces joined, but that they are joined only when it is asked for more than `read`.

    To join them costs a fifth of what it takes to receive and read 1 MiB.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        """Of all octets together, from the first; there are some."""
        self._pieces = pieces
        self._index = 0  # of the piece that comes next
        self._offset = 0  # in it
        self._joined: io.BytesIO | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """So many octets, fewer at the end; without a size, or with a negative one, all that are left."""
        if self._joined is not None or size is None or size < 0:
            return self._join().read(size)
        found: list[bytes | memoryview] = []
        pieces = self._pieces
        while size > 0 and self._index < len(pieces):
            piece = memoryview(pieces[self._index])[self._offset : self._offset + size]
            found.append(piece)
            size -= len(piece)
            self._offset += len(piece)
            if self._offset == len(pieces[self._index]):
                self._index += 1
                self._offset = 0
        return b"".join(found)

    def _join(self) -> io.BytesIO:
        joined = self._joined
        if joined is None:
            self._joined = joined = io.BytesIO(b"".join(self._pieces))
            joined.seek(sum(map(len, self._pieces[: self._index])) + self._offset)
            self._pieces = []
        return joined

    def __getattr__(self, name: str) -> Any:
        return getattr(self._join(), name)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._join())

    def __next__(self) -> bytes:
        return next(self._join())

    def __enter__(self) -> io.BytesIO:
        return self._join().__enter__()

    def __exit__(self, *error: object) -> None:
        self._join().close()

"""A request body read whole before the application is called: in memory while small, else in an unlinked file."""

from __future__ import annotations

import io
import tempfile
from typing import IO

from shardserve.native import blank, fill

COMPILED = not __file__.endswith((".py", ".pyc"))
MEMORY_MAX = 1024 * 1024  # octets of one body
_ROOM = 64 * 1024 * 1024  # octets of all bodies of a worker
_WHOLE_MIN = 65536  # octets of a body that is not put together only when all of it is here
_WHOLE_PART = 8  # of which as many-th a part has to be here first: what is only announced takes no memory


class Room:
    """What is left of the memory for bodies, in octets: many that come slowly must not add up to all there is."""

    __slots__ = ("left",)

    def __init__(self, octets: int = _ROOM) -> None:
        self.left = octets


class Spool:
    """Collects a body. `size` is its length in octets so far."""

    __slots__ = ("_file", "_held", "_length", "_pieces", "_room", "_whole", "size")

    def __init__(self, room: Room, length: int = 0) -> None:
        """`length` is how many octets will come, where that is known: no more than that may come."""
        self._room = room
        self._length = length if COMPILED and _WHOLE_MIN < length <= MEMORY_MAX else 0
        self._held = 0  # octets in memory
        self._pieces: list[bytes] = []
        self._whole: bytes | None = None  # in the place of pieces: all of the body, as far as it has come
        self._file: IO[bytes] | None = None
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append octets. Raises OSError for a file that cannot be written."""
        size = len(data)
        self.size += size
        if self._file is not None:
            self._file.write(data)
            return
        room = self._room
        if self.size <= MEMORY_MAX and size <= room.left:
            if self._whole is not None:
                fill(self._whole, self._held, data)
            else:
                self._pieces.append(data)
            self._held += size
            room.left -= size
            if self._length and self._held * _WHOLE_PART >= self._length:
                self._put_together()
            return
        self._file = tempfile.TemporaryFile(prefix="shardserve-")  # noqa: SIM115 closed by close()
        if self._whole is not None:
            self._pieces = [self._whole[: self._held]]
        self._file.writelines((*self._pieces, data))
        self._forget()

    def _put_together(self) -> None:
        """From now on what comes is copied to its place while it is in the processor's cache."""
        whole = blank(self._length)
        self._length = at = 0
        for piece in self._pieces:
            fill(whole, at, piece)
            at += len(piece)
        self._pieces.clear()
        self._whole = whole

    def file(self) -> IO[bytes]:
        """The whole body as a file at its beginning; called once."""
        if self._file is None:
            return io.BytesIO(b"".join(self._pieces) if self._whole is None else self._whole)
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Give memory and disk back."""
        self._forget()
        if self._file is not None:
            self._file.close()

    def _forget(self) -> None:
        self._pieces.clear()
        self._whole = None
        self._room.left += self._held
        self._held = 0

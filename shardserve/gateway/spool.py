"""A request body read whole before the application is called: in memory while small, else in an unlinked file."""

from __future__ import annotations

import io
import tempfile
from typing import IO

MEMORY_MAX = 1024 * 1024  # octets of one body
_ROOM = 64 * 1024 * 1024  # octets of all bodies of a worker


class Room:
    """What is left of the memory for bodies, in octets: many that come slowly must not add up to all there is."""

    __slots__ = ("left",)

    def __init__(self, octets: int = _ROOM) -> None:
        self.left = octets


class Spool:
    """Collects a body. `size` is its length in octets so far."""

    __slots__ = ("_file", "_held", "_pieces", "_room", "size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held = 0  # octets in memory
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append octets."""
        self.size += len(data)
        if self._file is not None:
            self._file.write(data)
            return
        if self.size <= MEMORY_MAX and len(data) <= self._room.left:
            self._pieces.append(data)
            self._held += len(data)
            self._room.left -= len(data)
            return
        self._file = tempfile.TemporaryFile(prefix="shardserve-")  # noqa: SIM115 closed by close()
        self._file.writelines((*self._pieces, data))
        self._forget()

    def file(self) -> IO[bytes]:
        """The whole body as a file at its beginning; called once."""
        if self._file is None:
            return io.BytesIO(b"".join(self._pieces))
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Give memory and disk back."""
        self._forget()
        if self._file is not None:
            self._file.close()

    def _forget(self) -> None:
        self._pieces.clear()
        self._room.left += self._held
        self._held = 0

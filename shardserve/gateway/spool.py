"""A request body read whole before the application is called: in memory while small, else in an unlinked file."""

from __future__ import annotations

import io
import tempfile
from typing import IO

MEMORY_MAX = 1024 * 1024  # octets


class Spool:
    """Collects a body. `size` is its length in octets so far."""

    __slots__ = ("_file", "_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append octets."""
        self.size += len(data)
        if self._file is not None:
            self._file.write(data)
            return
        self._pieces.append(data)
        if self.size > MEMORY_MAX:
            self._file = tempfile.TemporaryFile(prefix="shardserve-")  # noqa: SIM115 closed by close()
            self._file.writelines(self._pieces)
            self._pieces.clear()

    def file(self) -> IO[bytes]:
        """The whole body as a file at its beginning; called once."""
        if self._file is None:
            return io.BytesIO(b"".join(self._pieces))
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Give memory and disk back."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()

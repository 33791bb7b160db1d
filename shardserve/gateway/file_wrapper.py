"""`wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling")."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Self

from shardserve.http.files import FilePart

if TYPE_CHECKING:
    from collections.abc import Callable

# Whose read() gives what is in the file, so that it need not be called. gzip's has a descriptor as well, of the packed
# file; subclasses may read what they like.
_PLAIN = (io.FileIO, io.BufferedReader, io.BufferedRandom)


class FileWrapper:
    """An iterable over a file in blocks of `block_size` octets.

    Returned by the application as it is, of a real file, it is not iterated over: the file is sent by the kernel.
    """

    close: Callable[[], object]  # of the file, where that has one

    def __init__(self, filelike: Any, block_size: int = 8192) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.filelike.read(self.block_size)
        if not block:
            raise StopIteration
        return block

    def part(self) -> FilePart | None:
        """The file from its position on, if it is a regular one that can be sent as it lies on the disk."""
        file = self.filelike
        if type(file) not in _PLAIN or type(getattr(file, "raw", file)) is not io.FileIO:
            return None
        try:
            file.flush()
            part = FilePart(file.fileno(), file.tell())
        except (OSError, ValueError):  # it is closed, or no file for reading: reading it will say so
            return None
        if part.regular and file.readable():
            return part
        part.close()
        return None

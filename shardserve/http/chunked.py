"""Decoding of a chunked request body (RFC 9112 section 7.1), strictly and within bounds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.grammar import TOKEN

if TYPE_CHECKING:
    from shardserve.http.request import Limits

# A size of at most 16 hex digits, then extensions of visible text (read over: none is defined). Section 7.1.1.
_QUOTED = rb"\"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*\""
_EXTENSION = rb"[ \t]*;[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"|" + _QUOTED + rb"))?"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + _EXTENSION + rb")*)")
_HEX = b"0123456789ABCDEFabcdef"
_TRAILER_LINE = re.compile(TOKEN + rb":[\t -~\x80-\xff]*")
_LINE_MAX = 1024  # a chunk size with its extensions
_EXTENSIONS_MAX = 16384  # octets of extensions in one body: they carry nothing, so a lot of them is an attack

_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


class ChunkedBody:
    """One chunked body. Feed it what arrives; `done` says that its end, trailers included, has been read.

    `rest` then holds the octets behind it. Trailer fields are checked and dropped, never merged into the headers.
    """

    __slots__ = (
        "_buffer",
        "_extensions",
        "_left",
        "_limits",
        "_size",
        "_state",
        "_trailer_fields",
        "_trailer_size",
        "done",
        "rest",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._state = _SIZE
        self._buffer = b""
        self._left = 0
        self._size = 0  # of the body, as far as its chunks have announced it
        self._extensions = 0
        self._trailer_size = 0
        self._trailer_fields = 0
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Decode the next octets and return the body octets among them. Raises ProtocolError."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        position = 0
        while True:
            if self._state == _DATA:
                taken = min(self._left, len(data) - position)
                pieces.append(data[position : position + taken])
                position += taken
                self._left -= taken
                if self._left:
                    break
                if data.startswith(b"\r\n", position):
                    position += 2
                    self._state = _SIZE
                else:
                    self._state = _DATA_END
            line_end = data.find(b"\r\n", position)
            if line_end < 0:
                self._keep(data[position:])
                break
            line = data[position:line_end]
            position = line_end + 2
            self._take_line(line)
            if self._state == _DONE:
                self.done = True
                self.rest = data[position:]
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _keep(self, partial: bytes) -> None:
        """Hold an incomplete line, unless it is already wrong or too long."""
        # Of two faults the one that was met first counts, so that the answer does not depend on how the octets come.
        met = partial[: self._trailer_room() + 1] if self._state == _TRAILER else partial
        if b"\n" in met or 0 <= met.find(b"\r") < len(partial) - 1:
            raise ProtocolError(400, "line in a chunked body that does not end in CRLF")
        if self._state == _DATA_END and partial not in (b"", b"\r"):
            raise ProtocolError(400, "chunk longer than its size")
        if self._state == _SIZE and len(partial) - partial.endswith(b"\r") > _LINE_MAX:
            raise ProtocolError(400, "chunk size line too long")
        if self._state == _TRAILER and len(partial) - partial.endswith(b"\r") > self._trailer_room():
            raise ProtocolError(431, "trailer section too large")
        self._buffer = partial

    def _take_line(self, line: bytes) -> None:
        if self._state == _SIZE:
            if 0 < len(line) <= 16 and not line.translate(None, _HEX):  # no extension, as nearly always
                self._set_size(line)
                return
            found = _SIZE_LINE.fullmatch(line) if len(line) <= _LINE_MAX else None
            if found is None:
                raise ProtocolError(400, "malformed chunk size")
            self._extensions += len(found[2])
            if self._extensions > _EXTENSIONS_MAX:
                raise ProtocolError(400, "too many chunk extensions")
            self._set_size(found[1])
        elif self._state == _DATA_END:
            if line:
                raise ProtocolError(400, "chunk longer than its size")
            self._state = _SIZE
        elif line:
            self._check_trailer(line)
        else:
            self._state = _DONE

    def _set_size(self, digits: bytes) -> None:
        self._left = int(digits, 16)
        self._size += self._left
        if self._size > self._limits.body > 0:
            raise ProtocolError(413, "request body too large")
        self._state = _DATA if self._left else _TRAILER

    def _trailer_room(self) -> int:
        """How long the next line of trailers may be."""
        return min(self._limits.field_size, self._limits.section - self._trailer_size)

    def _check_trailer(self, line: bytes) -> None:
        met = line[: self._trailer_room() + 1]
        if b"\n" in met or b"\r" in met:  # before the line has become too long, as _keep would have seen
            raise ProtocolError(400, "line in a chunked body that does not end in CRLF")
        self._trailer_size += len(line) + 2
        self._trailer_fields += 1
        too_many = self._trailer_fields > self._limits.fields or len(line) > self._limits.field_size
        if too_many or self._trailer_size > self._limits.section:
            raise ProtocolError(431, "trailer section too large")
        if _TRAILER_LINE.fullmatch(line) is None:
            raise ProtocolError(400, "malformed trailer field")

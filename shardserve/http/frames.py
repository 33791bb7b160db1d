"""WebSocket frames (RFC 6455 section 5): octets in, messages and control frames out, and the other way round.

Sections are of RFC 6455. A payload is taken as it comes: text that is not UTF-8 is found in the middle of a frame, and
what comes in small pieces is not copied again and again.
"""

from __future__ import annotations

import codecs
import io
import struct
from typing import TYPE_CHECKING

from websockets.exceptions import ProtocolError as WrongClose
from websockets.frames import Close

from shardserve.errors import FrameError

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - where websockets was built without its C part
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from shardserve.http.deflate import Deflate

CONTINUATION, TEXT, BINARY = 0, 1, 2
CLOSE, PING, PONG = 8, 9, 10

# Close codes (section 7.4.1 and the IANA registry).
NORMAL, WRONG, NO_STATUS, ABNORMAL, NOT_UTF8, TOO_BIG, FAILED, RESTART = 1000, 1002, 1005, 1006, 1007, 1009, 1011, 1012

# What the reader finds: a message (TEXT: str, BINARY: bytes) or a control frame (bytes).
Event = tuple[int, str | bytes]

_FIN, _COMPRESSED, _RESERVED = 0x80, 0x40, 0x70
_WHOLE_TEXT, _WHOLE_BINARY = _FIN | TEXT, _FIN | BINARY
_MASKED = 0x80
_CONTROL_MAX = 125  # octets of a control frame (section 5.5)
_16, _64 = 126, 127  # lengths that say that the length follows, in so many bits
_NEW_DECODER = codecs.getincrementaldecoder("utf-8")


class FrameReader:
    """Reads one client's frames. `feed` it octets, then call `read` until it returns None."""

    __slots__ = (
        "_at",
        "_buffer",
        "_compressed",
        "_decoder",
        "_deflate",
        "_fin",
        "_kind",
        "_left",
        "_limit",
        "_mask",
        "_opcode",
        "_packed",
        "_size",
        "_whole",
    )

    def __init__(self, limit: int, deflate: Deflate | None) -> None:
        """`limit` is the size of the largest message in octets, inflated; 0 sets none."""
        self._limit = limit
        self._deflate = deflate
        self._buffer = b""
        self._at = 0  # how much of the buffer has been read
        # Of the message that is being read, if any (_opcode is not 0):
        self._opcode = 0
        self._size = 0
        self._whole: bytearray | io.StringIO = bytearray()  # what has been read of it
        self._decoder = _NEW_DECODER()
        self._compressed = False
        # Of the data frame that is being read, if any (_left is not -1):
        self._left = -1  # octets of the payload to come
        self._fin = False
        self._kind = 0  # its own opcode
        self._mask = b""
        self._packed = bytearray()  # a compressed payload, which is inflated when it is complete

    def feed(self, data: bytes) -> None:
        """Take octets."""
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
        self._at = 0

    def has_more(self) -> bool:
        """Whether octets have been fed that are not read yet."""
        return self._at < len(self._buffer)

    def read(self) -> Event | None:
        """The next message or control frame; None if more octets are needed. Raises FrameError."""
        while True:
            if self._left < 0:
                head = self._read_head()
                if head is None or type(head) is tuple:
                    return head
            message = self._read_payload()
            if message is not None:
                return message
            if self._left >= 0:  # else it was a frame before the last of its message
                return None

    def _read_head(self) -> Event | bool | None:
        """Read the head of a frame, and the frame if it is a message or control frame and here as a whole.

        True: a data frame has begun. None: more octets are needed.
        """
        buffer, at = self._buffer, self._at
        there = len(buffer)
        if there - at < 2:
            if there > at:
                self._check_first(buffer[at])
            return None
        first, length = buffer[at], buffer[at + 1] - _MASKED
        if first not in (_WHOLE_TEXT, _WHOLE_BINARY) or self._opcode:
            self._check_first(first)
        if length < 0:
            raise FrameError(WRONG, "a client's frame that is not masked")  # section 5.1
        start = at + 6
        if length >= _16:
            start += 2 if length == _16 else 8
            if there < start - 4:
                return None
            length = self._long_length(length, buffer[at + 2 : start - 4])
        self._check_length(first, length)
        if there < start:
            return None
        end = start + length
        mask = buffer[start - 4 : start]
        whole = end <= there
        if first & CLOSE:
            if not whole:
                return None
            self._at = end
            return first & 0x0F, apply_mask(buffer[start:end], mask)
        if whole and first in (_WHOLE_TEXT, _WHOLE_BINARY):
            self._at = end
            payload = apply_mask(buffer[start:end], mask)
            return (TEXT, _decode(payload)) if first == _WHOLE_TEXT else (BINARY, payload)
        self._at = start
        self._begin(first, length, mask)
        return True

    def _check_first(self, first: int) -> None:
        """Section 5.2: is this a head that may come here?"""
        opcode = first & 0x0F
        reserved = first & _RESERVED
        if reserved and (reserved != _COMPRESSED or self._deflate is None or opcode not in (TEXT, BINARY)):
            raise FrameError(WRONG, "a reserved bit is set")
        if opcode & CLOSE:
            if opcode > PONG:
                raise FrameError(WRONG, "an unknown opcode")
            if not first & _FIN:
                raise FrameError(WRONG, "a control frame in fragments")
        elif opcode > BINARY:
            raise FrameError(WRONG, "an unknown opcode")
        elif (opcode == CONTINUATION) != bool(self._opcode):
            wrong = "a new message before the end of the last" if opcode else "a continuation of nothing"
            raise FrameError(WRONG, wrong)

    def _check_length(self, first: int, length: int) -> None:
        if first & CLOSE:
            if length > _CONTROL_MAX:
                raise FrameError(WRONG, "a control frame that is too long")
        elif 0 < self._limit < self._size + length:
            raise FrameError(TOO_BIG, f"a message of more than {self._limit} octets")

    @staticmethod
    def _long_length(length: int, octets: bytes) -> int:
        found = int.from_bytes(octets)
        if found < _16 or (length == _64 and not 0xFFFF < found < 1 << 63):
            raise FrameError(WRONG, "a length that is not written as it must be")
        return found

    def _begin(self, first: int, length: int, mask: bytes) -> None:
        """A data frame begins whose payload is not here, or not the whole of its message."""
        self._left = length
        self._mask = mask
        self._fin = bool(first & _FIN)
        self._kind = first & 0x0F
        if self._kind != CONTINUATION:
            self._opcode = self._kind
            self._compressed = bool(first & _COMPRESSED)
            if self._opcode == TEXT:
                self._whole = io.StringIO()
                self._decoder = _NEW_DECODER()
            else:
                self._whole = bytearray()

    def _read_payload(self) -> Event | None:
        """Take what is here of a data frame's payload; returns the message if it is complete."""
        left, at = self._left, self._at
        data = self._buffer[at : at + left]
        if len(data) < left:
            self._buffer, self._at = b"", 0
            self._left = left - len(data)
        else:
            self._at = at + left
            self._left = -1
        mask = self._mask
        if data:
            turn = len(data) & 3
            self._mask = mask[turn:] + mask[:turn]
            data = apply_mask(data, mask)
        done = self._left < 0
        if self._compressed:
            assert self._deflate is not None
            self._packed += data
            if not done:
                return None
            packed, self._packed = bytes(self._packed), bytearray()
            room = self._limit - self._size if self._limit else None
            data = self._deflate.inflate(self._kind, packed, self._fin, room)
        self._add(data, done and self._fin)
        if not done or not self._fin:
            return None
        opcode, self._opcode = self._opcode, 0
        self._size = 0
        whole, self._whole = self._whole, bytearray()
        return opcode, whole.getvalue() if isinstance(whole, io.StringIO) else bytes(whole)

    def _add(self, data: bytes, final: bool) -> None:
        """Add octets to the message. Its text is decoded at once, so that what is no UTF-8 is found at once."""
        self._size += len(data)
        if 0 < self._limit < self._size:
            raise FrameError(TOO_BIG, f"a message of more than {self._limit} octets")
        if isinstance(self._whole, io.StringIO):
            try:
                self._whole.write(self._decoder.decode(data, final))
            except UnicodeDecodeError:
                raise FrameError(NOT_UTF8, "text that is not UTF-8") from None
        else:
            self._whole += data


def _decode(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise FrameError(NOT_UTF8, "text that is not UTF-8") from None


def frame_head(opcode: int, length: int, compressed: bool = False) -> bytes:
    """The head of a whole message's frame as a server sends it: not masked."""
    first = _FIN | opcode | (_COMPRESSED if compressed else 0)
    if length < _16:
        return bytes((first, length))
    if length <= 0xFFFF:
        return struct.pack("!BBH", first, _16, length)
    return struct.pack("!BBQ", first, _64, length)


def read_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame (section 5.5.1); 1005 if it has none. Raises FrameError."""
    try:
        close = Close.parse(payload)
    except WrongClose as error:
        raise FrameError(WRONG, str(error)) from None
    except UnicodeDecodeError:
        raise FrameError(NOT_UTF8, "a close reason that is not UTF-8") from None
    return int(close.code), close.reason


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; for 1005 one without a code. A reason that is too long is cut at a character.

    Raises ValueError for a code that must not be sent (section 7.4.1).
    """
    if code == NO_STATUS:
        return frame_head(CLOSE, 0)
    try:
        Close(code, "").check()
    except WrongClose:
        raise ValueError(f"{code} is not a close code that may be sent") from None
    payload = struct.pack("!H", code) + reason.encode()[: _CONTROL_MAX - 2].decode(errors="ignore").encode()
    return frame_head(CLOSE, len(payload)) + payload

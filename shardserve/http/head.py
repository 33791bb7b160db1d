"""The head of a response: validated against splitting and encoded, once for every protocol of the HTTP/1 family.

Field lines that the wire itself decides (Content-Length, Transfer-Encoding, Connection) are taken out of what the
application gave and returned beside the rest.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus if status >= 200
}

# Name as the application writes it -> b"name: ", or b"" for the fields that the wire decides. A name is checked when it
# is first seen; the table stops growing at a size that an application making up names cannot turn into memory.
_PREFIXES: dict[bytes, bytes] = {}
_PREFIXES_MAX = 1024
_DECIDED_BY_WIRE = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive"))
_CRLF = b"\r\n"


def date_line(seconds: float) -> bytes:
    """The Date field (RFC 9110 section 6.6.1) for a time in seconds since the epoch."""
    return b"date: " + formatdate(seconds, usegmt=True).encode() + _CRLF


def status_line(status: int) -> bytes:
    """The status line of a final response; a status unknown to the registry gets an empty phrase."""
    found = STATUS_LINES.get(status)
    if found is None:
        if not 200 <= status <= 999:
            raise ValueError(f"{status} is not a final HTTP status")
        found = b"HTTP/1.1 %d \r\n" % status
    return found


class ResponseHead:
    """Field lines of one head, with what the application said about the fields that the wire decides.

    `parts` joins to the field lines; `lines` is how many CRLF they must hold; `length` is the declared Content-Length
    in octets or None; `close` says that the application asked for the connection to close; `dated` that it gave a Date.
    """

    __slots__ = ("close", "dated", "length", "lines", "parts")

    def __init__(self, first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the fields apart. Raises ValueError or TypeError for a head that must not be sent."""
        self.length: int | None = None
        self.close = False
        self.dated = False
        self.parts = parts = [first_line]
        lines = 1
        for name, value in headers:
            prefix = _PREFIXES.get(name)
            if prefix is None:
                prefix = _learn(name)
            if prefix:
                parts += (prefix, value, _CRLF)
                lines += 1
                if prefix == b"date: ":
                    self.dated = True
            else:
                self._decide(name.lower(), value)
        self.lines = lines

    def _decide(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            if not value.isdigit():
                raise ValueError(f"content-length {value!r} is not a number")
            if self.length is not None and self.length != int(value):
                raise ValueError("two content-length fields that differ")
            self.length = int(value)
        elif name == b"connection" and b"close" in value.lower():
            self.close = True

    def add(self, line: bytes) -> None:
        """Append a whole field line of the server's own, CRLF included."""
        self.parts.append(line)
        self.lines += 1

    def encode(self) -> bytes:
        """The head with its empty line. Raises ValueError if a value would split it, TypeError if one is not bytes."""
        try:
            head = b"".join(self.parts)
        except TypeError:
            wrong = next(part for part in self.parts if not isinstance(part, bytes | bytearray))
            raise TypeError(f"response header values must be bytes, not {type(wrong).__name__}: {wrong!r}") from None
        # Three scans of the joined head instead of three per value (RFC 9110 section 5.5: no CR, LF, NUL in a value).
        if head.count(b"\n") != self.lines or head.count(b"\r") != self.lines or b"\0" in head:
            raise ValueError("a response header value holds CR, LF or NUL")
        return head + _CRLF


def _learn(name: bytes) -> bytes:
    """Check a field name seen for the first time; return its line's beginning."""
    if not isinstance(name, bytes):
        raise TypeError(f"response header names must be bytes, not {type(name).__name__}: {name!r}")
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"response header name {name!r} is not a token")
    lower = name.lower()
    prefix = b"" if lower in _DECIDED_BY_WIRE else b"date: " if lower == b"date" else name + b": "
    if len(_PREFIXES) < _PREFIXES_MAX:
        _PREFIXES[name] = prefix
    return prefix

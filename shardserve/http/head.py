"""The head of a response: validated against splitting and encoded, once for every protocol of the HTTP/1 family.

Fields that the wire itself decides (Content-Length, Transfer-Encoding, Connection) are taken out of what the
application gave and returned beside the rest.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from shardserve.http.grammar import TOKEN_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable

# Without its CRLF: each field line that follows begins with the one that ends the line before it.
STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus if status >= 200
}

# Name as the application writes it -> b"\r\nname: ", or b"" for a field that needs a look. A name is checked when it is
# first seen; the table stops growing at a size that an application making up names cannot turn into memory.
_PREFIXES: dict[bytes, bytes] = {}
_PREFIXES_MAX = 1024
_LENGTHS: dict[int, bytes] = {}  # that have been asked for -> their field; making one costs 0.2 us
_LENGTHS_MAX = 1024
_CR, _LF, _NUL = b"\r\n\0"
_SPECIAL = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"date"))


def date_line(seconds: float) -> bytes:
    """The Date field (RFC 9110 section 6.6.1), CRLF first, for a time in seconds since the epoch."""
    return b"\r\ndate: " + formatdate(seconds, usegmt=True).encode()


def status_line(status: int) -> bytes:
    """The status line of a final response, without its end; a status the registry does not know has no phrase."""
    found = STATUS_LINES.get(status)
    if found is None:
        if not 200 <= status <= 999:
            raise ValueError(f"{status} is not a final HTTP status")
        found = b"HTTP/1.1 %d " % status
    return found


def with_length(headers: Iterable[tuple[bytes, bytes]], length: int | None) -> list[tuple[bytes, bytes]]:
    """Header fields with a Content-Length, if it is known and none is there."""
    fields = list(headers)
    if length is not None and not any(name.lower() == b"content-length" for name, _ in fields):
        fields.append((b"content-length", b"%d" % length))
    return fields


def encode_fields(first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, int | None, bool, bool]:
    """Check and encode a head up to its last field, without the CRLF behind it.

    Returns its octets, to be joined with what the wire adds, and what the application said about fields that the wire
    decides: the declared Content-Length or None, whether it asked for the connection to close, whether it gave a Date.
    Raises ValueError for a head that must not be sent, TypeError for parts that are not bytes.
    """
    parts = [first_line]
    length: int | None = None
    close = dated = False
    for name, given in headers:
        value = given if type(given) is bytes else _as_octets(given)
        # RFC 9110 section 5.5. (Octets as numbers: CPython's `bytes in bytes` raises and drops a TypeError first.)
        if _CR in value or _LF in value or _NUL in value:
            raise ValueError(f"the value of response header {name!r} holds CR, LF or NUL")
        prefix = _PREFIXES.get(name)
        if prefix is None:
            prefix = _learn(name)
        if prefix:
            parts.append(prefix)
            parts.append(value)
            continue
        special = name.lower()
        if special == b"content-length":
            if not value.isdigit():
                raise ValueError(f"content-length {value!r} is not a number")
            declared = int(value)
            if length is not None and length != declared:
                raise ValueError("two content-length fields that differ")
            length = declared
        elif special == b"date":
            parts.append(b"\r\ndate: ")
            parts.append(value)
            dated = True
        elif special == b"connection" and b"close" in value.lower():
            close = True
    return b"".join(parts), length, close, dated


def length_field(length: int) -> bytes:
    """The Content-Length field, CRLF first."""
    found = _LENGTHS.get(length)
    if found is None:
        found = b"\r\ncontent-length: %d" % length
        if len(_LENGTHS) < _LENGTHS_MAX:
            _LENGTHS[length] = found
    return found


def _as_octets(value: object) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise TypeError(f"response header values must be bytes, not {type(value).__name__}: {value!r}")


class CheckedHead:
    """A head that has been checked and encoded before it is asked for, for one `Wire.respond` (see encode_fields)."""

    __slots__ = ("close", "dated", "length", "octets")

    def __init__(self, first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises what encode_fields raises."""
        self.octets, self.length, self.close, self.dated = encode_fields(first_line, headers)


def _learn(name: bytes) -> bytes:
    """Check a field name seen for the first time; return its line's beginning."""
    if not isinstance(name, bytes):
        raise TypeError(f"response header names must be bytes, not {type(name).__name__}: {name!r}")
    if TOKEN_PATTERN.fullmatch(name) is None:
        raise ValueError(f"response header name {name!r} is not a token")
    prefix = b"" if name.lower() in _SPECIAL else b"\r\n" + name + b": "
    if len(_PREFIXES) < _PREFIXES_MAX:
        _PREFIXES[name] = prefix
    return prefix

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

# Name as the application writes it -> b"\r\nname: ", the beginning of its line. A name is checked when it is
# first seen; the table stops growing at a size that an application making up names cannot turn into memory.
_PREFIXES: dict[bytes, bytes] = {}
_TEXT_PREFIXES: dict[str, bytes] = {}  # the same, of WSGI applications
_PREFIXES_MAX = 1024
_LENGTHS: dict[int, bytes] = {}  # that have been asked for -> their field; making one costs 0.2 us
_LENGTHS_MAX = 1024
COMPILED = not __file__.endswith((".py", ".pyc"))
_CR, _LF, _NUL = b"\r\n\0"
# In place of a beginning, for fields that need a look.
_LENGTH, _DATE, _CONNECTION, _DROPPED = b"l", b"d", b"c", b"-"
_SPECIAL = {
    b"content-length": _LENGTH,
    b"date": _DATE,
    b"connection": _CONNECTION,
    b"transfer-encoding": _DROPPED,
    b"keep-alive": _DROPPED,
}
_OF_CONNECTION = b"\r\nConnection, Keep-Alive or Transfer-Encoding: "
UNDECLARED = -1  # a length that is not known
_UNDECLARED = UNDECLARED  # of its own in C, compiled
_DIGITS_MAX = 18
_ZERO = ord("0")


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


class CheckedHead:
    """A head that may be sent: parts that make it up to its last field, without the CRLF behind it.

    And what the application said about fields that the wire decides: the declared Content-Length or UNDECLARED, whether
    it asked for the connection to close, whether it gave a Date.
    """

    __slots__ = ("close", "dated", "length", "parts")

    parts: list[bytes]
    length: int
    close: bool
    dated: bool

    def note(self, parts: list[bytes], kind: bytes, value: bytes) -> None:
        """Take a field that needs a look: `kind` is one of those in _SPECIAL. Raises ValueError."""
        if kind == _LENGTH:
            declared = _number(value)
            if declared < 0:
                raise ValueError(f"content-length {value!r} is not a number")
            if self.length not in (_UNDECLARED, declared):
                raise ValueError("two content-length fields that differ")
            self.length = declared
        elif kind == _DATE:
            parts.append(b"\r\ndate: ")
            parts.append(value)
            self.dated = True
        else:
            self.seal([b"", _OF_CONNECTION, value])  # it is not sent; one that would split is refused all the same
            if kind == _CONNECTION and b"close" in value.lower():
                self.close = True

    def seal(self, parts: list[bytes]) -> None:
        """Take the head's parts: its first line, then names and values by turns. Raises ValueError if it would split.

        RFC 9110 section 5.5: no value has a CR, LF or NUL. (Octets as numbers: CPython's `bytes in bytes` raises and
        drops a TypeError first.)
        """
        for index in range(2, len(parts), 2):
            value = parts[index]
            if _CR in value or _LF in value or _NUL in value:
                raise ValueError(f"the value of response header {parts[index - 1][2:-2]!r} holds CR, LF or NUL")
        self.parts = parts

    def octets(self) -> bytes:
        """The parts as one."""
        return b"".join(self.parts)

    def declare(self, length: int | None) -> None:
        """Declare a length, if it is known and the application has declared none."""
        if self.length == _UNDECLARED and length is not None:
            self.length = length


def encode_fields(first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> CheckedHead:
    """Check and encode a head, given as octets.

    Raises ValueError for a head that must not be sent, TypeError for parts that are not bytes.
    """
    head = _new_head()
    parts = [first_line]
    for name, given in headers:
        value = given if type(given) is bytes else _as_octets(given)
        prefix = _PREFIXES.get(name)
        if prefix is None:
            prefix = _learn(name)
        if len(prefix) > 1:
            parts.append(prefix)
            parts.append(value)
        else:
            head.note(parts, prefix, value)
    head.seal(parts)
    return head


def encode_text(first_line: bytes, headers: Iterable[tuple[str, str]]) -> CheckedHead:
    """Check and encode a head, given as WSGI applications do (PEP 3333). Raises ValueError or TypeError."""
    head = _new_head()
    parts = [first_line]
    for field in headers:
        try:
            name, given = field
            prefix = _TEXT_PREFIXES.get(name)
            unknown = name.encode("latin-1") if prefix is None else b""
            if type(given) is str:
                text = given
                value = text.encode("latin-1")
            else:
                value = given.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(f"header {field!r} has characters beyond latin-1 (PEP 3333)") from None
        except (AttributeError, TypeError, ValueError):
            raise TypeError(f"header {field!r} is not a tuple of two str (PEP 3333)") from None
        if prefix is None:
            prefix = _learn_text(name, unknown)
        if len(prefix) > 1:
            parts.append(prefix)
            parts.append(value)
        else:
            head.note(parts, prefix, value)
    head.seal(parts)
    return head


def _new_head() -> CheckedHead:
    head = CheckedHead.__new__(CheckedHead)  # as cheap as it gets, compiled
    head.length = _UNDECLARED
    head.close = head.dated = False
    return head


def _number(digits: bytes) -> int:
    """A Content-Length; UNDECLARED if it is none, or has more digits than any length has."""
    octets, size, number = digits, len(digits), 0
    if not 0 < size <= _DIGITS_MAX:
        return _UNDECLARED
    if not COMPILED:  # else the loop is cheaper
        return int(digits) if digits.isdigit() else _UNDECLARED
    for index in range(size):
        digit = octets[index] - _ZERO
        if not 0 <= digit <= 9:
            return _UNDECLARED
        number = number * 10 + digit
    return number


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


def _learn(name: bytes) -> bytes:
    """Check a field name seen for the first time; return its line's beginning."""
    if not isinstance(name, bytes):
        raise TypeError(f"response header names must be bytes, not {type(name).__name__}: {name!r}")
    if TOKEN_PATTERN.fullmatch(name) is None:
        raise ValueError(f"response header name {name!r} is not a token")
    prefix = _SPECIAL.get(name.lower()) or b"\r\n" + name + b": "
    if len(_PREFIXES) < _PREFIXES_MAX:
        _PREFIXES[name] = prefix
    return prefix


def _learn_text(name: str, octets: bytes) -> bytes:
    prefix = _learn(octets)
    if len(_TEXT_PREFIXES) < _PREFIXES_MAX:
        _TEXT_PREFIXES[name] = prefix
    return prefix

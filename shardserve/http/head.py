"""The head of a response: validated against splitting and encoded, once for every protocol of the HTTP/1 family.

Fields that the wire itself decides (Content-Length, Transfer-Encoding, Connection) are taken out of what the
application gave and returned beside the rest.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shardserve.http.grammar import TOKEN_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    # Of native.pxd: C functions, which there are in the compiled form only.
    put_octets: Callable[[bytearray, int, int, bytes], int]
    put_text: Callable[[bytearray, int, int, str], int]

# Without its CRLF: each field line that follows begins with the one that ends the line before it.
STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus if status >= 200
}

# Name as the application writes it -> b"\r\nname: ", the beginning of its line. A name is checked when it is
# first seen; the table stops growing at a size that an application making up names cannot turn into memory.
_PREFIXES: dict[bytes, bytes] = {}
_TEXT_PREFIXES: dict[str, bytes] = {}  # the same, of WSGI applications
_PREFIXES_MAX = 1024
# The fields of lengths: short ones, and others that have been asked for; making one costs 0.2 us.
_SHORT_MAX = 1024
_SHORT = [b"\r\ncontent-length: %d" % length for length in range(_SHORT_MAX)]
_LENGTHS: dict[int, bytes] = {}
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
# Where a head is put together, compiled: by one thread at a time, since nothing that is done meanwhile gives up the GIL.
_ROOM_SIZE = 4096
_ROOM = bytearray(_ROOM_SIZE)
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
    """A head that may be sent: its octets up to the last field, without the CRLF behind it.

    And what the application said about fields that the wire decides: the declared Content-Length or UNDECLARED, whether
    it asked for the connection to close, whether it gave a Date.
    """

    __slots__ = ("close", "dated", "length", "octets")

    octets: bytes
    length: int
    close: bool
    dated: bool

    def note(self, parts: list[bytes], kind: bytes, value: bytes) -> None:
        """Take a field that needs a look: `kind` is one of those in _SPECIAL. Raises ValueError."""
        if kind == _LENGTH:
            declared = _number(value, 0, len(value))
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
            _check_values([b"", _OF_CONNECTION, value])  # it is not sent; one that would split is refused all the same
            if kind == _CONNECTION and b"close" in value.lower():
                self.close = True

    def seal(self, parts: list[bytes]) -> None:
        """Take the head's parts: its first line, then names and values by turns. Raises ValueError if it would split."""
        _check_values(parts)
        self.octets = b"".join(parts)

    def declare(self, length: int | None) -> None:
        """Declare a length, if it is known and the application has declared none."""
        if self.length == _UNDECLARED and length is not None:
            self.length = length


def _check_values(parts: list[bytes]) -> None:
    """Raise ValueError if one of the values in a head's parts would split it.

    RFC 9110 section 5.5: no value has a CR, LF or NUL. (Octets as numbers: CPython's `bytes in bytes` raises and drops
    a TypeError first.)
    """
    for index in range(2, len(parts), 2):
        value = parts[index]
        if _CR in value or _LF in value or _NUL in value:
            raise ValueError(f"the value of response header {parts[index - 1][2:-2]!r} holds CR, LF or NUL")


def encode_fields(first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> CheckedHead:
    """Check and encode a head, given as octets.

    Raises ValueError for a head that must not be sent, TypeError for parts that are not bytes.
    """
    head = _new_head()
    if COMPILED and type(headers) is list and _encode_usual(head, first_line, headers, _PREFIXES, bytes):
        return head
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
    if COMPILED and type(headers) is list and _encode_usual(head, first_line, headers, _TEXT_PREFIXES, str):
        return head
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


def _encode_usual(
    head: CheckedHead, first_line: bytes, headers: list[Any], prefixes: dict[Any, bytes], kind: type
) -> bool:
    """Encode a head as most are in one pass over its octets; false, with no harm done, for another one.

    Compiled only, where it takes a third of the instructions. Most have names that have been seen and mean nothing to
    the wire, or are Content-Length. Whatever must not be sent is another one: this function refuses nothing.
    """
    room, size = _ROOM, _ROOM_SIZE
    length = _UNDECLARED
    at = put_octets(room, size, 0, first_line)
    for field in headers:
        if at < 0 or type(field) is not tuple or len(field) != 2:
            return False
        name, value = field
        if type(name) is not kind or type(value) is not kind:
            return False
        prefix = prefixes.get(name)
        if prefix is None:
            return False
        begin = put_octets(room, size, at, prefix)
        if begin < 0:
            return False
        end = put_text(room, size, begin, value) if kind is str else put_octets(room, size, begin, value)
        if len(prefix) > 1:
            for index in range(begin, end):
                if room[index] <= _CR and (room[index] == _CR or room[index] == _LF or room[index] == _NUL):
                    return False
            at = end
        elif prefix == _LENGTH and length == _UNDECLARED:
            length = _number(room, begin, end)
            if length < 0:
                return False
        else:
            return False
    if at < 0:
        return False
    head.octets = room[:at]  # type: ignore[assignment]  # which makes bytes, compiled
    head.length = length
    return True


def _new_head() -> CheckedHead:
    head = CheckedHead.__new__(CheckedHead)  # as cheap as it gets, compiled
    head.length = _UNDECLARED
    head.close = head.dated = False
    return head


def _number(octets: Any, at: int, end: int) -> int:
    """A Content-Length that stands there; UNDECLARED if it is none, or has more digits than any length has."""
    number = 0
    if not 0 < end - at <= _DIGITS_MAX:
        return _UNDECLARED
    if not COMPILED:  # else the loop is cheaper
        return int(octets) if octets.isdigit() else _UNDECLARED
    for index in range(at, end):
        digit = octets[index] - _ZERO
        if not 0 <= digit <= 9:
            return _UNDECLARED
        number = number * 10 + digit
    return number


def length_field(length: int) -> bytes:
    """The Content-Length field, CRLF first."""
    if length < _SHORT_MAX:
        return _SHORT[length]
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

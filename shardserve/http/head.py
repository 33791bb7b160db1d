"""The head of a response: validated against splitting and encoded, once for every protocol of the HTTP/1 family.

Fields that the wire itself decides (Content-Length, Transfer-Encoding, Connection) are taken out of what the
application gave and returned beside the rest.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shardserve.http.grammar import TOKEN_PATTERN
from shardserve.native import is_unshared

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
# Fields of usual names, as applications have given them -> their lines, which may be sent: most give the
# same ones with every response. None whose value is a secret, or is another one each time.
_LINES: dict[object, bytes] = {}
_TEXT_LINES: dict[object, bytes] = {}  # of WSGI applications: apart, since -bb forbids to compare text with octets
# Heads of nothing but such fields and Content-Length, of the uncompiled form: nobody changes them. A full table begins
# anew, too.
_HEADS: dict[object, CheckedHead] = {}
_HEADS_MAX = 256
_HEAD_MAX = 1024  # octets of one that may get in
_LINES_MAX = 1024  # a full table begins anew, so that a flood of odd values does not keep the usual ones out
_LINE_MAX = 256  # octets of a line that may get in
_USUAL = frozenset(
    b"accept-ranges access-control-allow-credentials access-control-allow-headers access-control-allow-methods "
    b"access-control-allow-origin access-control-expose-headers access-control-max-age allow alt-svc cache-control "
    b"content-encoding content-language content-security-policy content-type cross-origin-embedder-policy "
    b"cross-origin-opener-policy cross-origin-resource-policy expires permissions-policy pragma referrer-policy server "
    b"strict-transport-security vary via x-content-type-options x-frame-options x-powered-by x-xss-protection".split()
)
_USUAL_PREFIXES: set[bytes] = set()  # of those, as they have been seen
# The fields of lengths: short ones, and others that have been asked for; making one costs 0.2 us.
SHORT_MAX = 1024
SHORT_LENGTHS = [b"\r\ncontent-length: %d" % length for length in range(SHORT_MAX)]
_SHORT, _SHORT_MAX = SHORT_LENGTHS, SHORT_MAX  # of its own in C, compiled
_LENGTHS: dict[int, bytes] = {}
_LENGTHS_MAX = 1024
_NUMBERS: dict[bytes, int] = {}  # values of Content-Length that have been read, of the uncompiled form
_NUMBERS_MAX = 256
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
UNDECLARED = -1  # a length that is not known
_UNDECLARED = UNDECLARED  # of its own in C, compiled
_DIGITS_MAX = 18
# Where a head is put together, compiled: by one thread at a time, since nothing done meanwhile gives up the GIL.
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

    def take(self, field: object, name: object, prefix: bytes, value: bytes) -> bytes:
        """The line of a field that is not in the table, or nothing for one that the wire decides. Raises ValueError.

        RFC 9110 section 5.5: no value has a CR, LF or NUL. (Octets as numbers: CPython's `bytes in bytes` raises and
        drops a TypeError first.)
        """
        if prefix == _LENGTH:
            declared = _number(value, 0, len(value)) if COMPILED else _NUMBERS.get(value) or _learn_number(value)
            if declared < 0:
                raise ValueError(f"content-length {value!r} is not a number")
            if self.length not in (_UNDECLARED, declared):
                raise ValueError("two content-length fields that differ")
            self.length = declared
            return b""
        if _CR in value or _LF in value or _NUL in value:
            raise ValueError(f"the value of response header {name!r} holds CR, LF or NUL")
        if len(prefix) > 1:
            line = prefix + value
            if prefix in _USUAL_PREFIXES and len(line) <= _LINE_MAX:
                _learn_line(field, line)
            return line
        if prefix == _DATE:
            self.dated = True
            return b"\r\ndate: " + value
        if prefix == _CONNECTION and b"close" in value.lower():
            self.close = True
        return b""

    def declare(self, length: int | None) -> None:
        """Declare a length, if it is known and the application has declared none."""
        if self.length == _UNDECLARED and length is not None:
            self.length = length


def encode_fields(first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> CheckedHead:
    """Check and encode a head, given as octets.

    Raises ValueError for a head that must not be sent, TypeError for parts that are not bytes.
    """
    fields: Iterable[tuple[bytes, bytes]] = headers
    key: object = None
    if not COMPILED:  # else it is encoded as fast as it is found
        fields = tuple(headers)
        key = (first_line, fields)
        try:
            known = _HEADS.get(key)
        except TypeError:  # a field cannot be hashed, as a list
            key = known = None
        if known is not None:
            return known
    head = _new_head() if COMPILED else CheckedHead()
    head.length = _UNDECLARED
    head.close = head.dated = False
    if COMPILED and type(headers) is list and _encode_usual(head, first_line, headers, _PREFIXES, bytes):
        return head
    lines = [first_line]
    for field in fields:
        try:
            line = _LINES.get(field)
        except TypeError:
            line = None
        if line is None:
            name, given = field
            value = given if type(given) is bytes else _as_octets(given)
            prefix = _PREFIXES.get(name) or _learn(name)
            line = head.take(field, name, prefix, value)
            if prefix != _LENGTH:
                key = None
        lines.append(line)
    head.octets = b"".join(lines)
    if key is not None:
        _learn_head(key, head)
    return head


def encode_text(first_line: bytes, headers: Iterable[tuple[str, str]]) -> CheckedHead:
    """Check and encode a head, given as WSGI applications do (PEP 3333). Raises ValueError or TypeError."""
    head = _new_head() if COMPILED else CheckedHead()
    head.length = _UNDECLARED
    head.close = head.dated = False
    if COMPILED and type(headers) is list and _encode_usual(head, first_line, headers, _TEXT_PREFIXES, str):
        return head
    lines = [first_line]
    for field in headers:
        try:
            line = _TEXT_LINES.get(field)
        except TypeError:
            line = None
        lines.append(_encode_text_field(head, field) if line is None else line)
    head.octets = b"".join(lines)
    return head


def _encode_text_field(head: CheckedHead, field: tuple[str, str]) -> bytes:
    """See CheckedHead.take."""
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
    return head.take(field, name, _learn_text(name, unknown) if prefix is None else prefix, value)


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


_last: CheckedHead | None = None


def _new_head() -> CheckedHead:
    """One to be filled; the one before it where nobody has that any more. Compiled only."""
    global _last
    head, _last = _last, None
    if head is None or not is_unshared(head):
        head = CheckedHead.__new__(CheckedHead)
    _last = head
    return head


def _number(octets: Any, at: int, end: int) -> int:
    """A Content-Length that stands there; UNDECLARED if it is none or has too many digits for one. Compiled only."""
    number = 0
    if not 0 < end - at <= _DIGITS_MAX:
        return _UNDECLARED
    for index in range(at, end):
        digit = octets[index] - _ZERO
        if not 0 <= digit <= 9:
            return _UNDECLARED
        number = number * 10 + digit
    return number


def _learn_number(digits: bytes) -> int:
    """See _number; uncompiled, of a value that is not in the table."""
    if not digits.isdigit() or len(digits) > _DIGITS_MAX:
        return _UNDECLARED
    number = int(digits)
    if len(_NUMBERS) < _NUMBERS_MAX:
        _NUMBERS[digits] = number
    return number


def _learn_head(key: object, head: CheckedHead) -> None:
    if len(head.octets) <= _HEAD_MAX:
        if len(_HEADS) >= _HEADS_MAX:
            _HEADS.clear()
        _HEADS[key] = head


def _learn_line(field: object, line: bytes) -> None:
    """Put a field of a usual name in its table, if it is one that cannot change."""
    kinds = {type(part) for part in field} if type(field) is tuple else {list}
    if kinds == {bytes} or kinds == {str}:
        table = _LINES if kinds == {bytes} else _TEXT_LINES
        if len(table) >= _LINES_MAX:
            table.clear()
        table[field] = line


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
    lower = name.lower()
    prefix = _SPECIAL.get(lower) or b"\r\n" + name + b": "
    if len(_PREFIXES) < _PREFIXES_MAX:
        _PREFIXES[name] = prefix
        if lower in _USUAL:
            _USUAL_PREFIXES.add(prefix)
    return prefix


def _learn_text(name: str, octets: bytes) -> bytes:
    prefix = _learn(octets)
    if len(_TEXT_PREFIXES) < _PREFIXES_MAX:
        _TEXT_PREFIXES[name] = prefix
    return prefix

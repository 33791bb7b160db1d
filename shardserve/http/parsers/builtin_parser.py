"""The field section by shardserve itself, in Python that compiles: the default, since it hands over no field at a time.

Lines that browsers, balancers and probes send again and again are read once and then found in a bounded table. Only
fields of a few names get in: none that is a secret (Authorization, Cookie) or differs from request to request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.grammar import TOKEN_PATTERN
from shardserve.http.parsers.scanner import COMPILED, Scanner
from shardserve.http.request import SPECIAL

if TYPE_CHECKING:
    from shardserve.http.request import Field, Request

# RFC 9110 section 5.5: visible ASCII, white space, and octets that mean nothing here (obs-text).
_VALUE_OCTETS = bytes((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))

_USUAL = frozenset(
    b"accept accept-charset accept-encoding accept-language cache-control connection content-type dnt expect host "
    b"origin pragma priority sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode "
    b"sec-fetch-site sec-fetch-user sec-gpc te upgrade-insecure-requests user-agent x-forwarded-host x-forwarded-port "
    b"x-forwarded-proto x-requested-with x-scheme".split()
)
_LINES_MAX = 1024  # in each table; a full one begins anew, so that a flood of odd lines does not keep the usual out
_LINE_MAX = 256  # octets of a line that may get in
_NAMES_MAX = 1024


class BuiltinParser:
    """Splits lines at their colon. Its tables are filled with what has been found to be well-formed."""

    name = "builtin"

    def __init__(self, *, scanning: bool = COMPILED) -> None:
        """With `scanning` ordinary heads are read by scanner.py, which pays where that is compiled."""
        self.scanner: Scanner | None = Scanner() if scanning else None
        self._usual: dict[bytes, Field] = {}  # line -> field
        self._usual_special: dict[bytes, Field] = {}
        self._names: dict[bytes, bytes] = {}  # as sent -> in lower case

    def parse(self, lines: list[bytes], request: Request) -> None:
        """See Parser.parse."""
        usual = self._usual.get
        fields = request.headers
        for line in lines:
            fields.append(usual(line) or self._read(line, request))

    def _read(self, line: bytes, request: Request) -> Field:
        """The field of a line that is not in the first table."""
        field = self._usual_special.get(line)
        if field is not None:
            request.special.append(field)
            return field
        name, colon, value = line.partition(b":")
        lower = self._names.get(name) or self._learn_name(name)
        value = value.strip(b" \t")
        if not colon or value.translate(None, _VALUE_OCTETS):
            raise ProtocolError(400, "malformed header field")
        field = (lower, value)
        if lower in _USUAL and len(line) <= _LINE_MAX:
            table = self._usual_special if lower in SPECIAL else self._usual
            if len(table) >= _LINES_MAX:
                table.clear()
            table[line] = field
        request.note(field)
        return field

    def _learn_name(self, name: bytes) -> bytes:
        if TOKEN_PATTERN.fullmatch(name) is None:  # this refuses folded lines, too
            raise ProtocolError(400, "malformed header field")
        lower = name.lower()
        if len(self._names) < _NAMES_MAX:
            self._names[name] = lower
        return lower

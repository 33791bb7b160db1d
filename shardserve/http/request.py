"""What a request must be to be served: every rule on fields and framing, once above any parser.

A head comes in as octets and leaves as a Request or as a ProtocolError; its first line is read in request_line.py.
References are to RFC 9112 unless named.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Literal

from shardserve.errors import ProtocolError
from shardserve.http.grammar import CRLF, split_list
from shardserve.http.request_line import read_line
from shardserve.native import is_unshared

if TYPE_CHECKING:
    from shardserve.http.parsers import Parser

COMPILED = not __file__.endswith((".py", ".pyc"))

# RFC 3986 section 3.2.2; nothing at all is a host too (RFC 9110 section 7.2), a port alone is none.
_HOST = re.compile(
    rb"(?:(?:\[([0-9A-Fa-f:.]+)\]|\[v[0-9A-Fa-f]+\.[!$&'()*+,;=:\-._~0-9A-Za-z]+\]"
    rb"|(?:[!$&'()*+,;=\-._~0-9A-Za-z]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?)?"
)
_USERINFO = re.compile(rb"(?:[!$&'()*+,;=:\-._~0-9A-Za-z]|%[0-9A-Fa-f]{2})*")
# "identity" changes nothing (RFC 2616 section 3.6.2), so that it leaves the one framing there is.
_CHUNKED = re.compile(rb"(?:identity[ \t]*,[ \t]*)?chunked", re.IGNORECASE)
KNOWN_HOSTS: set[bytes] = set()  # that have been found well-formed
_KNOWN_HOSTS_MAX = 256
_SINGULAR = (b"host", b"content-length", b"transfer-encoding")  # fields that must not be repeated
# That mean something to us.
SPECIAL = frozenset((*_SINGULAR, b"connection", b"expect", b"x-forwarded-for", b"x-forwarded-proto"))
_UNDERSCORE = ord("_")
# A browser's and a balancer's Connection values -> (close, keep-alive, upgrade), so that they are not split each time.
CONNECTIONS = {
    b"keep-alive": (False, True, False),
    b"Keep-Alive": (False, True, False),
    b"close": (True, False, False),
}


Field = tuple[bytes, bytes]  # name in lower case, value
HeaderMap = Literal["drop", "refuse", "dangerous"]


class Limits:
    """What a request may be: upper bounds in octets (and a count of fields), methods, names that could mislead."""

    __slots__ = (
        "any_method",
        "body",
        "field_size",
        "fields",
        "header_map",
        "least",
        "line",
        "section",
        "spool",
        "underscored",
    )

    def __init__(
        self,
        *,
        line: int = 8190,
        fields: int = 100,
        field_size: int = 8190,
        section: int = 65536,
        body: int = 0,
        spool: int = 0,
        any_method: bool = False,
        header_map: HeaderMap = "drop",
        underscored: frozenset[bytes] = frozenset(),
    ) -> None:
        self.line = line
        self.fields = fields
        self.field_size = field_size
        self.section = section
        self.body = body  # of a request body; 0 = no limit
        self.spool = spool  # of one that is kept on disk for the application; 0 = no limit
        self.any_method = any_method  # beyond METHODS: any token is handed to the application
        self.header_map: HeaderMap = header_map  # names with an underscore; "dangerous" keeps them
        self.underscored = underscored  # such names, in lower case, that are kept anyway; b"*" for all
        self.least = min(line, field_size, section)  # a head that is no larger needs no look at its parts


class Request:
    """One request head.

    `path` and `query` are the octets of the target before and after the first "?", not percent-decoded. `length` is the
    declared body length in octets, 0 without a body, None for a chunked one. `headers` are (lower-case name, value).
    """

    __slots__ = (
        "ambiguous",
        "expect_continue",
        "first",
        "forwarded",
        "headers",
        "keep_alive",
        "length",
        "method",
        "path",
        "query",
        "special",
        "upgrade",
        "version",
    )

    method: str
    path: bytes
    query: bytes
    version: str
    headers: list[Field]
    length: int | None
    keep_alive: bool
    expect_continue: bool
    forwarded: bool  # some X-Forwarded- field is there
    special: list[Field]  # those of `headers` whose names are SPECIAL
    ambiguous: bool  # some name has an underscore
    first: Request | None  # where its fields have come before: the first that they came with; `headers` is shared then
    upgrade: bool  # Connection names Upgrade (RFC 9110 section 7.8)

    def restart(self) -> None:
        """Forget the fields: a parser is about to hand them over, perhaps not for the first time."""
        self.headers = []
        self.special = []
        self.ambiguous = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take the next field from a parser: the name in any case, the value perhaps with white space behind it."""
        field = (name.lower(), value.rstrip(b" \t"))
        self.headers.append(field)
        self.note(field)

    def note(self, field: Field) -> None:
        """Keep in mind a field that may mean something to us; parsers call it for each that they cannot rule out."""
        name = field[0]
        if name in SPECIAL:
            self.special.append(field)
        elif _UNDERSCORE in name:
            self.ambiguous = True

    def takes_trailers(self) -> bool:
        """Whether the client asks for trailer fields (RFC 9110, 10.1.4)."""
        codings = b",".join(value for name, value in self.headers if name == b"te")
        return b"trailers" in split_list(codings.lower())

    def field(self, name: bytes) -> bytes | None:
        """The value of the first field of that (lower-case) name, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


def read_request(head: bytes, parser: Parser, limits: Limits) -> Request:
    """Turn a whole head, up to and with its empty line, into a Request. Raises ProtocolError."""
    scanner = parser.scanner
    if scanner is not None:
        request = new_request()
        if scanner.scan(head, request, limits):
            return request
    return read_unusual(head, parser, limits)


def new_request() -> Request:
    """One of which nothing holds but that `first` is None: a parser sets the rest. As cheap as it gets, compiled."""
    global _last
    if not COMPILED:
        request = Request.__new__(Request)
        request.first = None
        return request
    last, _last = _last, None
    if last is None or not is_unshared(last):
        last = Request.__new__(Request)
    last.first = None
    _last = last
    return last


_last: Request | None = None  # of new_request, compiled: it is taken again where nobody has it any more


def read_unusual(head: bytes, parser: Parser, limits: Limits) -> Request:
    """read_request by the rules, for a head that a scanner has left to them."""
    request = new_request()
    if len(head) > limits.least:
        _check_sizes(head, limits)
    lines = head.split(CRLF)
    authority = read_line(request, lines[0], limits)
    request.restart()
    parser.parse(lines[1:-2], request)  # behind the last field: the empty line, and nothing
    count = len(request.headers)
    if count > limits.fields:
        raise ProtocolError(431, "too many header fields")
    if count != len(lines) - 3:
        raise ProtocolError(400, "folded field")  # section 5.2
    if request.ambiguous:
        _judge_underscores(request, limits)
    _read_framing(request, authority)
    if request.length and request.length > limits.body > 0:
        raise ProtocolError(413, "request body too large")
    return request


def _judge_underscores(request: Request, limits: Limits) -> None:
    """ "X_A" and "X-A" are one name to WSGI (and CGI): a client could write over what a proxy has set."""
    if limits.header_map == "dangerous" or b"*" in limits.underscored:
        return
    kept = [field for field in request.headers if _UNDERSCORE not in field[0] or field[0] in limits.underscored]
    if limits.header_map == "refuse" and len(kept) < len(request.headers):
        raise ProtocolError(400, "field name with an underscore")
    request.headers = kept


def _check_sizes(head: bytes, limits: Limits) -> None:
    line_end = head.find(b"\r\n")
    if line_end > limits.line:
        raise ProtocolError(414, "request line too long")
    if len(head) - line_end > limits.section:
        raise ProtocolError(431, "header section too large")
    if max(map(len, head[line_end + 2 :].split(b"\r\n"))) > limits.field_size:
        raise ProtocolError(431, "header field too large")


def _read_framing(request: Request, authority: bytes | None) -> None:
    """Read the fields that decide where the message ends (section 6) and who it is for (section 3.2)."""
    special = request.special
    request.length = 0
    request.expect_continue = request.forwarded = request.upgrade = False
    if len(special) == 1 and special[0][1] in KNOWN_HOSTS and special[0][0] == b"host" and authority is None:
        request.keep_alive = request.version == "1.1"
        return  # as nearly always, but for Connection
    found = dict(special)
    if len(found) != len(special):
        _join_repeated(special, found)
    host = found.get(b"host")
    if host is None:
        if request.version == "1.1":
            raise ProtocolError(400, "no Host")
    elif host not in KNOWN_HOSTS:
        if not _is_host(host):
            raise ProtocolError(400, "malformed Host")
        if len(KNOWN_HOSTS) < _KNOWN_HOSTS_MAX:
            KNOWN_HOSTS.add(host)
    if authority is not None:
        _replace_host(request, authority)
    connection = found.get(b"connection")
    if connection is None:
        request.keep_alive = request.version == "1.1"
    else:
        closes, keeps, request.upgrade = CONNECTIONS.get(connection) or _read_connection(connection)
        request.keep_alive = not closes and (keeps or request.version == "1.1")
    if len(found) > (host is not None) + (connection is not None):
        _read_rare(request, found)


def _read_rare(request: Request, found: dict[bytes, bytes]) -> None:
    """Read the fields that many requests do not have."""
    request.forwarded = b"x-forwarded-for" in found or b"x-forwarded-proto" in found
    if b"content-length" in found or b"transfer-encoding" in found:
        request.length = _body_length(request, found.get(b"content-length"), found.get(b"transfer-encoding"))
    if b"expect" in found and request.version == "1.1":
        # RFC 9110 section 10.1.1: 417 for what else may be expected is only allowed; we read over it, as others do.
        request.expect_continue = request.length != 0 and b"100-continue" in split_list(found[b"expect"].lower())


def _join_repeated(special: list[Field], found: dict[bytes, bytes]) -> None:
    """Some name is there more than once: refuse it where that makes the framing unsure, join the values of lists."""
    names = [name for name, _ in special]
    for name in _SINGULAR:
        if names.count(name) > 1:
            raise ProtocolError(400, f"more than one {name.decode().title()}")
    for name in (b"connection", b"expect"):
        if name in found:
            found[name] = b",".join(value for key, value in special if key == name)


def _body_length(request: Request, length: bytes | None, coding: bytes | None) -> int | None:
    if coding is not None:
        # Section 6.1: a message with both, or a coded one from HTTP/1.0, is suspect; nobody sends them in good faith.
        if length is not None:
            raise ProtocolError(400, "both Content-Length and Transfer-Encoding")
        if request.version != "1.1":
            raise ProtocolError(400, "Transfer-Encoding in HTTP/1.0")
        if _CHUNKED.fullmatch(coding) is None:
            raise ProtocolError(501, "transfer coding not implemented")
        return None
    if length is None:
        return 0
    if not length.isdigit() or len(length) > 18:  # bytes.isdigit is ASCII only: no sign, no list, no underscore
        raise ProtocolError(400, "malformed Content-Length")
    return int(length)


def _read_connection(value: bytes) -> tuple[bool, bool, bool]:
    options = split_list(value.lower())
    return b"close" in options, b"keep-alive" in options, b"upgrade" in options


def _is_host(value: bytes) -> bool:
    found = _HOST.fullmatch(value)
    if found is None:
        return False
    try:
        return found[1] is None or bool(ipaddress.IPv6Address(found[1].decode()))
    except ValueError:
        return False


def _replace_host(request: Request, authority: bytes) -> None:
    """Section 3.2.2: the authority of an absolute-form target replaces the Host field."""
    userinfo, at, host = authority.rpartition(b"@")
    if not _is_host(host) or not _USERINFO.fullmatch(userinfo):
        raise ProtocolError(400, "malformed request target")
    if at and request.field(b"host") != host:
        # RFC 9110 section 4.2.4: an error, because it deceives about the host; not where the Host field tells it, too.
        raise ProtocolError(400, "request target with user information")
    request.headers = [(b"host", host), *(field for field in request.headers if field[0] != b"host")]

"""What a request must be to be served: every rule on request line, fields and framing, once above any parser.

A head comes in as octets and leaves as a Request or as a ProtocolError. References are to RFC 9112 unless named.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.grammar import TOKEN_PATTERN

if TYPE_CHECKING:
    from shardserve.http.parsers import Parser

HEAD_END = b"\r\n\r\n"
CRLF = b"\r\n"

# Methods that are handed to the application: RFC 9110, PATCH (RFC 5789) and WebDAV with its relatives (the IANA method
# registry). Any other token is answered 501, whichever parser runs.
METHODS = {
    name: name.decode()
    for name in (
        b"GET HEAD POST PUT DELETE OPTIONS PATCH TRACE PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH REPORT "
        b"MKACTIVITY CHECKOUT MERGE ACL BIND REBIND UNBIND LINK UNLINK MKCALENDAR PURGE SUBSCRIBE UNSUBSCRIBE NOTIFY"
    ).split()
}

_VERSION = re.compile(rb"HTTP/(\d)\.\d")
_VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
# Section 3.2. The target is visible ASCII (RFC 3986 wants less; browsers send it all) without a fragment.
_TARGET_OCTETS = bytes(octet for octet in range(0x21, 0x7F) if octet != ord("#"))
_CODING = re.compile(rb"\r\ntransfer-encoding:([\t -~\x80-\xff]*)(?=\r\n(?![ \t]))", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:", re.IGNORECASE)
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)([/?].*)?", re.DOTALL)
# RFC 3986 section 3.2.2; nothing at all is a host too (RFC 9110 section 7.2), a port alone is none.
_HOST = re.compile(
    rb"(?:(?:\[([0-9A-Fa-f:.]+)\]|\[v[0-9A-Fa-f]+\.[!$&'()*+,;=:\-._~0-9A-Za-z]+\]"
    rb"|(?:[!$&'()*+,;=\-._~0-9A-Za-z]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?)?"
)
_USERINFO = re.compile(rb"(?:[!$&'()*+,;=:\-._~0-9A-Za-z]|%[0-9A-Fa-f]{2})*")
# "identity" changes nothing (RFC 2616 section 3.6.2), so that it leaves the one framing there is.
_CHUNKED = re.compile(rb"(?:identity[ \t]*,[ \t]*)?chunked", re.IGNORECASE)
_KNOWN_HOSTS: set[bytes] = set()  # that have been found well-formed
_KNOWN_HOSTS_MAX = 256
_SINGULAR = (b"host", b"content-length", b"transfer-encoding")  # fields that must not be repeated
# That mean something to us.
SPECIAL = frozenset((*_SINGULAR, b"connection", b"expect", b"x-forwarded-for", b"x-forwarded-proto"))
_SLASH, _UNDERSCORE = b"/_"
# A browser's and a balancer's Connection values -> (close, keep-alive, upgrade), so that they are not split each time.
_CONNECTION = {
    b"keep-alive": (False, True, False),
    b"Keep-Alive": (False, True, False),
    b"close": (True, False, False),
}


Field = tuple[bytes, bytes]  # name in lower case, value


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds on a request, in octets (and a count of fields)."""

    line: int = 8190
    fields: int = 100
    field_size: int = 8190
    section: int = 65536
    body: int = 0  # of a request body; 0 = no limit
    spool: int = 0  # of one that is kept on disk for the application; 0 = no limit
    least: int = dataclasses.field(init=False)  # a head that is no larger needs no look at its parts

    def __post_init__(self) -> None:
        """Work out `least`."""
        object.__setattr__(self, "least", min(self.line, self.field_size, self.section))


class Request:
    """One request head.

    `path` and `query` are the octets of the target before and after the first "?", not percent-decoded. `length` is the
    declared body length in octets, 0 without a body, None for a chunked one. `headers` are (lower-case name, value).
    """

    __slots__ = (
        "ambiguous",
        "expect_continue",
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

    def field(self, name: bytes) -> bytes | None:
        """The value of the first field of that (lower-case) name, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class PartialHead:
    """A head of which a part has come: refused as soon as it cannot become a good one, so that it holds no place.

    Looked at is what comes behind `seen`, the end of the last complete line: a head in dribbles would else cost the
    square of its length.
    """

    __slots__ = ("_fields", "_first", "seen")

    def __init__(self) -> None:
        self.seen = 0
        self._first = 0  # octets of the request line with its end, 0 while it is not complete
        self._fields = 0  # complete field lines

    def look(self, data: bytes, limits: Limits) -> None:
        """Look at the head so far, which begins with what was there at the last look.

        Raises ProtocolError, and the same one however the octets are cut: limits count octets of the head.
        """
        seen = self.seen
        end = data.rfind(CRLF, seen) + 2
        if not self._first:
            self._first = data.find(CRLF, seen) + 2 if end > 1 else 0
            line = data[: self._first - 2] if self._first else data
            if len(line) - line.endswith(b"\r") > limits.line:
                raise ProtocolError(414, "request line too long")
            if self._first:
                _read_line(Request(), line)
            else:
                _check_method(line)
        if self._first and len(data) - self._first > limits.section:
            raise ProtocolError(431, "header section too large")
        new = data[seen:]
        pairs = new.count(CRLF)
        if new.count(b"\n") != pairs or new.count(b"\r") - new.endswith(b"\r") != pairs:
            raise ProtocolError(400, "line that does not end in CRLF")
        if end > 1:
            self._fields += pairs - (seen == 0)
            self.seen = end
        if self._fields > limits.fields:
            raise ProtocolError(431, "too many header fields")
        if len(new) > limits.field_size and self._first:
            lines = data[max(seen, self._first) : len(data) - data.endswith(b"\r")].split(CRLF)
            if max(map(len, lines)) > limits.field_size:
                raise ProtocolError(431, "header field too large")


def earliest_fault(data: bytes, limits: Limits) -> ProtocolError | None:
    """What PartialHead would have refused first, had the octets come one by one; None: nothing.

    So a head with several faults gets one answer however it is cut. (What has a refused beginning is refused itself.)
    """

    def fault(end: int) -> ProtocolError | None:
        try:
            PartialHead().look(data[:end], limits)
        except ProtocolError as error:
            return error
        return None

    return fault(bisect_left(range(len(data) + 1), True, lo=1, key=lambda end: fault(end) is not None))


def _check_method(line: bytes) -> None:
    """Refuse a request line, or the beginning of one, that starts with no method we know. Raises ProtocolError.

    The verdict is that on the first octet that makes it none, so that it does not depend on how much has come.
    """
    word, space, _ = line.partition(b" ")
    if not (word in METHODS if space else _begins_method(word)):
        raise _wrong_method(word)


def _wrong_method(word: bytes) -> ProtocolError:
    wrong = next((end for end in range(1, len(word)) if not _begins_method(word[:end])), len(word))
    if TOKEN_PATTERN.fullmatch(word[:wrong]):
        return ProtocolError(501, "method not implemented")
    return ProtocolError(400, "malformed request line")


def _begins_method(word: bytes) -> bool:
    return any(method.startswith(word) for method in METHODS)


def read_request(head: bytes, parser: Parser, limits: Limits) -> Request:
    """Turn a whole head, up to and with its empty line, into a Request. Raises ProtocolError."""
    if len(head) > limits.least:
        _check_sizes(head, limits)
    lines = head.split(CRLF)
    request = Request()
    authority = _read_line(request, lines[0])
    request.restart()
    try:
        parser.parse(lines[1:-2], request)  # behind the last field: the empty line, and nothing
    except ProtocolError as error:
        raise _judge_coding(head) or error from None
    count = len(request.headers)
    if count > limits.fields:
        raise ProtocolError(431, "too many header fields")
    if count != len(lines) - 3:
        raise ProtocolError(400, "folded field")  # section 5.2
    if request.ambiguous:
        # "X_A" and "X-A" are one name to WSGI (and CGI): a client could write over what a proxy has set.
        request.headers = [field for field in request.headers if _UNDERSCORE not in field[0]]
    _read_framing(request, authority, head)
    if request.length and request.length > limits.body > 0:
        raise ProtocolError(413, "request body too large")
    return request


def _judge_coding(head: bytes) -> ProtocolError | None:
    """The answer to a coding other than "chunked". Some parsers refuse it before we see it, others hand it over."""
    codings = _CODING.findall(head)
    if len(codings) == 1 and not _CHUNKED.fullmatch(codings[0].strip(b" \t")) and not _LENGTH.search(head):
        return ProtocolError(501, "transfer coding not implemented")
    return None


def _check_sizes(head: bytes, limits: Limits) -> None:
    line_end = head.find(b"\r\n")
    if line_end > limits.line:
        raise ProtocolError(414, "request line too long")
    if len(head) - line_end > limits.section:
        raise ProtocolError(431, "header section too large")
    if max(map(len, head[line_end + 2 :].split(b"\r\n"))) > limits.field_size:
        raise ProtocolError(431, "header field too large")


def _read_line(request: Request, line: bytes) -> bytes | None:
    """Read method, target and version (section 3); return the authority of an absolute-form target."""
    try:
        word, target, version = line.split(b" ")
        request.method = METHODS[word]
        request.version = _VERSIONS[version]
    except (ValueError, KeyError):
        target = _read_unusual_line(request, line)
    if not target or target.translate(None, _TARGET_OCTETS):
        raise ProtocolError(400, "malformed request target")
    authority = None
    if target[0] != _SLASH:  # origin-form, as nearly always
        authority, target = _read_special_target(request.method, target)
    request.path, _, request.query = target.partition(b"?")
    return authority


def _read_unusual_line(request: Request, line: bytes) -> bytes:
    """Read a line of another version and return its target, or refuse it.

    RFC 9110 section 2.5: a higher minor version than 1.1 is served as 1.1, another major one is not.
    """
    _check_method(line)
    words = line.split(b" ")
    found = _VERSION.fullmatch(words[-1])
    if len(words) != 3 or found is None:
        raise ProtocolError(400, "malformed request line")
    if found[1] != b"1":
        raise ProtocolError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    request.method, request.version = METHODS[words[0]], "1.1"
    return words[1]


def _read_special_target(method: str, target: bytes) -> tuple[bytes | None, bytes]:
    """Absolute-form (section 3.2.2) and asterisk-form (3.2.4): the authority, if any, and the target as origin-form."""
    if target == b"*" and method == "OPTIONS":
        return None, target
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise ProtocolError(400, "malformed request target")
    rest = found[2] or b"/"
    return found[1], rest if rest.startswith(b"/") else b"/" + rest


def _read_framing(request: Request, authority: bytes | None, head: bytes) -> None:
    """Read the fields that decide where the message ends (section 6) and who it is for (section 3.2)."""
    special = request.special
    found = dict(special)
    if b"transfer-encoding" in found and (error := _judge_coding(head)):
        raise error  # here, since the parsers that judge codings do so before any of what follows
    if len(found) != len(special):
        _join_repeated(special, found)
    host = found.get(b"host")
    if host is None:
        if request.version == "1.1":
            raise ProtocolError(400, "no Host")
    elif host not in _KNOWN_HOSTS:
        if not _is_host(host):
            raise ProtocolError(400, "malformed Host")
        if len(_KNOWN_HOSTS) < _KNOWN_HOSTS_MAX:
            _KNOWN_HOSTS.add(host)
    if authority is not None:
        _replace_host(request, authority)
    connection = found.get(b"connection")
    if connection is None:
        request.keep_alive = request.version == "1.1"
        request.upgrade = False
    else:
        closes, keeps, request.upgrade = _CONNECTION.get(connection) or _read_connection(connection)
        request.keep_alive = not closes and (keeps or request.version == "1.1")
    request.length = 0
    request.expect_continue = request.forwarded = False
    if len(found) > (host is not None) + (connection is not None):
        _read_rare(request, found)


def _read_rare(request: Request, found: dict[bytes, bytes]) -> None:
    """Read the fields that many requests do not have."""
    request.forwarded = b"x-forwarded-for" in found or b"x-forwarded-proto" in found
    if b"content-length" in found or b"transfer-encoding" in found:
        request.length = _body_length(request, found.get(b"content-length"), found.get(b"transfer-encoding"))
    if b"expect" in found and request.version == "1.1":
        # RFC 9110 section 10.1.1: 417 for what else may be expected is only allowed; we read over it, as others do.
        request.expect_continue = request.length != 0 and b"100-continue" in _members(found[b"expect"])


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
        return None  # it is "chunked": _judge_coding
    if length is None:
        return 0
    if not length.isdigit() or len(length) > 18:  # bytes.isdigit is ASCII only: no sign, no list, no underscore
        raise ProtocolError(400, "malformed Content-Length")
    return int(length)


def _read_connection(value: bytes) -> tuple[bool, bool, bool]:
    options = _members(value)
    return b"close" in options, b"keep-alive" in options, b"upgrade" in options


def _members(value: bytes) -> list[bytes]:
    """The members of a list (RFC 9110 section 5.6.1) of words that mean the same in any case."""
    return [member.strip(b" \t") for member in value.lower().split(b",")]


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

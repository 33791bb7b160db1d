"""The fields of a connection's last head: a client sends the same ones again and again, and then they are read once.

Octets that are the same mean the same: what a parser and request.py have made of them stands. The request line is read
each time, and only heads of the usual form take part: HTTP/1.1, a path for a target, nothing over a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.http.grammar import CRLF, HEAD_END, find_head_end
from shardserve.http.request import Request, new_request, read_unusual
from shardserve.http.request_line import HTTP_1_1, METHODS, TARGET_OCTETS
from shardserve.native import holds, second_line

if TYPE_CHECKING:
    from shardserve.http.parsers import Parser
    from shardserve.http.parsers.scanner import Scanner
    from shardserve.http.request import Field, Limits

_LINE_END = b" HTTP/1.1\r\n"
_KEPT_LEAST = 16 + len(_LINE_END)  # octets, of LastLines: fewer are read as fast as they are compared
_KEPT_MAX = 2048  # what an idle connection may hold
_CR, _SLASH = b"\r/"


class LastHead:
    """One connection's. It holds no more than `_KEPT_MAX` octets of fields, and what they mean."""

    __slots__ = ("_again", "_fields", "_headers", "_parser", "_request", "_scanner")

    def __init__(self, parser: Parser, scanner: Scanner | None) -> None:
        self._parser = parser
        self._scanner = scanner
        self._fields = b""  # the octets behind the request line, the empty line included; a Host at least
        self._again = 0  # where find_end has seen them in the head that is read next
        self._headers: list[Field] = []
        self._request: Request | None = None  # that came with them

    def find_end(self, data: bytes) -> int:
        """find_head_end; compiled, without a look at fields that come again: there is no empty line within them."""
        fields, at = self._fields, second_line(data)
        if fields and at > 0 and holds(data, at, fields):
            self._again = at
            return at + len(fields) - len(HEAD_END)
        self._again = 0
        return find_head_end(data)

    def read(self, head: bytes, limits: Limits) -> Request:
        """Turn a whole head into a Request, as read_request does. Raises ProtocolError."""
        scanner, last = self._scanner, self._request
        assert scanner is not None  # else it is one of LastLines
        again, self._again = self._again, 0
        if last is not None and len(head) <= limits.least:
            request = new_request()
            at = scanner.read_line(head, request)
            if at > 0 and len(head) - at == len(self._fields) and (at == again or holds(head, at, self._fields)):
                self._repeat(last, request)
                return request
        request = new_request()
        if not scanner.scan(head, request, limits):
            return read_unusual(head, self._parser, limits)
        self._keep(head, head.find(CRLF) + 2, request)
        return request

    def _keep(self, head: bytes, at: int, request: Request) -> None:
        """Keep what may come again: the fields of a head of the usual form."""
        usual = request.version == "1.1" and request.keep_alive and not request.expect_continue
        if usual and len(head) - at <= _KEPT_MAX and head.startswith(b" /", len(request.method)):
            self._fields = head[at:]
            self._headers = list(request.headers)  # a copy: the application may change its list
            self._request = request

    def _repeat(self, last: Request, request: Request) -> None:
        request.first = last
        request.headers = self._headers
        request.length = last.length
        request.keep_alive = last.keep_alive
        request.expect_continue = False
        request.forwarded = last.forwarded
        request.ambiguous = last.ambiguous
        request.upgrade = last.upgrade


class LastLines(LastHead):
    """Without a scanner: its `_fields` begin with the version in the request line; before it are method and target."""

    __slots__ = ()

    def read(self, head: bytes, limits: Limits) -> Request:
        """See LastHead.read."""
        last = self._request
        line = head.removesuffix(self._fields)
        if last is not None and _CR not in line and len(head) <= limits.least:
            word, _, target = line.partition(b" ")
            method = "GET" if word == b"GET" else METHODS.get(word)  # comparing the usual one costs less
            # As the scanner this takes only what the rules take, and leaves all else to them.
            if method is not None and target and target[0] == _SLASH and not target.lstrip(TARGET_OCTETS):
                request = Request()
                request.method = method
                request.version = HTTP_1_1
                request.path, _, request.query = target.partition(b"?")
                self._repeat(last, request)
                return request
        request = read_unusual(head, self._parser, limits)
        at = head.find(_LINE_END)
        if 0 < at < head.find(CRLF) and len(head) - at >= _KEPT_LEAST and len(head) <= limits.least:
            self._keep(head, at, request)
        return request


def make_last_head(parser: Parser) -> LastHead:
    """One for a new connection."""
    scanner = parser.scanner
    return LastLines(parser, None) if scanner is None else LastHead(parser, scanner)

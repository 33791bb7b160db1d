"""The fields of a connection's last head: a client sends the same ones again and again, and then they are read once.

Octets that are the same mean the same: what a parser and request.py have made of them stands. The request line is read
each time, and only heads of the usual form take part: HTTP/1.1, a path for a target, nothing over a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.http.grammar import CRLF
from shardserve.http.request import Request, read_request
from shardserve.http.request_line import read_line

if TYPE_CHECKING:
    from shardserve.http.parsers import Parser
    from shardserve.http.request import Field, Limits

_KEPT_LEAST = 64  # octets of fields: fewer are read as fast as they are found
_KEPT_MAX = 2048  # what an idle connection may hold


class LastHead:
    """One connection's. It holds no more than `_KEPT_MAX` octets of fields, and what they mean."""

    __slots__ = ("_fields", "_headers", "_request")

    def __init__(self) -> None:
        self._fields = b""  # the octets behind the request line, the empty line included
        self._headers: tuple[Field, ...] = ()
        self._request: Request | None = None  # that came with them

    def read(self, head: bytes, parser: Parser, limits: Limits) -> Request:
        """Turn a whole head into a Request, as read_request does. Raises ProtocolError."""
        line_end = head.find(CRLF)
        size = len(head) - line_end
        if size < _KEPT_LEAST or size > _KEPT_MAX or len(head) > limits.least:
            return read_request(head, parser, limits)
        fields = head[line_end:]
        last = self._request
        if last is not None and fields == self._fields:
            request = Request()
            if read_line(request, head[:line_end], limits) is None and request.version == "1.1":
                self._repeat(last, request)
                return request
        request = read_request(head, parser, limits)
        usual = request.version == "1.1" and request.keep_alive and not request.expect_continue
        if usual and head.startswith(b" /", len(request.method)):
            self._fields = fields
            self._headers = tuple(request.headers)  # a copy: the application may change its list
            self._request = request
        return request

    def _repeat(self, last: Request, request: Request) -> None:
        request.again = True
        request.headers = list(self._headers)
        request.length = last.length
        request.keep_alive = last.keep_alive
        request.expect_continue = False
        request.forwarded = last.forwarded
        request.ambiguous = last.ambiguous
        request.upgrade = last.upgrade

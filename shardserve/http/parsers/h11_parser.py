"""The field section by h11 (pure Python): for machines without httptools, and as the second opinion in tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import h11

from shardserve.errors import ProtocolError
from shardserve.http.parsers.hidden import Hidden
from shardserve.logs import log

if TYPE_CHECKING:
    from shardserve.http.parsers.scanner import Scanner
    from shardserve.http.request import Request

# What h11 lets through: some control characters in values (RFC 9110 section 5.5), lines that end in LF alone.
_LENIENT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n)")

_LINE = b"GET / HTTP/1.0"  # any that asks for no Host: the true one has been judged


class H11Parser:
    """Parses each head with a fresh h11 connection, which would begin the next message only after answering itself."""

    name = "h11"
    scanner: Scanner | None = None

    def parse(self, lines: list[bytes], request: Request) -> None:
        """See Parser.parse."""
        hidden = Hidden(_LINE, lines, request)
        if _LENIENT.search(hidden.head):
            raise ProtocolError(400, "control character in a field, or a line that does not end in CRLF")
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(hidden.head) + 1)
        try:
            connection.receive_data(hidden.head)
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            log.debug("h11 refused a head: %s", error)
            raise ProtocolError(400, "malformed header field") from None
        if not isinstance(event, h11.Request):
            raise ProtocolError(400, "not a request")
        for name, value in event.headers:
            hidden.on_header(name, value)

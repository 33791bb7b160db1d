"""The field section by httptools (llhttp, C): the default."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httptools

from shardserve.errors import ProtocolError
from shardserve.logs import log

if TYPE_CHECKING:
    from shardserve.http.parsers import Sink

# llhttp takes a tab behind a transfer coding for a part of it (RFC 9112 section 5.1: it is white space).
_TAB_BEHIND = re.compile(rb"(\r\ntransfer-encoding:[^\r\n]*\S)[ \t]+(?=\r\n)", re.IGNORECASE)


class HttptoolsParser:
    """Parses each head with a fresh llhttp parser: 0.35 us more than keeping one, and no state between heads."""

    name = "httptools"

    def parse(self, head: bytes, sink: Sink) -> None:
        """See Parser.parse."""
        try:
            httptools.HttpRequestParser(sink).feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # only says that what follows the head may be another protocol: that is not for the parser to decide
        except httptools.HttpParserError as error:
            trimmed = _TAB_BEHIND.sub(rb"\1", head)
            if trimmed != head:
                sink.restart()
                self.parse(trimmed, sink)
                return
            log.debug("httptools refused a head: %s", error)
            raise ProtocolError(400, "malformed header field") from None

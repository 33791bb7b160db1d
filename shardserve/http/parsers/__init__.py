"""Parsers of a request's field section, behind one interface. What is refused beyond syntax is for http/request.py.

A parser is given one whole head (request line, fields, empty line) and returns its fields. It keeps no state between
heads and never sees a body: framing is the connection's, and so the same over every parser.
"""

from __future__ import annotations

from typing import Protocol

Fields = list[tuple[bytes, bytes]]


class Parser(Protocol):
    """Turns one request head into its fields."""

    name: str

    def parse(self, head: bytes) -> Fields:
        """Return the fields in order: names in lower case, values without the white space around them.

        `head` begins with a request line that http/request.py has checked and ends with an empty line. Raises
        ProtocolError(400) for anything RFC 9112 section 5 does not allow.
        """
        ...


def make_parser(name: str) -> Parser:
    """Make the parser "httptools" or "h11"; "auto" is httptools."""
    if name == "h11":
        from shardserve.http.parsers.h11_parser import H11Parser

        return H11Parser()
    from shardserve.http.parsers.httptools_parser import HttptoolsParser

    return HttptoolsParser()

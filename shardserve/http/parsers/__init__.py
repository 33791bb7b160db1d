"""Parsers of a request's field section, behind one interface. What is refused beyond syntax is for http/request.py.

A parser is given the field lines of one whole head and hands over its fields. It keeps no state between heads that
could change a verdict, and never sees a request line or a body: what is judged elsewhere is the same over every parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shardserve.errors import ConfigError

if TYPE_CHECKING:
    from shardserve.http.parsers.scanner import Scanner
    from shardserve.http.request import Request


class Parser(Protocol):
    """Turns one request head into its fields."""

    name: str

    @property
    def scanner(self) -> Scanner | None:
        """Reads ordinary heads, and leaves others to the rules of request.py and `parse`; None if there is none."""

    def parse(self, lines: list[bytes], request: Request) -> None:
        """Put the fields of a head into the request, in order.

        `lines` are its field lines: what was between one CRLF and the next. Raises ProtocolError(400) for anything that
        RFC 9112 section 5 does not allow, in a line or as a whole.
        """
        ...


def make_parser(name: str) -> Parser:
    """Make the parser that `--http` means. Raises ConfigError if the one asked for is not installed."""
    if name in ("auto", "builtin"):
        from shardserve.http.parsers.builtin_parser import BuiltinParser

        return BuiltinParser()
    if name == "h11":
        from shardserve.http.parsers.h11_parser import H11Parser

        return H11Parser()
    try:
        from shardserve.http.parsers.httptools_parser import HttptoolsParser
    except ImportError as error:
        raise ConfigError(f"--http httptools: {error}; pip install httptools, or use --http builtin") from None
    return HttptoolsParser()

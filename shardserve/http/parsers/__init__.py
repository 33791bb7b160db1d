"""Parsers of a request's field section, behind one interface. What is refused beyond syntax is for http/request.py.

A parser is given one whole head (request line, fields, empty line) and hands over its fields. It keeps no state between
heads and never sees a body: framing is the connection's, and so the same over every parser.
"""

from __future__ import annotations

import importlib.util
from typing import Protocol

from shardserve.errors import ConfigError


class Sink(Protocol):
    """What takes the fields. httptools calls it from C, so its names are httptools' names."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take the next field: the name in any case, the value perhaps with white space behind it."""

    def restart(self) -> None:
        """Forget the fields taken: they come again."""


class Parser(Protocol):
    """Turns one request head into its fields."""

    name: str

    def parse(self, head: bytes, sink: Sink) -> None:
        """Hand the fields to the sink, in order.

        `head` begins with a request line that http/request.py has checked and ends with an empty line. Raises
        ProtocolError(400) for anything RFC 9112 section 5 does not allow.
        """
        ...


def make_parser(name: str) -> Parser:
    """Make the parser that `--http` means: for "auto" httptools, where it is installed.

    Raises ConfigError if the one asked for is not installed.
    """
    if name == "h11" or (name == "auto" and importlib.util.find_spec("httptools") is None):
        from shardserve.http.parsers.h11_parser import H11Parser

        return H11Parser()
    try:
        from shardserve.http.parsers.httptools_parser import HttptoolsParser
    except ImportError as error:
        raise ConfigError(f"--http httptools: {error}; pip install httptools, or use --http h11") from None
    return HttptoolsParser()

"""The built-in parser's tables: they change how fast a line is read, never what it means (that: test_request.py)."""

from __future__ import annotations

import pytest

from shardserve.errors import ProtocolError
from shardserve.http.parsers import builtin_parser
from shardserve.http.parsers.builtin_parser import BuiltinParser
from shardserve.http.request import Limits, Request, read_request

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nX-A: b\r\nConnection: close\r\nAuthorization: c\r\n\r\n"


def read(parser: BuiltinParser, head: bytes = HEAD) -> Request:
    return read_request(head, parser, Limits())


def tables(parser: BuiltinParser) -> list[bytes]:
    return sorted([*parser._usual, *parser._usual_special])


def test_a_line_means_the_same_when_it_comes_again() -> None:
    parser = BuiltinParser(scanning=False)
    first = read(parser)
    again = read(parser)
    for name in Request.__slots__:
        assert getattr(first, name) == getattr(again, name), name
    assert not again.keep_alive


def test_only_lines_of_usual_names_are_kept_and_no_secret() -> None:
    parser = BuiltinParser(scanning=False)
    read(parser)
    assert tables(parser) == [b"Accept: */*", b"Connection: close", b"Host: a"]


def test_the_tables_stay_within_their_bounds_and_begin_anew() -> None:
    parser = BuiltinParser(scanning=False)
    for number in range(builtin_parser._LINES_MAX + 1):
        read(parser, b"GET / HTTP/1.1\r\nHost: h%d\r\nAccept: a%d\r\nX-%d: b\r\n\r\n" % (number, number, number))
    assert len(parser._usual) == len(parser._usual_special) == 1
    assert len(parser._names) == builtin_parser._NAMES_MAX
    long = b"Accept: " + b"a" * builtin_parser._LINE_MAX
    request = read(parser, b"GET / HTTP/1.1\r\nHost: h\r\n" + long + b"\r\n\r\n")
    assert request.field(b"accept") == b"a" * builtin_parser._LINE_MAX
    assert long not in tables(parser)


@pytest.mark.parametrize("line", [b"Accept : */*", b" Accept: */*", b"Accept", b"Accept: \x00", b"Accept: a\rb", b""])
def test_a_malformed_line_of_a_usual_name_is_refused_each_time_and_never_kept(line: bytes) -> None:
    parser = BuiltinParser(scanning=False)
    for _ in range(2):
        with pytest.raises(ProtocolError, match="malformed"):
            parser.parse([line], _blank())
    assert tables(parser) == []


def _blank() -> Request:
    request = Request()
    request.headers, request.special, request.ambiguous = [], [], False
    return request

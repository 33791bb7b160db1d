"""Heads that come again on a connection mean what they would mean alone, whatever has come before them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rfc import cases
from support.corpus import load
from support.wire import EVERY_PARSER, Driver, parser_called

from shardserve.errors import ProtocolError
from shardserve.http.grammar import HEAD_END
from shardserve.http.last_head import make_last_head
from shardserve.http.request import Limits, Request, read_request

WHAT = [name for name in Request.__slots__ if name not in ("first", "special")]
FIELDS = (
    b"Host: known\r\nUser-Agent: something of more than sixty-four octets, which is what is kept\r\nCookie: a=b\r\n"
)
LINES = [
    b"GET / HTTP/1.1",
    b"POST /a?b HTTP/1.1",
    b"GET * HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET http://other/ HTTP/1.1",
    b"GET  / HTTP/1.1",
    b"GET / x HTTP/1.1",
    b" / HTTP/1.1",
    b"GET /\r HTTP/1.1",
    b"GET /a HTTP/1.1\r\nX: y HTTP/1.1",
    b"BREW / HTTP/1.1",
    b"GET /\x7f HTTP/1.1",
]
MORE = [
    b"",
    b"Content-Length: 5\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\nContent-Length: 5\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n",
    b"X_Y: z\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: known\r\n",
    b"A: " + b"b" * 2100 + b"\r\n",
]


class Reader:
    """Reads a connection's heads; `again` of them had the fields of the one before."""

    def __init__(self, parser: Any) -> None:
        self._last = make_last_head(parser)
        self.again = 0
        self.shared = False  # the list of the last one's fields, with those that come again

    def read(self, head: bytes, limits: Limits) -> Request:
        request = self._last.read(head, limits)
        self.shared = request.first is not None
        self.again += self.shared
        return request


def meaning(read: Any, head: bytes, limits: Limits) -> Any:
    try:
        request = read(head, limits)
    except ProtocolError as error:
        return error.status, error.reason
    return {name: getattr(request, name) for name in WHAT}


@pytest.mark.parametrize("name", EVERY_PARSER)
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(MORE)), min_size=2, max_size=6))
def test_each_means_what_it_means_alone(name: str, heads: list[tuple[bytes, bytes]]) -> None:
    parser = parser_called(name)
    reader, limits = Reader(parser), Limits(body=100)
    for line, more in heads:
        head = line + b"\r\n" + FIELDS + more + b"\r\n"
        alone = meaning(lambda head, limits: read_request(head, parser, limits), head, limits)
        found = meaning(reader.read, head, limits)
        assert found == alone
        if isinstance(found, dict) and not reader.shared:
            found["headers"].append((b"an", b"application's"))


@pytest.mark.parametrize("name", EVERY_PARSER)
@pytest.mark.parametrize("line", LINES)
def test_each_line_means_behind_a_usual_head_what_it_means_alone(name: str, line: bytes) -> None:
    parser = parser_called(name)
    reader, limits = Reader(parser), Limits(body=100)
    reader.read(LINES[0] + b"\r\n" + FIELDS + b"\r\n", limits)
    head = line + b"\r\n" + FIELDS + b"\r\n"
    assert meaning(reader.read, head, limits) == meaning(
        lambda *what: read_request(what[0], parser, what[1]), head, limits
    )


def test_each_head_of_the_corpus_means_the_same_when_it_comes_again() -> None:
    parser, again = parser_called("builtin"), 0
    for case in load(cases).values():
        head, end, _ = case.octets.partition(HEAD_END)
        reader = Reader(parser)
        seen = [meaning(reader.read, head + end, case.limits) for _ in "abc"]
        assert seen[0] == seen[1] == seen[2], head
        again += reader.again
    assert again > 10


PIECES = [*LINES, b"\r\n", b"\r\n", b"\n", b"\r", FIELDS, FIELDS + b"\r\n", b"Host: known\r\n", b" HTTP/1.1\r\n"]


@pytest.mark.parametrize("name", EVERY_PARSER)
@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8), st.sampled_from(LINES), st.booleans())
def test_the_end_of_a_head_is_where_its_first_empty_line_is(
    name: str, pieces: list[bytes], line: bytes, usual: bool
) -> None:
    reader = make_last_head(parser_called(name))
    reader.read(LINES[0] + b"\r\n" + FIELDS + b"\r\n", Limits())
    for data in (b"".join(pieces), line + b"\r\n" * usual + b"".join(pieces)):
        assert reader.find_end(data) == data.find(HEAD_END)


def test_fields_that_have_been_seen_and_not_been_read_mean_nothing_later() -> None:
    """A connection may look for the end of a head and then not read it."""
    parser, limits = parser_called("builtin"), Limits()
    reader = make_last_head(parser)
    seen = LINES[0] + b"\r\n" + FIELDS + b"\r\n"
    reader.read(seen, limits)
    other = seen.replace(b"Cookie: a=b", b"Cookie: c=d")
    for _ in range(2):
        assert reader.find_end(seen) > 0
        assert reader.find_end(other) > 0
        assert reader.read(other, limits).field(b"cookie") == b"c=d"
        assert reader.read(seen, limits).field(b"cookie") == b"a=b"


@pytest.mark.parametrize("gateway", ["asgi", "wsgi"])
def test_an_application_sees_each_of_them_whole(gateway: str) -> None:
    seen: list[Any] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["method"], scope["path"], scope["query_string"], list(scope["headers"])))
        scope["headers"].append((b"x-own", b"1"))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append({key: value for key, value in environ.items() if not key.startswith("wsgi.")})
        environ["HTTP_X_OWN"] = "1"
        start_response("204 No Content", [])
        return []

    heads = [
        line + b"\r\n" + FIELDS + more + b"\r\n" + body
        for line, more, body in [
            (b"GET /a?b HTTP/1.1", b"", b""),
            (b"GET /a HTTP/1.1", b"", b""),
            (b"GET /b%20c HTTP/1.1", b"", b""),
            (b"GET /a?b HTTP/1.1", b"", b""),
            (b"POST /d HTTP/1.1", b"Content-Length: 2\r\n", b"ok"),
            (b"POST /d HTTP/1.1", b"Content-Length: 2\r\n", b"ok"),
            (b"POST /d HTTP/1.1", b"Content-Length: 2\r\n", b"ok"),
            (b"GET /a?b HTTP/1.1", b"", b""),
        ]
    ]

    def drive() -> Driver:
        return Driver.asgi(asgi, "builtin") if gateway == "asgi" else Driver.wsgi(wsgi, "builtin", inline=True)

    for head in heads:
        with drive() as wire:
            wire.feed(head)
    alone, seen = seen, []
    with drive() as wire:
        for head in heads:
            wire.feed(head)
    assert seen == alone

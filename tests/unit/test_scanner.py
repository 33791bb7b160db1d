"""The scanner takes ordinary heads, and makes of them what splitting makes; all others it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rfc import cases
from support.corpus import load
from support.wire import parser_called

from shardserve.errors import ProtocolError
from shardserve.http.grammar import HEAD_END
from shardserve.http.parsers.scanner import Scanner
from shardserve.http.request import KNOWN_HOSTS, Limits, Request, read_request

FIELDS = [name for name in Request.__slots__ if name not in ("first", "special")]
SPLITTER = parser_called("splitter")
TIGHT = Limits(line=60, fields=4, field_size=50, section=150, body=100)

ORDINARY = [
    b"GET / HTTP/1.1\r\nHost: known\r\n\r\n",
    b"POST /a/%20?b=c?d HTTP/1.1\r\nhOsT:known \t\r\nContent-Length: 12\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    b"PROPFIND // HTTP/1.1\r\nHost: known\r\nConnection: close\r\nCookie: a=\xff; b\r\nX-A:\r\n\r\n",
]
ODD = [
    b"GET / HTTP/1.0\r\nHost: known\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: known\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: known\r\nHost: known\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: known\r\nX_A: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: known\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: known\r\nExpect: 100-continue\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: known\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: known\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: known\r\n" + b"X" * 65 + b": a\r\n\r\n",
    b"GET / \r\n\r\n",
    b"\r\n\r\n",
]


def split(head: bytes, limits: Limits) -> Request | None:
    """What is made of a head without the scanner; None if it is refused."""
    try:
        return read_request(head, SPLITTER, limits)
    except ProtocolError:
        return None


def scanned(head: bytes, limits: Limits) -> Request | None:
    request = Request()
    return request if Scanner().scan(head, request, limits) else None


def check(head: bytes, limits: Limits) -> bool:
    """Whether a head is ordinary; if so, it is the same request as without the scanner."""
    expected = split(head, limits)
    found = scanned(head, limits)
    if found is None:
        return False
    assert expected is not None, f"the scanner takes what is refused: {head!r}"
    for name in FIELDS:
        assert getattr(found, name) == getattr(expected, name), (name, head)
    return True


@pytest.fixture(autouse=True)
def _known() -> None:
    KNOWN_HOSTS.add(b"known")  # whether or not other tests have filled it


@pytest.mark.parametrize("head", ORDINARY)
def test_an_ordinary_head_is_taken(head: bytes) -> None:
    assert check(head, Limits())


@pytest.mark.parametrize("head", ODD)
def test_any_other_is_left_to_the_rules(head: bytes) -> None:
    assert not check(head, Limits())


def test_heads_over_a_limit_are_left_to_the_rules() -> None:
    assert not check(b"GET /" + b"a" * 60 + b" HTTP/1.1\r\nHost: known\r\n\r\n", TIGHT)
    assert not check(b"GET / HTTP/1.1\r\nHost: known\r\n" + b"A: b\r\n" * 4 + b"\r\n", TIGHT)
    assert not check(b"GET / HTTP/1.1\r\nHost: known\r\nContent-Length: 101\r\n\r\n", TIGHT)


def test_it_agrees_on_the_whole_corpus() -> None:
    taken = 0
    for case in load(cases).values():
        head, end, _ = case.octets.partition(HEAD_END)
        if end:
            taken += check(head + end, case.limits)
    assert taken > 100


def _mutated(draw: Any) -> bytes:
    head = bytearray(draw(st.sampled_from([*ORDINARY, *ODD[:8]]))[:-4])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(head)))
        piece = draw(
            st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b"_", b"?", b"#", b"Host: known\r\n"])
        )
        kind = draw(st.integers(0, 2))
        head[at : at + (kind > 0) * draw(st.integers(1, 3))] = piece if kind < 2 else b""
    return bytes(head).split(HEAD_END)[0] + HEAD_END


@settings(max_examples=1500, deadline=None)
@given(st.composite(_mutated)())
@example(b"GET / HTTP/1.1\r\nHost: known\r\n :\r\n\r\n")
def test_it_agrees_on_what_is_nearly_ordinary(head: bytes) -> None:
    check(head, Limits())
    check(head, TIGHT)

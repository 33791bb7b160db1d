"""Requests that hypothesis makes up, of the grammar and beside it; `make fuzz` goes on with that for hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rfc import cases
from support.corpus import load
from support.wire import PARSERS

from fuzz.target import LARGE, SMALL, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = [case.octets for case in load(cases).values() if len(case.octets) <= 1000]
ODD = [b"%c" % octet for octet in b'\r\n\t :;,="\\/?#*@%_0\x00\x0b\x7f\x80\xff']
LINE_PARTS = (
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"get", b"BREW", b"G@T", b""]),
    st.sampled_from([b" ", b"  ", b"\t"]),
    st.sampled_from([b"/", b"/a?b", b"*", b"http://a/b", b"http://u@a/", b"http://[::1]", b"a", b"/#", b"/\xff", b""]),
    st.sampled_from([b" ", b"  "]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1", b"http/1.1"]),
)
NAMES = [
    b"Host",
    b"Content-Length",
    b"Transfer-Encoding",
    b"Connection",
    b"Expect",
    b"Upgrade",
    b"X-A",
    b"X_A",
    b"TE",
    b"X A",
    b"",
]
VALUES = [
    b"a",
    b"",
    b"5",
    b"0",
    b"5, 5",
    b"+5",
    b"chunked",
    b"identity, chunked",
    b"gzip",
    b"close",
    b"keep-alive",
    b"upgrade",
]
VALUES += [b"100-continue", b"h2c", b"a:80", b"[::1]", b"a b", b"a\tb", b"\xe9", b"a\0"]
COLONS = [b":", b": ", b":\t ", b" :", b""]
ENDS = st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\r\n\t", b"\t\r\n", b""])
CHUNKS = [
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"5;a=b\r\nhello\r\n",
    b"5\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"x",
]


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """A head of parts that are mostly good, and something behind it."""
    parts = list(LINE_PARTS)
    if draw(st.integers(0, 3)):  # usually without a fault here, or no other would be reached
        parts = [st.sampled_from([b"GET", b"POST"]), st.just(b" "), st.just(b"/"), st.just(b" "), st.just(b"HTTP/1.1")]
    lines = [b"".join(draw(part) for part in parts)]
    if draw(st.integers(0, 9)):
        lines.append(b"Host: a")
    fields = st.tuples(st.sampled_from(NAMES), st.sampled_from(COLONS), st.sampled_from(VALUES)).map(b"".join)
    lines += draw(st.lists(fields, max_size=4))
    behind = b"".join(
        draw(st.lists(st.sampled_from([*CHUNKS, b"hello", b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]), max_size=4))
    )
    return b"".join(line + draw(ENDS) for line in lines) + draw(ENDS) + behind


@st.composite
def _mutations(draw: st.DrawFn) -> bytes:
    """A case of the corpus, or two in a row, changed in a few places."""
    octets = b"".join(draw(st.lists(st.sampled_from(CORPUS), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(octets)))
        put = draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=3), st.sampled_from([b"\r\n", b"\r\n\r\n"])))
        octets = octets[:at] + put + octets[at + draw(st.integers(0, 4)) :]
    return octets or b"\r"


@pytest.fixture(scope="module", params=[LARGE, SMALL], ids=["large limits", "small limits"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    made = Target(request.param)
    yield made
    made.close()


@settings(max_examples=400, deadline=None)
@given(octets=st.one_of(_messages(), _mutations()), seed=st.integers(0, 255), ended=st.booleans())
def test_no_request_makes_a_fault_and_no_parser_or_cut_a_difference(
    target: Target, octets: bytes, seed: int, ended: bool
) -> None:
    target.check(octets, seed, ended=ended)


def test_a_difference_between_parsers_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(LARGE)
    parser = target._wires[PARSERS[-1]].service.parser
    monkeypatch.setattr(parser, "parse", lambda head, sink: sink.on_header(b"host", b"b"), raising=False)
    with pytest.raises(AssertionError, match="instead of"):
        target.check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    target.close()

"""Chunked request bodies (RFC 9112 section 7.1): what is decoded, what is refused, and that cuts make no difference."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shardserve.errors import ProtocolError
from shardserve.http.chunked import ChunkedBody
from shardserve.http.request import Limits


def decode(*pieces: bytes, limits: Limits | None = None) -> tuple[bytes, bool, bytes]:
    """Feed pieces until the body is done; return the body, whether its end was seen, and what lies behind it."""
    body = ChunkedBody(limits or Limits())
    data = b""
    for at, piece in enumerate(pieces):
        data += body.feed(piece)
        if body.done:
            return data, True, body.rest + b"".join(pieces[at + 1 :])
    return data, False, b""


def refuse(octets: bytes, limits: Limits | None = None) -> int:
    """Assert that a body is refused whole and octet by octet, with one status; return it."""
    statuses = set()
    for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
        with pytest.raises(ProtocolError) as caught:
            decode(*pieces, limits=limits)
        statuses.add(caught.value.status)
    (status,) = statuses
    return status


@pytest.mark.parametrize(
    ("octets", "data"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"005\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
        (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
        (b"2;a\r\nhi\r\n0;b=c\r\n\r\n", b"hi"),
        (b'2;a=b;c="d;\\"\r\t\r\nhi\r\n0\r\n\r\n'.replace(b"\r\t", b'"'), b"hi"),
        (b"2 ; a = b\r\nhi\r\n0\r\n\r\n", b"hi"),  # section 7.1.1: BWS
        (b'2;a="\xc3\xa9"\r\nhi\r\n0\r\n\r\n', b"hi"),
    ],
)
def test_a_body_is_decoded_and_what_follows_is_left(octets: bytes, data: bytes) -> None:
    assert decode(octets) == (data, True, b"")
    assert decode(octets + b"GET /") == (data, True, b"GET /")
    assert decode(*(octets[at : at + 1] for at in range(len(octets))), b"GET /") == (data, True, b"GET /")


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r\n\r\n"])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"X: " + b"a" * 17 + b"\rb" + b"c" * 10, 400),
        (b"X: " + b"a" * 17 + b"\nb" + b"c" * 10, 400),
        (b"X: " + b"a" * 18 + b"\rb", 431),
        (b"X: " + b"a" * 18 + b"\nb", 431),
        (b"X: " + b"a" * 30 + b"\rb", 431),
    ],
)
def test_a_trailer_faulty_in_two_ways_is_refused_for_the_first(line: bytes, status: int, end: bytes) -> None:
    assert refuse(b"0\r\n" + line + end, Limits(field_size=20)) == status  # whole and octet by octet: found by fuzzing


def test_trailers_are_read_and_dropped() -> None:
    octets = b"2\r\nhi\r\n0\r\nX-A: b\r\nContent-Length: 99\r\nTransfer-Encoding: gzip\r\nX-Empty:\r\n\r\nnext"
    assert decode(octets) == (b"hi", True, b"next")  # RFC 9110 section 6.5.1: they never frame


def test_data_comes_out_as_it_comes_in() -> None:
    body = ChunkedBody(Limits())
    assert body.feed(b"5\r\nhe") == b"he"
    assert body.feed(b"l") == b"l"
    assert body.feed(b"lo\r\n3\r\nab") == b"loab"
    assert body.feed(b"c\r\n") == b"c"
    assert not body.done
    assert body.feed(b"0\r\n\r\n") == b""
    assert body.done


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"\t5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"-0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5h\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"g\r\nhello\r\n0\r\n\r\n",
        b"5.0\r\nhello\r\n0\r\n\r\n",
        b"\xb2\r\nhe\r\n0\r\n\r\n",
        b"5,5\r\nhello\r\n0\r\n\r\n",
        b"5 a=b\r\nhello\r\n0\r\n\r\n",
        b"5;\r\nhello\r\n0\r\n\r\n",
        b"5;;a\r\nhello\r\n0\r\n\r\n",
        b"5;=b\r\nhello\r\n0\r\n\r\n",
        b"5;a=\r\nhello\r\n0\r\n\r\n",
        b'5;a="b\r\nhello\r\n0\r\n\r\n',
        b"5;a b\r\nhello\r\n0\r\n\r\n",
        b"5;a\x00\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\r\nhello\r\n0\r\n\r\n",
        b"5\n\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhello\r\r\n0\r\n\r\n",
        b"5\r\nhello \r\n0\r\n\r\n",
        b"5\r\nhellooo\r\n0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5" * 2000 + b"\r\n",
        b"5;" + b"a" * 2000 + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n\r\r\n",
        b"0\r\nX-A\r\n\r\n",
        b"0\r\n: b\r\n\r\n",
        b"0\r\nX-A : b\r\n\r\n",
        b"0\r\n X-A: b\r\n\r\n",
        b"0\r\nX-A: b\r\n c\r\n\r\n",
        b"0\r\nX-A: b\n\r\n",
        b"0\r\nX-A: b\x00\r\n\r\n",
        b"0\r\nX-A: b\rc\r\n\r\n",
        b"0\r\nX A: b\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_malformed_chunk_is_bad(octets: bytes) -> None:
    assert refuse(octets) == 400


@pytest.mark.parametrize("length", [1022, 1023, 1024])
def test_a_size_line_within_its_limit_is_accepted_however_it_is_cut(length: int) -> None:
    line = b"2;" + b"a" * (length - 2)
    octets = line + b"\r\nhi\r\n0\r\n\r\n"
    for at in (length - 1, length, length + 1, length + 2):
        assert decode(octets[:at], octets[at:]) == (b"hi", True, b"")
    with pytest.raises(ProtocolError):
        decode(b"2;" + b"a" * 1023 + b"\r\nhi\r\n")


def test_extensions_have_a_limit_over_the_whole_body() -> None:
    chunk = b"1;" + b"a" * 1000 + b"\r\nx\r\n"
    assert decode(chunk * 16 + b"0\r\n\r\n") == (b"x" * 16, True, b"")
    assert refuse(chunk * 17 + b"0\r\n\r\n") == 400


def test_trailers_have_the_limits_of_a_head() -> None:
    limits = Limits(fields=3, field_size=20, section=60)
    assert decode(b"0\r\n" + b"A: b\r\n" * 3 + b"\r\n", limits=limits) == (b"", True, b"")
    assert refuse(b"0\r\n" + b"A: b\r\n" * 4 + b"\r\n", limits) == 431
    assert decode(b"0\r\nA: " + b"b" * 17 + b"\r\n\r\n", limits=limits) == (b"", True, b"")
    assert refuse(b"0\r\nA: " + b"b" * 18 + b"\r\n\r\n", limits) == 431
    assert refuse(b"0\r\n" + (b"A: " + b"b" * 17 + b"\r\n") * 3 + b"\r\n", limits) == 431


def test_a_trailer_line_without_end_is_refused_within_the_limit() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(b"0\r\nA: ", *[b"b" * 1000] * 70)
    assert caught.value.status == 431


def test_a_huge_size_is_no_reason_to_wait_for_it_in_memory() -> None:
    body = ChunkedBody(Limits())
    assert body.feed(b"ffffffffffffffff\r\nabc") == b"abc"
    assert not body.done


# Any octets in any cuts


_CHUNK = st.binary(min_size=1, max_size=40).flatmap(
    lambda data: st.sampled_from([b"", b";a", b";a=b", b' ; a = "b;\\""', b";a;b"]).map(
        lambda extension: b"%x%b\r\n%b\r\n" % (len(data), extension, data)
    )
)
_TRAILERS = st.lists(st.sampled_from([b"A: b\r\n", b"Content-Length: 5\r\n", b"X:\r\n"]), max_size=3).map(b"".join)


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    chunks = draw(st.lists(_CHUNK, max_size=5))
    return b"".join(chunks) + b"0\r\n" + draw(_TRAILERS) + b"\r\n" + draw(st.binary(max_size=10))


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    octets = draw(_bodies())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(octets) - 1))
        spice = draw(st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b";", b"0", b"f", b":", b"\x00", b""]))
        octets = octets[:at] + spice + octets[at + draw(st.integers(0, 2)) :]
    return octets or b"0"


def _outcome(pieces: list[bytes]) -> tuple[bytes, bool, bytes] | int:
    try:
        return decode(*pieces)
    except ProtocolError as error:
        return error.status


@settings(max_examples=300, deadline=None)
@given(_damaged(), st.lists(st.integers(1, 400), max_size=6))
@example(b"5\r\nhello\r\n0\r\n\r\n", [1, 2, 3, 4, 8, 9])
def test_how_a_body_is_cut_makes_no_difference(octets: bytes, places: list[int]) -> None:
    whole = _outcome([octets])
    places = sorted({place for place in places if place < len(octets)})
    cut = [octets[start:end] for start, end in zip([0, *places], [*places, len(octets)], strict=True)]
    assert _outcome(cut) == whole
    assert _outcome([octets[at : at + 1] for at in range(len(octets))]) == whole

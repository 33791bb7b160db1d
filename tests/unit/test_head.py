"""The head of a response: what is encoded, what the wire decides, and what must never leave (RFC 9110 section 5.5)."""

from __future__ import annotations

import tracemalloc
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shardserve.http.head import (
    UNDECLARED,
    CheckedHead,
    date_line,
    encode_fields,
    encode_text,
    length_field,
    status_line,
)


def fields(*headers: tuple[Any, Any]) -> CheckedHead:
    return encode_fields(b"HTTP/1.1 200 OK", list(headers))


def encode(*headers: tuple[Any, Any]) -> bytes:
    return fields(*headers).octets + b"\r\n\r\n"


@pytest.mark.parametrize("status", [status for status in HTTPStatus if status >= 200])
def test_a_registered_status_has_its_phrase(status: HTTPStatus) -> None:
    assert status_line(status.value) == f"HTTP/1.1 {status.value} {status.phrase}".encode()


def test_an_unregistered_status_has_an_empty_phrase_but_keeps_the_space() -> None:
    assert status_line(299) == b"HTTP/1.1 299 "  # RFC 9112 section 4: the space is there also without a phrase
    assert status_line(999) == b"HTTP/1.1 999 "


@pytest.mark.parametrize("status", [-1, 0, 99, 100, 101, 103, 199, 1000, 20000])
def test_a_status_that_is_not_final_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match=str(status)):
        status_line(status)


@pytest.mark.parametrize("status", ["200", b"200", None])
def test_a_status_that_is_no_number_is_refused(status: Any) -> None:
    with pytest.raises(TypeError):
        status_line(status)


def test_the_date_is_an_imf_fixdate() -> None:
    assert date_line(784111777.9) == b"\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT"  # RFC 9110 section 5.6.7


def test_fields_keep_their_order_spelling_and_repeats() -> None:
    head = encode((b"Set-Cookie", b"a=b"), (b"x-a", b""), (b"Set-Cookie", b"c=d"), (b"X-A", b"\xe9 b\t"))
    assert head == b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nx-a: \r\nSet-Cookie: c=d\r\nX-A: \xe9 b\t\r\n\r\n"


def test_framing_fields_are_taken_out_and_told() -> None:
    head = fields(
        (b"Content-Length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"keep-alive"),
        (b"Keep-Alive", b"timeout=5"),
        (b"X-A", b"b"),
    )
    assert (head.octets, head.length, head.close, head.dated) == (b"HTTP/1.1 200 OK\r\nX-A: b", 5, False, False)
    assert fields((b"X-A", b"b")).length == UNDECLARED


@pytest.mark.parametrize("name", [b"Connection", b"connection", b"CONNECTION"])
@pytest.mark.parametrize("value", [b"close", b"Close", b"te, close"])
def test_an_application_may_ask_for_the_close(name: bytes, value: bytes) -> None:
    assert fields((name, value)).close


def test_an_own_date_is_noticed_in_any_spelling() -> None:
    for name in (b"Date", b"date", b"DATE"):
        assert fields((name, b"x")).dated
    assert not fields((b"X-Date", b"x")).dated


@pytest.mark.parametrize("value", [b"", b"a", b"-1", b"+1", b"1, 1", b" 1", b"1 ", b"1_0", b"\xb2"])
def test_a_content_length_that_is_no_number_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="content-length"):
        fields((b"Content-Length", value))


def test_content_lengths_may_repeat_but_not_differ() -> None:
    assert fields((b"Content-Length", b"5"), (b"content-length", b"5")).length == 5
    with pytest.raises(ValueError, match="differ"):
        fields((b"Content-Length", b"5"), (b"content-length", b"6"))


@pytest.mark.parametrize(
    "value",
    [b"a\r\nX-B: c", b"a\nX-B: c", b"a\rb", b"\r\n", b"\n", b"\r", b"a\x00b", b"a\r\n\r\n<html>", b"a\r\n b", b"a\n"],
)
@pytest.mark.parametrize("name", [b"X-A", b"Location", b"Date", b"Set-Cookie"])
def test_a_value_that_would_split_the_response_is_refused(name: bytes, value: bytes) -> None:
    for _ in range(2):  # also once the name is known
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            encode((name, value))
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            encode((b"X-Z", b"z"), (name, value), (b"X-Y", b"y"))


@pytest.mark.parametrize("name", [b"", b"X A", b"X:A", b"X\r\nA", b"X\n", b"X\x00", b"X-\xe9", b" X", b"X ", b"(X)"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="not a token"):
            encode((name, b"a"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", b"a"),
        (None, b"a"),
        (b"X-A", "a"),
        (b"X-A", 5),
        (b"X-A", None),
        (b"Date", "a"),
        (b"Content-Length", "5"),
        (b"Content-Length", 5),
        (b"Connection", "close"),
        (b"Connection", 5),
    ],
)
def test_anything_but_octets_is_a_type_error_in_every_field(name: Any, value: Any) -> None:
    with pytest.raises(TypeError):
        encode((name, value))


def test_a_bytearray_is_as_good_as_bytes_for_a_value() -> None:
    assert encode((b"X-A", bytearray(b"a"))) == b"HTTP/1.1 200 OK\r\nX-A: a\r\n\r\n"


@pytest.mark.parametrize("field", [(b"Server", b"x"), [b"Server", b"x"], (b"Server", bytearray(b"x"))])
def test_a_usual_field_means_the_same_when_it_comes_again(field: Any) -> None:
    for _ in range(3):
        assert encode(field, (b"Vary", b"y")) == b"HTTP/1.1 200 OK\r\nServer: x\r\nVary: y\r\n\r\n"
        assert encode_text(b"", iter([("Server", "x")])).octets == b"\r\nServer: x"  # those of octets and of text
        with pytest.raises(ValueError, match="holds CR, LF or NUL"):
            encode((b"Server", b"x\n"))


def test_a_head_that_comes_again_means_what_it_meant_whatever_came_between() -> None:
    usual = [(b"Server", b"x"), (b"Content-Length", b"5")]
    for _ in range(3):
        head = encode_fields(b"A", usual)
        assert (head.octets, head.length, head.close, head.dated) == (b"A\r\nServer: x", 5, False, False)
        assert encode_fields(b"B", iter(usual)).octets == b"B\r\nServer: x"
        assert encode_fields(b"A", [usual[0], (b"Content-Length", b"6")]).length == 6
        more = encode_fields(b"A", [*usual, (b"Connection", b"close"), (b"Date", b"d")])
        assert (more.octets, more.close, more.dated) == (b"A\r\nServer: x\r\ndate: d", True, True)
        with pytest.raises(ValueError, match="differ"):
            encode_fields(b"A", [*usual, (b"Content-Length", b"6")])
    usual[0] = (b"Server", b"y")
    assert encode_fields(b"A", usual).octets == b"A\r\nServer: y"


def test_an_application_that_makes_up_values_does_not_fill_the_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(9000):
            encode_fields(b"", iter([(b"Server", b"%0200d" % number)]))
            encode_fields(b"", [(b"Server", b"x"), (b"Content-Length", b"%d" % number)])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 9000 * 200


def test_an_application_that_makes_up_names_does_not_fill_the_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(3000):
            assert encode((b"X-%d" % number, b"a")) == b"HTTP/1.1 200 OK\r\nX-%d: a\r\n\r\n" % number
        before, _ = tracemalloc.get_traced_memory()
        for number in range(3000, 9000):
            encode((b"X-%d" % number, b"a"), (b"Content-Length", b"%d" % number))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 6000 * 8  # a name that was kept would take more than 100 octets
    with pytest.raises(ValueError, match="not a token"):  # and the check does not depend on the table
        encode((b"X 3001", b"a"))
    assert fields((b"cOnTent-LeNgth", b"5")).length == 5


@pytest.mark.parametrize("value", [b"1" * 19, b"9" * 40])
def test_a_content_length_beyond_any_file_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="content-length"):
        fields((b"Content-Length", value))
    assert fields((b"Content-Length", b"9" * 18)).length == int("9" * 18)


def test_text_becomes_the_same_head_as_octets() -> None:
    pairs = [("X-A", "b\xe9"), ("Content-Length", "7"), ("date", "x"), ("Connection", "Close"), ("x-a", "")]
    text = encode_text(b"HTTP/1.1 200 OK", pairs)
    octets = fields(*((name.encode(), value.encode("latin-1")) for name, value in pairs))
    for what in ("octets", "length", "close", "dated"):
        assert getattr(text, what) == getattr(octets, what)


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "\0", "\r\nX: y"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_text_that_would_split_the_response_is_refused_wherever_it_stands(bad: str, place: int) -> None:
    pairs = [("X-A", "1"), ("X-B", "2"), ("X-C", "3")]
    name = pairs[place][0]
    pairs[place] = (name, bad)
    with pytest.raises(ValueError, match=f"{name}.*holds CR, LF or NUL"):
        encode_text(b"HTTP/1.1 200 OK", pairs)


def test_a_subclass_of_str_is_as_good_as_str() -> None:
    class Safe(str):
        __slots__ = ()

    assert encode_text(b"", [(Safe("X-A"), Safe("b"))]).octets == b"\r\nX-A: b"


@pytest.mark.parametrize("name", [b"Connection", b"Keep-Alive", b"Transfer-Encoding", b"Date"])
def test_a_value_that_would_split_is_refused_in_fields_that_are_not_sent_as_well(name: bytes) -> None:
    with pytest.raises(ValueError, match="holds CR, LF or NUL"):
        fields((name, b"close\r\nX: y"))


NAMES = [
    "X-A",
    "x-a",
    "Content-Length",
    "content-length",
    "Date",
    "Connection",
    "Keep-Alive",
    "Set-Cookie",
    "X A",
    "",
    5,
]
VALUES = [
    "a",
    "",
    "5",
    "05",
    "6",
    "-1",
    "9" * 18,
    "9" * 19,
    "\xe9",
    "\u20ac",
    "a\rb",
    "a\nb",
    "\0",
    "close",
    "x" * 4000,
    5,
]


class Name(str):
    __slots__ = ()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*NAMES, Name("X-A")]), st.sampled_from([*VALUES, Name("v")])), max_size=5))
@example([("X-A", "x" * 4000), ("X-A", "y" * 100)])
@example([("X-A", "x" * (4096 - len("HTTP/1.1 200 OK\r\nX-A: "))), ("Content-Length", "1")])
def test_a_list_is_encoded_as_anything_else_that_has_its_fields(pairs: list[tuple[Any, Any]]) -> None:
    """Compiled, a list is read in another way; what it does not take, it leaves to the one for all."""

    def outcome(headers: Any, encode_any: Any) -> Any:
        try:
            head = encode_any(b"HTTP/1.1 200 OK", headers)
        except (TypeError, ValueError) as error:
            return type(error), str(error)
        return head.octets, head.length, head.close, head.dated

    for _ in range(2):  # names are known from the second time on
        assert outcome(pairs, encode_text) == outcome(iter(pairs), encode_text)
        octets = [tuple(one.encode("utf-8") if isinstance(one, str) else one for one in pair) for pair in pairs]
        assert outcome(octets, encode_fields) == outcome(iter(octets), encode_fields)


@pytest.mark.parametrize("field", [("X-A",), ("X-A", "a", "b"), ["X-A", "a"], "ab", None, 5])
def test_a_field_of_another_shape_is_the_same_in_a_list_and_elsewhere(field: Any) -> None:
    def outcome(headers: Any) -> Any:
        try:
            return encode_text(b"", headers).octets
        except TypeError as error:
            return str(error)

    assert outcome([("X-A", "1"), field]) == outcome(iter([("X-A", "1"), field]))


def test_a_head_that_is_kept_stays_what_it_is_when_others_are_encoded() -> None:
    kept = [encode_text(b"HTTP/1.1 200 OK", [("Content-Length", str(number))]) for number in range(3)]
    encode_text(b"HTTP/1.1 404 Not Found", [("X-A", "b")])
    assert [(head.octets, head.length) for head in kept] == [(b"HTTP/1.1 200 OK", number) for number in range(3)]


@pytest.mark.parametrize("length", [0, 1023, 1024, 10**12])
def test_a_length_has_its_field(length: int) -> None:
    assert length_field(length) == b"\r\ncontent-length: %d" % length
    assert length_field(length) == b"\r\ncontent-length: %d" % length

"""What compiled modules ask of C is what Python would do in its place."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from shardserve import native


class Octets(bytes):
    __slots__ = ()


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"",),
        (b"a", b"", b"bc"),
        (b"a", bytearray(b"b"), memoryview(b"c"), Octets(b"d")),
        (b"a" * 70_000, b"b" * 70_000),
    ],
)
def test_parts_are_joined_whatever_kind_of_octets_they_are(parts: tuple[Any, ...]) -> None:
    joined = native.join(parts)
    assert joined == b"".join(parts)
    assert type(joined) is bytes


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65535, 65536, 1 << 20])
def test_a_chunk_has_its_size_in_hexadecimal_digits(size: int) -> None:
    octets = b"x" * size
    for given in (octets, Octets(octets)):
        assert native.chunk(given, False) == b"%x\r\n%b\r\n" % (size, octets)
        assert native.chunk(given, True) == b"%x\r\n%b\r\n0\r\n\r\n" % (size, octets)
    with pytest.raises(TypeError):
        native.chunk(5, False)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [0, 1, 3, 4, 5, 100])
@pytest.mark.parametrize("part", [b"", b"a", b"bc", b"abcd", b"abcde", b"d"])
def test_a_part_is_found_where_it_stands(at: int, part: bytes) -> None:
    assert native.holds(b"abcd", at, part) == b"abcd".startswith(part, at)


@pytest.mark.parametrize(("octets", "at"), [(b"", 0), (b"a", 0), (b"a\n", 2), (b"\n\n", 1), (b"a\r\nb\n", 3)])
def test_the_second_line_begins_behind_the_first_line_feed(octets: bytes, at: int) -> None:
    assert native.second_line(octets) == at


@pytest.mark.parametrize("parts", [(b"a", "b"), (b"a", None), (b"a", 5)])
def test_what_is_no_octets_is_not_joined(parts: Any) -> None:
    with pytest.raises(TypeError):
        native.join(parts)


@pytest.mark.parametrize(
    ("owner", "name"),
    [([], "append"), ({}, "get"), ("a", "upper"), (gc, "collect"), (native, "join"), (dict, "fromkeys")],
)
def test_a_method_is_the_one_that_getattr_gives(owner: object, name: str) -> None:
    assert native.method(owner, name) == getattr(owner, name)


def test_a_method_keeps_its_owner() -> None:
    class Kept(set[int]):
        pass

    owner = Kept()
    add, gone = native.method(owner, "add"), weakref.ref(owner)
    del owner
    add(5)
    assert gone() == {5}
    del add
    gc.collect()
    assert gone() is None


def test_a_method_that_is_not_there_raises() -> None:
    with pytest.raises(AttributeError, match="no_such"):
        native.method([], "no_such")

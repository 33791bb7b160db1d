"""What compiled modules ask of C is what Python would do in its place."""

from __future__ import annotations

import gc
import os
import socket
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from shardserve import native

if TYPE_CHECKING:
    from pathlib import Path


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


def test_a_connection_is_accepted_with_the_names_that_the_socket_module_gives(address: Any) -> None:
    family, name = address
    with socket.socket(family) as listener:
        listener.bind(name)
        listener.listen()
        listener.setblocking(False)
        assert native.accept(listener) is None
        with socket.socket(family) as client:
            client.connect(listener.getsockname())
            accepted = native.accept(listener)
            assert accepted is not None
            with socket.socket(fileno=accepted[0]) as ours:
                assert not ours.getblocking() or not os.get_blocking(ours.fileno())
                assert not ours.get_inheritable()
                for said, known in (
                    (accepted[1], ours.getpeername()),
                    (native.own_name(ours.fileno()), ours.getsockname()),
                ):
                    assert said == (known[:2] if isinstance(said, tuple) and len(said) == 2 else known)


@pytest.fixture(
    params=[
        (socket.AF_INET, ("127.0.0.1", 0)),
        (socket.AF_INET, ("127.10.100.255", 0)),
        (socket.AF_INET6, ("::1", 0)),
        (socket.AF_INET6, ("::ffff:127.0.0.1", 0)),
        (socket.AF_UNIX, "s\udcff.sock"),
    ],
    ids=str,
)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    family, name = request.param
    if family == socket.AF_INET6:
        try:
            with socket.socket(family) as sock:
                sock.bind(name)
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
    return family, str(tmp_path / name) if family == socket.AF_UNIX else name


@pytest.mark.skipif(sys.platform != "linux", reason="names without a file are Linux's")
def test_what_is_no_plain_name_is_left_to_the_socket_module() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(b"\0abstract-%d" % os.getpid())
        assert native.own_name(listener.fileno()) in (None, listener.getsockname())


def test_our_name_is_told_anew_where_it_is_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        for sock in (one, other, other, one):
            assert native.own_name(sock.fileno()) == sock.getsockname()


def test_what_is_no_socket_is_an_error() -> None:
    for call in (native.own_name, native.end_writing, native.close_socket):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call(1 << 20)

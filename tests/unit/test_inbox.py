"""Inboxes: connections that lie between two workers are kept, in order, and nobody blocks."""

from __future__ import annotations

import math
import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from support.proc import few_descriptors

from shardserve.net.inbox import GIVEN, PUSHED, WANTED, Inbox, end, has_room, is_empty, put, take

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="packets with descriptors are used on Linux only")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    yield ends
    for one in ends:
        one.close()


def test_a_connection_arrives_with_what_was_read_of_it(inbox: Inbox, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    assert put(inbox.writing, PUSHED, b"GET / ", theirs.fileno())
    theirs.close()  # as the giver does
    packet = take(inbox.reading)
    assert packet is not None
    assert (packet.kind, packet.octets) == (PUSHED, b"GET / ")
    assert packet.connection is not None
    packet.connection.sendall(b"alive")
    assert ours.recv(10) == b"alive"
    packet.connection.close()
    assert ours.recv(10) == b"", "no other copy is left"


def test_packets_keep_their_order_and_their_bounds(inbox: Inbox, pair: tuple[socket.socket, socket.socket]) -> None:
    assert take(inbox.reading) is None
    assert is_empty(inbox.reading)
    put(inbox.writing, WANTED, b"\x03")
    put(inbox.writing, GIVEN, b"", pair[0].fileno())
    assert not is_empty(inbox.reading)
    first, second = take(inbox.reading), take(inbox.reading)
    assert first == (WANTED, b"\x03", None, math.inf, False)
    assert second is not None
    assert (second.kind, second.octets) == (GIVEN, b"")
    assert second.connection is not None
    second.connection.close()
    assert take(inbox.reading) is None
    assert is_empty(inbox.reading)


def test_what_does_not_fit_stays_with_the_sender(inbox: Inbox, pair: tuple[socket.socket, socket.socket]) -> None:
    fits = 0
    while put(inbox.writing, GIVEN, b"x" * 1000, pair[0].fileno()):
        fits += 1
        assert fits < 100_000
    assert fits > 50
    taken = 0
    while (packet := take(inbox.reading)) is not None:
        assert packet.connection is not None
        packet.connection.close()
        taken += 1
    assert taken == fits
    assert put(inbox.writing, PUSHED, b"x" * 66_000, pair[0].fileno()), "the largest request that may be moved"


def test_what_lies_there_outlives_the_process_that_put_it(
    inbox: Inbox, pair: tuple[socket.socket, socket.socket]
) -> None:
    pid = os.fork()
    if pid == 0:
        put(inbox.writing, GIVEN, b"from a child", pair[1].fileno())
        os._exit(0)
    os.waitpid(pid, 0)
    packet = take(inbox.reading)
    assert packet is not None
    assert packet.octets == b"from a child"
    assert packet.connection is not None
    packet.connection.close()


def test_what_would_arrive_cut_is_not_sent(inbox: Inbox, pair: tuple[socket.socket, socket.socket]) -> None:
    assert not put(inbox.writing, GIVEN, b"x" * (1 << 18), pair[0].fileno())
    assert is_empty(inbox.reading)
    largest = b"x" * ((1 << 18) - 18)
    if put(inbox.writing, GIVEN, largest, pair[0].fileno(), answer_by=7.5):  # else the kernel allows smaller buffers
        packet = take(inbox.reading)
        assert packet is not None
        assert packet.octets == largest
        assert packet.answer_by == 7.5
        assert packet.connection is not None
        packet.connection.close()


def test_an_inbox_that_has_ended_takes_nothing_and_keeps_what_it_has(
    inbox: Inbox, pair: tuple[socket.socket, socket.socket]
) -> None:
    assert put(inbox.writing, GIVEN, b"before", pair[0].fileno())
    end(inbox.reading)
    assert not put(inbox.writing, GIVEN, b"after", pair[0].fileno())
    end(inbox.reading)  # as whoever else holds it does
    packet = take(inbox.reading)
    assert packet is not None
    assert packet.octets == b"before"
    assert packet.connection is not None
    packet.connection.close()
    with pytest.raises(EOFError):
        take(inbox.reading)


def test_a_connection_waits_until_there_is_a_descriptor_for_it(
    inbox: Inbox, pair: tuple[socket.socket, socket.socket]
) -> None:
    put(inbox.writing, GIVEN, b"kept", pair[1].fileno(), copied=True)
    for free in (0, 1):
        with few_descriptors(os.getpid(), free):
            assert not has_room(inbox.reading)
            with pytest.raises(OSError, match="Too many open files"):
                take(inbox.reading)
            assert not is_empty(inbox.reading)
    with few_descriptors(os.getpid(), free=2):
        assert has_room(inbox.reading)
        packet = take(inbox.reading)
    assert packet is not None
    assert (packet.octets, packet.copied) == (b"kept", True)
    assert packet.connection is not None
    assert not packet.connection.get_inheritable()
    packet.connection.sendall(b"alive")
    assert pair[0].recv(10) == b"alive"
    packet.connection.close()
    assert is_empty(inbox.reading)


def test_two_that_take_from_one_inbox_lose_nothing(inbox: Inbox) -> None:
    """A worker and the one that replaces it; each has just the two descriptors that it takes."""
    pairs = [socket.socketpair() for _ in range(200)]
    for number, (_, theirs) in enumerate(pairs):
        assert put(inbox.writing, GIVEN, b"%d" % number, theirs.fileno())
        theirs.close()
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            with few_descriptors(os.getpid(), free=2):
                while (packet := take(inbox.reading)) is not None:
                    if packet.connection is not None:
                        packet.connection.sendall(packet.octets)
                        packet.connection.close()
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    inbox.close()
    for number, (ours, _) in enumerate(pairs):
        assert ours.recv(10) == b"%d" % number
        ours.close()

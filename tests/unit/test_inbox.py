"""Inboxes: connections that lie between two workers are kept, in order, and nobody blocks."""

from __future__ import annotations

import math
import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from shardserve.net.inbox import GIVEN, PUSHED, WANTED, Inbox, is_empty, put, take

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
    for end in ends:
        end.close()


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
    assert first == (WANTED, b"\x03", None, math.inf)
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
    largest = b"x" * ((1 << 18) - 9)
    if put(inbox.writing, GIVEN, largest, pair[0].fileno(), answer_by=7.5):  # else the kernel allows smaller buffers
        packet = take(inbox.reading)
        assert packet is not None
        assert packet.octets == largest
        assert packet.answer_by == 7.5
        assert packet.connection is not None
        packet.connection.close()

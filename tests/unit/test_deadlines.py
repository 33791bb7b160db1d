"""Deadlines of many connections at once: each is kept, and nobody waits for all of them."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.wire import Driver, read_answers

from shardserve.http.service import EXPIRIES, Timeouts

if TYPE_CHECKING:
    from support.wire import MemoryTransport

MANY = 3 * EXPIRIES + 1
HALF = b"GET / HTTP/1.1\r\n"
REST = b"Host: a\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/wait":
        while (await receive())["type"] != "http.disconnect":
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def open_many(wire: Driver, octets: bytes) -> list[MemoryTransport]:
    """Open connections that have sent `octets`."""
    made = []
    for _ in range(MANY):
        made.append(wire.connect())
        wire.feed(octets)
    return made


def statuses(transports: list[MemoryTransport]) -> list[list[int]]:
    return [[answer.status for answer in read_answers(bytes(one.sent))] for one in transports]


@pytest.mark.parametrize(
    ("octets", "status"), [(HALF, 408), (b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n", 504)], ids=["heads", "answers"]
)
def test_many_that_are_due_at_once_have_their_end_in_several_turns_of_the_loop(octets: bytes, status: int) -> None:
    with Driver.asgi(hello, timeouts=Timeouts(request=10)) as wire:
        slow = open_many(wire, octets)
        ended = []

        def tick() -> None:
            wire.clock.now += 11
            wire.service.tick()
            ended.append(len([one for one in slow if one.sent]))
            wire.loop.call_soon(lambda: ended.append(len([one for one in slow if one.sent])))

        wire.do(tick)
        assert ended == [EXPIRIES, 2 * EXPIRIES]
        assert statuses(slow) == [[status]] * MANY


def test_a_head_that_is_complete_before_its_turn_to_be_refused_is_served() -> None:
    with Driver.asgi(hello) as wire:
        slow = open_many(wire, HALF)
        late: list[MemoryTransport] = []

        def tick() -> None:
            wire.clock.now += 11
            wire.service.tick()
            late.extend(one for one in slow if not one.sent)
            late[0]._protocol.data_received(REST)

        wire.do(tick)
        assert statuses(late) == [[200]] + [[408]] * (len(late) - 1)


def test_a_tick_before_all_had_their_turn_loses_none_and_repeats_none() -> None:
    with Driver.asgi(hello) as wire:
        slow = open_many(wire, HALF)

        def ticks() -> None:
            wire.clock.now += 11
            for _ in range(3):
                wire.service.tick()

        wire.do(ticks)
        assert statuses(slow) == [[408]] * MANY
        wire.wait(1)
        assert statuses(slow) == [[408]] * MANY


def test_many_bodies_that_keep_the_pace_are_looked_at_each_second() -> None:
    with Driver.asgi(hello, timeouts=Timeouts(body_min_rate=0, body=5)) as wire:
        slow = open_many(wire, b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
        for _ in range(5):
            wire.wait(1)
        for one in slow[::2]:
            one.arrive(b"x")
        wire.wait(1).wait(1)
        assert statuses(slow) == [[], [408]] * (MANY // 2) + [[]]
        for _ in range(5):
            wire.wait(1)
        assert statuses(slow) == [[408]] * MANY


class UnreadTransport:
    """A socket, with octets that nobody has read yet, behind a transport of the loop's."""

    def __init__(self, transport: MemoryTransport) -> None:
        ours, self.theirs = socket.socketpair()
        self._ours = transport._extra["socket"] = ours  # type: ignore[attr-defined]  # of asyncio.BaseTransport
        self.theirs.send(b"x")

    def close(self) -> None:
        self._ours.close()
        self.theirs.close()


@pytest.mark.parametrize("reads", [True, False], ids=["read meanwhile", "never read"])
@pytest.mark.parametrize(("octets", "rest"), [(HALF, REST), (b"", HALF + REST)], ids=["head", "idle"])
def test_octets_that_the_loop_has_not_read_put_a_deadline_off_by_one_tick(
    octets: bytes, rest: bytes, reads: bool
) -> None:
    with Driver.asgi(hello, timeouts=Timeouts(keep_alive=5, header=5)) as wire:
        if octets:
            wire.feed(octets)
        with contextlib.closing(UnreadTransport(wire.transport)):
            wire.wait(6)
            assert not wire.closed
            if reads:
                wire.feed(rest)
            wire.wait(1)
            assert wire.closed is not reads
        assert statuses([wire.transport]) == [[200] if reads else [408] if octets else []]


def test_a_body_has_not_paused_where_it_was_read_late() -> None:
    with Driver.asgi(hello, timeouts=Timeouts(body_min_rate=0, body=5)) as wire:
        wire.feed(b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        for _ in range(3):
            wire.clock.now += 9  # a call of the application: what comes meanwhile is read behind it
            wire.feed(b"x")
            wire.wait(1)
            assert not wire.transport.sent
        for _ in range(7):
            wire.wait(1)
        assert statuses([wire.transport]) == [[408]]

"""The lines of the access log, and what becomes of them where nobody takes them."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.taker import Taker

from shardserve.errors import ConfigError
from shardserve.http.access import AccessLog
from shardserve.http.request import Request
from shardserve.logs import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
PIPE = 65536  # octets, Linux's default


def request(target: bytes = b"/", *headers: tuple[bytes, bytes], method: str = "GET") -> Request:
    made = Request()
    made.method, made.version = method, "1.1"
    made.path, _, made.query = target.partition(b"?")
    made.headers = [(b"host", b"x"), *headers]
    made.first = None
    return made


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def line(loop: asyncio.AbstractEventLoop, format_: str, asked: Request | None, status: int = 200, sent: int = 5) -> str:
    taker: Any = Taker()
    log = AccessLog(loop, taker, format_)
    client = ("127.0.0.1", 4)
    if asked is None:
        log.record_unread(client, status, sent)
    else:
        log.record(None, client, asked, status, sent, loop.time() - 1.5)
    log.flush()
    text: str = taker.octets.decode()
    assert text.endswith("\n")
    return text[:-1]


FULL = request(
    b"/a?b=c",
    (b"authorization", b"Basic YWRhOmxvdmVsYWNl"),
    (b"referer", b"http://r/"),
    (b"user-agent", b"curl"),
    (b"user-agent", b"second"),
)


@pytest.mark.parametrize(
    ("format_", "asked", "expected"),
    [
        ("%(h)s|%(l)s|%(u)s|%(r)s", FULL, "127.0.0.1|-|ada|GET /a?b=c HTTP/1.1"),
        ("%(m)s|%(U)s|%(q)s|%(H)s", FULL, "GET|/a|b=c|HTTP/1.1"),
        ("%(s)s|%(B)s|%(b)s|%(f)s|%(a)s", FULL, "200|5|5|http://r/|curl"),
        ("%(a)s|%({User-Agent}i)s|%({x}i)s|%(a)s", FULL, "curl|curl|-|curl"),
        ("%({authorization}i)s|%(u)s", FULL, "Basic YWRhOmxvdmVsYWNl|ada"),
        ("%(T)s|%(M)s|%(D)s|%(L)s", FULL, r"1|15\d\d|15\d{5}|1\.5\d{5}"),
        ("%(p)s", FULL, r"<\d+>"),
        ("%(s)s", FULL, "200"),
        ("", FULL, ""),
        ("a %% b", FULL, "a % b"),
        ("%%%(s)s%%", FULL, "%200%"),
        ("%(f)s|%(a)s|%(u)s", request(), "-|-|-"),
        ("%(u)s", request(b"/", (b"authorization", b"Bearer x")), "-"),
        ("%(u)s", request(b"/", (b"authorization", b"Basic !")), "-"),
        ("%(a)s", request(b"/", (b"user-agent", b"")), ""),
        ("%(r)s|%(m)s|%(U)s|%(q)s|%(H)s|%(a)s|%(T)s", None, "-|-|-||-|-|0"),
    ],
)
def test_atoms(loop: asyncio.AbstractEventLoop, format_: str, asked: Request | None, expected: str) -> None:
    said = line(loop, format_, asked)
    assert re.fullmatch(expected.replace("|", r"\|") if "\\" in expected else re.escape(expected), said), said


@pytest.mark.parametrize("status_sent", [(200, 0), (499, 0), (404, 1 << 40)])
def test_status_and_octets(loop: asyncio.AbstractEventLoop, status_sent: tuple[int, int]) -> None:
    status, sent = status_sent
    assert line(loop, "%(s)s %(B)s %(b)s", request(), status, sent) == f"{status} {sent} {sent or '-'}"


def test_an_unknown_atom(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(ConfigError, match=r"there is no atom %\(zz\)s; there are h l u"):
        line(loop, "%(zz)s", request())


@pytest.mark.parametrize("atom", ["%(r)s", "%(U)s", "%(q)s", "%(f)s", "%(a)s", "%({x}i)s", "%({authorization}i)s"])
def test_nothing_of_a_client_is_written_as_it_is(loop: asyncio.AbstractEventLoop, atom: str) -> None:
    bad = bytes(range(256))
    names = (b"referer", b"user-agent", b"x", b"authorization")
    asked = request(b"/", *((name, bad) for name in names))
    asked.path, asked.query = b"/" + bad, bad
    for _ in range(2):  # the second time from the table of what is known
        said = line(loop, atom, asked)
        assert said.isprintable()
        assert re.search(r'(?<!\\)"', said) is None
        assert r"\x00" in said
        assert r"\n" in said
        assert r"\\" in said


def test_a_name_from_credentials_is_escaped_and_is_never_taken_for_a_text_that_is_known(
    loop: asyncio.AbstractEventLoop,
) -> None:
    value = b"Basic YSIKOng="  # a"\n:x
    taker: Any = Taker()
    log = AccessLog(loop, taker, "%(u)s %(a)s")
    for name in (b"user-agent", b"authorization"):
        log.record(None, None, request(b"/", (name, value)), 200, 0, 0.0)
    log.flush()
    assert taker.octets.decode().splitlines() == [f"- {value.decode()}", r"a\"\n -"]


def test_many_different_texts_are_written_right(loop: asyncio.AbstractEventLoop) -> None:
    # More than are kept, long ones among them that never are.
    taker: Any = Taker()
    log = AccessLog(loop, taker, "%(r)s")
    targets = [b"/%d" % number + b"x" * (number % 400) for number in range(2500)] * 2
    for target in targets:
        log.record(None, None, request(target), 200, 0, 0.0)
    log.flush()
    assert taker.octets == b"".join(b"GET %s HTTP/1.1\n" % target for target in targets)


@pytest.mark.parametrize("format_", [DEFAULT, "%(s)s", "%(r)s %(h)s", "%(a)s %(U)s %(B)s %(a)s", "%(m)s"])
@settings(deadline=None)
@given(st.data())
def test_a_line_is_the_same_whatever_came_before_it_on_its_connection(format_: str, data: st.DataObject) -> None:
    # As connections.LastHead has them: some have fields that came before, in any order.
    origins = [request(b"/", (b"user-agent", agent), (b"referer", agent)) for agent in (b"one", b"two")]
    asked = []
    for _ in range(data.draw(st.integers(1, 6))):
        target = data.draw(st.sampled_from([b"/", b"/a", b"/?q", b'/"']))
        origin = data.draw(st.sampled_from([None, *origins]))
        made = request(target, method=data.draw(st.sampled_from(["GET", "HEAD"])))
        if origin is not None:
            made.headers, made.first = origin.headers, origin
        asked.append((made, data.draw(st.sampled_from([200, 404])), data.draw(st.sampled_from([0, 5]))))
    loop = asyncio.new_event_loop()
    takers: list[Any] = [Taker(), Taker()]
    logs = [AccessLog(loop, taker, format_) for taker in takers]
    while True:  # within one second
        last, began = None, int(time.time())
        for made, status, sent in asked:
            last = logs[0].record(last, ("127.0.0.1", 4), made, status, sent, 0.0)
            logs[1].record(None, ("127.0.0.1", 4), made, status, sent, 0.0)
        if int(time.time()) == began:
            break
        for log, taker in zip(logs, takers, strict=True):
            log.flush()
            taker.octets = b""
    for log in logs:
        log.flush()
    loop.close()
    assert takers[0].octets.count(b"\n") == len(asked)
    assert takers[0].octets == takers[1].octets


def test_the_time_moves_on(loop: asyncio.AbstractEventLoop) -> None:
    taker: Any = Taker()
    log = AccessLog(loop, taker, "%(t)s %(s)s")
    moments: list[set[str]] = []
    asked, last = request(), None
    repeated = request()
    repeated.first = asked
    for again in range(2):
        while again and time.strftime("[%d/%b/%Y:%H:%M:%S %z]") in moments[0]:
            time.sleep(0.02)
        began = time.strftime("[%d/%b/%Y:%H:%M:%S %z]")
        last = log.record(last, None, repeated if again else asked, 200, 0, 0.0)
        moments.append({began, time.strftime("[%d/%b/%Y:%H:%M:%S %z]")})
    log.flush()
    said = [one.rpartition(" ")[0] for one in taker.octets.decode().splitlines()]
    assert len(set(said)) == 2
    assert all(one in times for one, times in zip(said, moments, strict=True))


# What nobody takes


def record(log: AccessLog, numbers: range) -> None:
    for number in numbers:
        log.record(None, None, request(b"/%07d" % number), 200, 0, 0.0)


def numbers(octets: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"^GET /(\d{7}) HTTP/1.1$", octets, re.MULTILINE)]


async def _settle(taker: Taker, end: bytes) -> None:
    for _ in range(500):
        if taker.octets.endswith(end):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"ends with {taker.octets[-100:]!r}")


@pytest.mark.parametrize("room", [0, 1, 30, 1000])
def test_what_does_not_leave_at_once_leaves_later_in_order(room: int) -> None:
    async def scenario() -> None:
        taker: Any = Taker(room)
        log = AccessLog(asyncio.get_running_loop(), taker, "%(r)s")
        record(log, range(100))
        await asyncio.sleep(0)
        record(log, range(100, 200))
        await asyncio.sleep(0)
        assert len(taker.octets) == room
        taker.room = 1 << 30
        await _settle(taker, b"/0000199 HTTP/1.1\n")  # by itself, no further request comes
        assert numbers(taker.octets) == list(range(200))

    asyncio.run(scenario())


def test_beyond_a_bound_lines_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        taker: Any = Taker(10)
        log = AccessLog(asyncio.get_running_loop(), taker, "%(r)s")
        record(log, range(100_000))  # 2.3 MB, of which 1 MiB is kept
        await asyncio.sleep(0)
        taker.room = 1 << 30
        log.flush()
        record(log, range(100_000, 100_010))
        await asyncio.sleep(0)
        kept = numbers(taker.octets)
        missing = 100_010 - len(kept)
        assert kept == [*range(len(kept) - 10), *range(100_000, 100_010)]
        assert 40_000 < len(kept) < 50_000
        assert b"\n(%d lines are missing here: nobody took them)\nGET /0100000" % missing in taker.octets

    with caplog.at_level(logging.WARNING, "shardserve"):
        asyncio.run(scenario())
    said = [int(entry.args[0]) for entry in caplog.records]  # type: ignore[index, call-overload]
    assert len(said) == 2  # at once, and when it is over
    assert sum(said) > 50_000


def test_at_the_end_it_waits_a_moment_and_then_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        taker: Any = Taker(0)
        log = AccessLog(asyncio.get_running_loop(), taker, "%(r)s")
        record(log, range(7))
        await log.finish(0.1)
        assert taker.octets == b""
        taker.room = 1 << 30
        log.flush()
        assert taker.octets.startswith(b"(7 lines are missing here")

    with caplog.at_level(logging.WARNING, "shardserve"):
        asyncio.run(scenario())
    assert "7 lines of the access log are lost" in caplog.text


@pytest.mark.parametrize("shared", [False, True], ids=["opened anew", "shared"])
def test_a_full_pipe_takes_whole_lines_and_blocks_nobody(shared: bool) -> None:
    read_end, write_end = os.pipe()
    sink = Sink(write_end)
    sink._shared = shared  # as for a pipe of another user's, which cannot be opened anew
    if shared:
        os.close(sink._descriptor)
        sink._descriptor = os.dup(write_end)
        assert not fcntl.fcntl(write_end, fcntl.F_GETFL) & os.O_NONBLOCK
    lines = b"".join(b"%07d %s\n" % (number, b"x" * (number % 90)) for number in range(3000))
    taken = 0
    got = b""
    while taken < len(lines):
        step = sink.take(lines[taken:])
        assert step < 2 * PIPE  # it has returned at a full pipe
        taken += step
        assert lines[:taken].endswith(b"\n")
        got += os.read(read_end, PIPE * 2)
    got += os.read(read_end, PIPE * 2) if len(got) < len(lines) else b""
    assert got == lines
    for descriptor in {read_end, write_end, sink.fileno()}:
        os.close(descriptor)

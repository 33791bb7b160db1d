"""A WSGI application called on the loop's own thread: steps, contexts, the hidden loop, streams beside others."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import select
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from support.wire import NEXT, Driver, read_answers, request

from shardserve.gateway.inside import Inside
from shardserve.gateway.spool import MEMORY_MAX
from shardserve.gateway.wsgi_inline import InlineGateway
from shardserve.http.exchange import Exchange
from shardserve.net.loads import Aim, Load, Loads
from shardserve.net.poller import Poller
from shardserve.worker.handover import Handover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK = "200 OK"
TEXT = [("Content-Type", "text/plain")]
BLOCK = 10_000


def drive(app: Any, **settings: Any) -> Driver:
    return Driver.wsgi(app, inline=True, **settings)


def answers_of(octets: bytearray) -> list[bytes]:
    return [one.body for one in read_answers(bytes(octets))]


class Blocks:
    """A response that notes what is done with it, and by whom."""

    def __init__(self, *blocks: bytes, then: Callable[[], None] = lambda: None) -> None:
        self.blocks = iter(blocks)
        self.given = self.closed = 0
        self.threads: set[int] = set()
        self.then = then

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.threads.add(threading.get_ident())
        self.given += 1
        return next(self.blocks)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1
        self.then()


def returning(*results: Any) -> Any:
    """Answers each call with the next of these."""
    left = iter(results)

    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, TEXT)
        return next(left)

    return app


def test_everything_is_done_on_the_loops_thread() -> None:
    blocks = Blocks(b"a", b"b")
    threads: set[int] = set()

    def app(environ: Any, start_response: Any) -> Any:
        threads.add(threading.get_ident())
        start_response(OK, TEXT)
        return blocks

    with drive(app) as wire:
        wire.feed(request())
        assert wire.answer().body == b"ab"
    assert threads == blocks.threads == {threading.get_ident()}
    assert blocks.closed == 1


def test_a_small_answer_is_there_without_a_further_turn_of_the_loop() -> None:
    seen: list[int] = []
    with drive(returning(*[[b"ok"]] * 60)) as wire:
        gateway = wire.gateway
        assert isinstance(gateway, InlineGateway)

        def at_once() -> None:
            wire.connection.data_received(request() * 3)
            if not gateway._resting:  # the machine has interrupted a call for 2 ms: behind that one the loop turns
                seen.append(wire.output.count(b"200 OK"))

        for _ in range(20):
            wire.connect()
            wire.do(at_once)
    assert set(seen) == {3}


def test_a_stream_whose_client_does_not_read_holds_nobody_up_and_makes_no_block_ahead() -> None:
    stream = Blocks(*[b"x" * BLOCK] * 50)
    with drive(returning(stream, *[[b"ok"]] * 20)) as wire:
        slow = wire.transport
        slow.stop_taking()
        wire.feed(request())
        given = stream.given
        assert given * BLOCK <= slow.HIGH_WATER + 2 * BLOCK
        for _ in range(20):
            wire.connect()
            wire.feed(request())
            assert wire.answer().body == b"ok"
        assert stream.given == given
        assert len(wire.service.running) == 1
        slow.take()
        wire.finish()
        assert answers_of(slow.sent) == [b"x" * BLOCK * 50]
    assert stream.closed == 1


def test_a_stream_whose_client_keeps_up_gives_others_their_turn() -> None:
    """An endless one: without turns for others the second answer would never come."""

    def endless() -> Iterator[bytes]:
        while True:
            time.sleep(0.0005)
            yield b"x"

    with drive(returning(endless(), [b"ok"])) as wire:
        stream = wire.transport
        other = wire.connect()
        stream.arrive(request())
        other.arrive(request())
        wire.loop.run_until_complete(asyncio.wait_for(until(lambda: other.sent), 10))
        assert answers_of(other.sent) == [b"ok"]
        assert stream.sent
        stream.reset()
        wire.finish()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_a_stream_is_closed_as_soon_as_its_client_is_gone() -> None:
    stream = Blocks(*[b"x" * BLOCK] * 50)
    with drive(returning(stream)) as wire:
        wire.transport.stop_taking()
        wire.feed(request())
        given = stream.given
        assert not stream.closed
        wire.reset()
        assert (stream.closed, stream.given) == (1, given)
        assert not wire.service.running


def test_a_stream_is_closed_when_the_workers_time_is_up() -> None:
    stream = Blocks(*[b"x" * BLOCK] * 50)
    with drive(returning(stream)) as wire:
        wire.transport.stop_taking()
        wire.feed(request())
        wire.do(wire.service.cut)
        assert stream.closed == 1
        assert not wire.service.running


_variable: contextvars.ContextVar[str] = contextvars.ContextVar("_variable", default="fresh")


def test_each_call_keeps_a_context_of_its_own_through_all_its_steps() -> None:
    seen: list[str] = []

    def stream(name: str) -> Iterator[bytes]:
        for _ in range(20):
            seen.append(_variable.get())
            yield name.encode() * BLOCK

    def app(environ: Any, start_response: Any) -> Any:
        assert _variable.get() == "fresh"
        name = environ["PATH_INFO"][1:]
        _variable.set(name)
        start_response(OK, TEXT)
        return Blocks(*stream(name), then=lambda: seen.append(_variable.get()))

    with drive(app) as wire:
        transports = [wire.transport, wire.connect()]
        for transport, name in zip(transports, "ab", strict=True):
            transport.stop_taking()
            transport.arrive(request(b"/" + name.encode()))
        wire.settle()
        for transport in transports:
            transport.take()
        wire.finish()
        assert [answers_of(one.sent) for one in transports] == [[b"a" * 20 * BLOCK], [b"b" * 20 * BLOCK]]
        assert wire.loop.run_until_complete(get_variable()) == "fresh"
    assert seen.count("a") == seen.count("b") == 21


async def get_variable() -> str:
    return _variable.get()


def test_no_loop_runs_in_any_step_and_the_servers_own_is_there_again_afterwards() -> None:
    found: list[asyncio.AbstractEventLoop | None] = []

    def look() -> None:
        found.append(asyncio._get_running_loop())
        asyncio.run(asyncio.sleep(0))

    def app(environ: Any, start_response: Any) -> Any:
        look()
        start_response(OK, TEXT)
        return Blocks(*blocks(), then=look)

    def blocks() -> Iterator[bytes]:
        look()
        yield b"a"
        look()

    after: list[asyncio.AbstractEventLoop] = []
    with drive(app) as wire:

        def feed() -> None:
            wire.connection.data_received(request())
            after.append(asyncio.get_running_loop())

        wire.do(feed)
        assert wire.answer().body == b"a"
        assert after == [wire.loop]
    assert found == [None] * 4


def test_the_loop_is_there_again_after_a_failure() -> None:
    after: list[asyncio.AbstractEventLoop] = []

    def app(environ: Any, start_response: Any) -> Any:
        raise SystemExit

    with drive(app) as wire:

        def feed() -> None:
            wire.connection.data_received(request())
            after.append(asyncio.get_running_loop())

        wire.do(feed)
        assert wire.answer().status == 500
        assert after == [wire.loop]


@pytest.mark.parametrize("size", [3 * BLOCK, 3 * MEMORY_MAX])
def test_what_write_is_given_beyond_what_the_client_takes_is_kept_without_waiting(size: int) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response(OK, [*TEXT, ("Content-Length", str(size + 4))])
        for _ in range(size // BLOCK):
            write(b"x" * BLOCK)
        write(b"x" * (size % BLOCK))
        return [b"last"]

    with drive(app) as wire:
        room = wire.gateway.room.left
        wire.transport.stop_taking()
        wire.feed(request() + NEXT)
        assert len(wire.transport.unread) <= 2 * wire.transport.HIGH_WATER + 2 * BLOCK
        while wire.transport.unread:
            wire.take()
        wire.finish()
        assert [one.body for one in wire.answers()] == [b"x" * size + b"last"] * 2
        assert wire.gateway.room.left == room


def test_write_to_a_client_that_has_got_all_it_may_ends_the_call(caplog: pytest.LogCaptureFixture) -> None:
    wrote: list[int] = []

    def app(environ: Any, start_response: Any) -> Any:
        write = start_response(OK, [("Content-Length", "5")])
        for number in range(5):
            write(b"four")
            wrote.append(number)
        return []

    with drive(app) as wire:
        wire.feed(request())
        assert wire.answer().body == b"fourf"
        assert wire.closed
    assert wrote == [0, 1]
    assert "longer than its Content-Length" in caplog.text
    assert "failed" not in caplog.text


def test_hints_leave_during_the_call() -> None:
    sent: list[bytes] = []

    def app(environ: Any, start_response: Any) -> Any:
        environ["wsgi.early_hints"]([("Link", "</a.css>")])
        sent.append(wire.output)
        start_response(OK, TEXT)
        return [b"ok"]

    with drive(app) as wire:
        wire.feed(request())
    assert sent[0].startswith(b"HTTP/1.1 103 ")
    assert wire.statuses() == [103, 200]


def takes(seconds: float) -> Any:
    """An application of which each call takes so long."""

    def app(environ: Any, start_response: Any) -> Any:
        time.sleep(seconds)
        start_response(OK, TEXT)
        return [b"ok"]

    return app


class NotingPoller(Poller):
    """Notes when it is told to rest."""

    told: list[str]

    def rest(self) -> None:
        self.told.append("rest")

    def go_on(self) -> None:
        self.told.append("go on")


class TestLongSteps:
    """After one the loop turns before the next call: commands, ticks and new requests are seen between calls."""

    @pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs epoll(7): Linux")
    def test_no_connection_is_read_until_all_calls_that_wait_have_been_made(self) -> None:
        """Else a worker that has enough to do reads each request long before it is called."""
        told: list[str] = []

        def app(environ: Any, start_response: Any) -> Any:
            told.append(environ["PATH_INFO"])
            time.sleep(0.004)
            start_response(OK, TEXT)
            return [b"ok"]

        with drive(app) as wire:
            wire.service.poller = poller = NotingPoller(wire.loop, contextvars.copy_context())
            poller.told = told
            for number, client in enumerate((wire.transport, wire.connect())):
                client.arrive(request(b"/%d" % number))
            wire.settle()
            poller.close()
        assert told == ["/0", "rest", "/1", "rest", "go on"]

    def test_the_loop_turns_between_long_calls_in_order_of_arrival(self) -> None:
        seen: list[str] = []

        def app(environ: Any, start_response: Any) -> Any:
            seen.append(environ["PATH_INFO"])
            wire.loop.call_soon(seen.append, "turn")
            time.sleep(0.004)
            start_response(OK, TEXT)
            return [b"ok"]

        with drive(app) as wire:
            clients = [wire.transport, wire.connect(), wire.connect()]
            for number, client in enumerate(clients):
                client.arrive(request(b"/%d" % number))
            wire.settle()
            assert [answers_of(client.sent) for client in clients] == [[b"ok"]] * 3
        assert seen == ["/0", "turn", "/1", "turn", "/2", "turn"]

    def test_what_waits_is_given_to_a_worker_that_is_idle(self) -> None:
        given: list[bytes] = []

        def give(descriptor: int, octets: bytes, answer_by: float, copied: bool) -> bool:
            given.append(octets)
            return True

        with drive(takes(0.004)) as wire:
            wire.service.give_idle = give
            clients = [wire.transport, wire.connect()]
            for client, octets in zip(clients, (request(), request() + NEXT), strict=True):
                client._extra["socket"] = FakeSocket()
                client.arrive(octets)
            wire.settle()
            assert answers_of(clients[0].sent) == [b"ok"]
            assert given == [request() + NEXT]
            assert clients[1].aborted

    def test_nothing_that_waits_is_tried_while_nobody_is_idle(self) -> None:
        """With many connections each request waits: to try all of them in each turn cost more than small calls."""
        asked = tried = 0

        def has_idle() -> bool:
            nonlocal asked
            asked += 1
            return False

        def give(*_: object) -> bool:
            nonlocal tried
            tried += 1
            return False

        with drive(takes(0.0025)) as wire:
            wire.service.give_idle, wire.service.has_idle = give, has_idle
            clients = [wire.transport, *(wire.connect() for _ in range(9))]
            for client in clients:
                client._extra["socket"] = FakeSocket()
                client.arrive(request())
            wire.settle()
            assert [answers_of(client.sent) for client in clients] == [[b"ok"]] * 10
        assert tried == 0
        assert 0 < asked <= 2 * len(clients)

    def test_a_shard_with_a_free_thread_is_seen_at_once_and_a_replacement_always(self) -> None:
        loads, replacement = Loads(), FakeGive()
        loads.aim[Aim.COUNT] = 2
        with drive(returning()) as wire:
            wire.transport._extra["socket"] = FakeSocket()
            service = wire.service
            Handover(service, None, 0, loads, []).pass_requests_on()  # type: ignore[arg-type]  # it opens nothing
            assert service.idle() is None
            loads.line(1)[Load.FREE] = 1
            assert service.idle() is service.give_idle is not None
            loads.line(1)[Load.FREE] = 0
            assert service.idle() is None
            service.wind_down(replacement)
            assert service.idle() is replacement

    def test_what_waits_is_forgotten_when_its_client_goes(self) -> None:
        calls: list[str] = []

        def app(environ: Any, start_response: Any) -> Any:
            calls.append(environ["PATH_INFO"])
            if environ["PATH_INFO"] == "/long":
                time.sleep(0.004)
                wire.loop.call_soon(second.reset)
            start_response(OK, TEXT)
            return [b"ok"]

        with drive(app) as wire:
            room = wire.gateway.room.left
            first, second = wire.transport, wire.connect()
            first.arrive(request(b"/long"))
            second.arrive(request(b"/gone", b"Content-Length: 3", method=b"POST", data=b"abc"))
            wire.settle()
            assert wire.gateway.room.left == room
            assert not wire.gateway.waits()


class FakeGive:
    def __call__(self, *_: object) -> bool:
        return True


class FakeSocket:
    def fileno(self) -> int:
        return 0


def declaring(*results: Any) -> Any:
    """Answers each call with the next of these, the length of each first block declared."""
    left = iter(results)

    def app(environ: Any, start_response: Any) -> Any:
        length, result = next(left)
        start_response(OK, [*TEXT, ("Content-Length", str(length))])
        return result

    return app


class TestAResponseThatIsItsFirstBlockAndNoMore:
    """By its Content-Length, as frameworks declare it: it is complete before the application is asked anything more."""

    def test_it_has_left_before_its_end_is_asked_for_and_before_it_is_closed(self) -> None:
        seen: list[bytes] = []

        def blocks() -> Iterator[bytes]:
            yield b"whole"
            seen.append(wire.output)

        body = Blocks(b"", then=lambda: seen.append(wire.output))
        body.blocks = blocks()
        with drive(declaring((5, body))) as wire:
            wire.feed(request())
            assert wire.answer().body == b"whole"
        assert [one.endswith(b"\r\n\r\nwhole") for one in seen] == [True, True]
        assert (body.given, body.closed) == (2, 1)

    def test_the_end_of_its_blocks_and_close_are_one_step(self) -> None:
        with drive(declaring((5, Blocks(b"whole")))) as wire:
            assert isinstance(wire.gateway, InlineGateway)
            wire.gateway.inside = inside = Inside(wire.service)
            wire.feed(request())
        assert inside.steps == 2

    def test_an_iterator_without_close_gets_to_its_end_too(self) -> None:
        blocks = iter([b"whole", b""])
        with drive(declaring((5, blocks), (2, [b"ok"]))) as wire:
            wire.feed(request() * 2)
            assert [one.body for one in wire.answers()] == [b"whole", b"ok"]
        assert next(blocks, None) is None

    def test_what_comes_behind_it_is_not_sent(self, caplog: pytest.LogCaptureFixture) -> None:
        body = Blocks(b"whole", b" and more", b" and more")
        with drive(declaring((5, body), (2, [b"ok"]))) as wire:
            wire.feed(request() * 2)
            assert [one.body for one in wire.answers()] == [b"whole"]
            assert wire.closed
        assert (body.given, body.closed) == (2, 1)
        assert caplog.text.count("longer than its Content-Length") == 1

    def test_a_failure_behind_it_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        def blocks() -> Iterator[bytes]:
            yield b"whole"
            raise RuntimeError("too late")

        body = Blocks()
        body.blocks = blocks()
        with drive(declaring((5, body), (2, [b"ok"]))) as wire:
            wire.feed(request() * 2)
            assert [one.body for one in wire.answers()] == [b"whole", b"ok"]
        assert body.closed == 1
        assert "too late" in caplog.text

    def test_what_comes_behind_it_ends_the_connection_of_a_slow_reader_once_it_has_read(self) -> None:
        body = Blocks(b"x" * 300_000, b" and more")
        with drive(declaring((300_000, body), (2, [b"ok"]))) as wire:
            wire.transport.stop_taking()
            wire.feed(request() * 2)
            while wire.transport.unread:
                wire.take()
            assert [one.body for one in wire.answers()] == [b"x" * 300_000]
            assert wire.closed
        assert body.closed == 1

    @pytest.mark.parametrize("more", [(), (b" and more",)])
    def test_head_gets_none_of_it(self, caplog: pytest.LogCaptureFixture, more: tuple[bytes, ...]) -> None:
        body = Blocks(b"whole", *more)
        with drive(declaring((5, body))) as wire:
            wire.feed(request(method=b"HEAD"))
            assert wire.statuses("HEAD") == [200]
            assert wire.output.endswith(b"\r\n\r\n")
            assert not wire.closed
        assert body.closed == 1
        assert not caplog.text

    def test_it_is_closed_though_the_client_does_not_read(self) -> None:
        body = Blocks(b"x" * 300_000)
        with drive(declaring((300_000, body))) as wire:
            wire.transport.stop_taking()
            wire.feed(request())
            assert body.closed == 1
            while wire.transport.unread:
                wire.take()
            assert wire.answer().body == b"x" * 300_000

    def test_a_client_that_leaves_meanwhile_is_not_waited_for(self) -> None:
        body = Blocks(b"x" * 300_000)
        with drive(declaring((300_000, body))) as wire:
            wire.transport.stop_taking()
            wire.do(lambda: (wire.connection.data_received(request()), wire.transport.abort()))
            wire.finish()
            assert body.closed == 1
            assert not wire.service.running


def test_who_keeps_a_step_from_ending_keeps_it() -> None:
    with drive(returning()) as wire:
        inside = Inside(wire.service)
        inside.enter()
        leaving = threading.Thread(target=inside.leave)
        with inside:
            leaving.start()
            leaving.join(0.05)
            assert inside.inside
        leaving.join(5)
        assert not inside.inside


def test_others_are_told_of_each_step() -> None:
    seen: list[tuple[bool, int, int]] = []

    def look() -> None:
        load = wire.service.load
        seen.append((inside.inside, load[Load.FREE], load[Load.BUSY]))

    with drive(returning(Blocks(b"a", then=look))) as wire:
        assert isinstance(wire.gateway, InlineGateway)
        wire.gateway.inside = inside = Inside(wire.service)
        inside.leave()
        look()
        wire.feed(request())
        look()
    idle, busy, after = seen
    assert idle == after == (False, 1, 0)
    assert busy[0]
    assert busy[1] == 0
    assert busy[2] > 0
    assert inside.steps == 3  # the call with the first block, the end of the blocks, close()


def test_what_an_application_keeps_of_a_request_has_no_part_in_a_later_one() -> None:
    """start_response, write() and wsgi.early_hints of one that has been answered, called during the next ones."""
    kept: list[Any] = []
    raised: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        for early, old_start, write in kept:
            early([("Link", "</late>")])
            write(b"late")
            with pytest.raises(RuntimeError, match="twice") as error:
                old_start("500 Late", [("X-Late", "1")])
            raised.append(str(error.value))
        write = start_response(OK, [*TEXT, ("X-Number", str(len(kept)))])
        kept.append((environ["wsgi.early_hints"], start_response, write))
        return [environ["PATH_INFO"].encode()]

    with drive(app) as wire:
        for number in range(4):
            wire.feed(request(b"/%d" % number))
            assert b"late" not in wire.output.lower()
        other = wire.connect()
        other.arrive(request(b"/other"))
        wire.settle()
        assert [(one.body, one[b"x-number"]) for one in read_answers(bytes(other.sent))] == [(b"/other", b"4")]
    assert len(raised) == 1 + 2 + 3 + 4


def test_an_exception_that_comes_to_a_kept_start_response_is_raised_again() -> None:
    kept: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(OK, TEXT)
        kept.append(start_response)
        return [b"ok"]

    with drive(app) as wire:
        wire.feed(request())
        assert wire.answer().body == b"ok"
    try:
        raise LookupError("late")
    except LookupError as error:
        with pytest.raises(LookupError, match="late"):
            kept[0]("500 Late", [], (LookupError, error, error.__traceback__))


def test_an_environ_that_is_kept_keeps_its_request() -> None:
    kept: list[dict[str, Any]] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        kept.append(environ)
        start_response(OK, TEXT)
        return [b"ok"]

    with drive(app) as wire:
        for number in range(4):
            wire.feed(request(b"/%d?q=%d" % (number, number), b"X-Number: %d" % number))
    assert [one["RAW_URI"] for one in kept] == [f"/{number}?q={number}" for number in range(4)]
    assert [one["HTTP_X_NUMBER"] for one in kept] == [str(number) for number in range(4)]
    assert len({id(one["wsgi.input"]) for one in kept}) == 4
    kept[0]["wsgi.input"].write(b"mine")
    assert [one["wsgi.input"].read() for one in kept[1:]] == [b"", b"", b""]


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
def test_an_environ_that_is_kept_keeps_nothing_of_ours(inline: bool, streamed: bool) -> None:
    """Django's requests are cycles with their environ in them: with it the connection stayed until a collection."""
    kept: list[Any] = []

    def exchanges() -> list[Any]:
        return [one for one in gc.get_referents(kept[-1]["wsgi.early_hints"]) if isinstance(one, Exchange)]

    def app(environ: Any, start_response: Any) -> Any:
        kept.append(environ)
        assert len(exchanges()) == 1
        start_response(OK, TEXT)
        return Blocks(b"ok") if streamed else [b"ok"]

    with Driver.wsgi(app, inline=inline) as wire:
        wire.feed(request()).until(lambda: wire.output)
        assert wire.answer().body == b"ok"
        wire.until(lambda: not exchanges())
        kept[0]["wsgi.early_hints"]([("Link", "</late>")])
        with pytest.raises(TypeError):
            kept[0]["wsgi.early_hints"]([("Link", b"</late>")])


def test_what_a_call_has_left_in_its_context_is_let_go_with_the_answer() -> None:
    class Left:
        pass

    variable: contextvars.ContextVar[Left] = contextvars.ContextVar("left")
    refs: list[weakref.ref[Left]] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        left = Left()
        refs.append(weakref.ref(left))
        variable.set(left)
        start_response(OK, TEXT)
        return [b"ok"]

    with drive(app) as wire:
        wire.feed(request())
        assert wire.answer().body == b"ok"
        assert refs[0]() is None


def test_a_block_may_be_of_a_subclass_of_bytes() -> None:
    class Octets(bytes):
        __slots__ = ()

    with drive(returning([Octets(b"one")], [Octets(b"a"), Octets(b"b")], iter([Octets(b"c")]))) as wire:
        for expected in (b"one", b"ab", b"c"):
            wire.feed(request())
            assert wire.answers()[-1].body == expected

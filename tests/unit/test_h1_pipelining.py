"""Many requests on one connection, and a service that drains: order, bounds, context, and what is still answered."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.wire import NEXT, PATIENCE, Driver, Puppet, body, hello, request, start

from shardserve.gateway.asgi import AsgiGateway
from shardserve.gateway.target import TrustedProxies
from shardserve.http.h1 import H1Connection
from shardserve.http.lifetime import Lifetime
from shardserve.http.parsers import make_parser
from shardserve.http.service import Service
from shardserve.net.board import Board, Word, WorkerState
from shardserve.worker.loop import make_spawn, new_loop
from shardserve.worker.opening import Opening

if TYPE_CHECKING:
    from collections.abc import Iterator

EAGER = sys.version_info >= (3, 12)
LOOPS = ("asyncio", "uvloop")

seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


async def remember(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what the request before has left in a context variable."""
    while (await receive())["more_body"]:
        pass
    before = seen.get()
    seen.set(scope["path"])
    await send(start())
    await send(body(before.encode()))
    seen.set(scope["path"] + " later")


async def remember_first(scope: Any, receive: Any, send: Any) -> None:
    """Sets the variable before it reads the body."""
    before = seen.get()
    seen.set(scope["path"])
    while (await receive())["more_body"]:
        pass
    await send(start())
    await send(body(before.encode()))


async def yielding(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0)
    await remember(scope, receive, send)
    await asyncio.sleep(0)


async def streaming(scope: Any, receive: Any, send: Any) -> None:
    before = seen.get()
    seen.set(scope["path"])
    await send(start())
    for octet in before.encode():
        await send(body(bytes([octet]), more=True))
    await send(body())


# Pipelining (RFC 9112 section 9.3.2)


@pytest.mark.parametrize("count", [2, 15, 16, 17, 33, 100])
def test_answers_come_in_the_order_of_the_requests(parser: str, count: int) -> None:
    for app in (hello, slow_first):
        with Driver.asgi(app, parser) as wire:
            wire.feed(b"".join(request(b"/%d" % number) for number in range(count)))
            assert [one.body for one in wire.answers()] == [b"/%d" % number for number in range(count)]
            assert not wire.closed


async def slow_first(scope: Any, receive: Any, send: Any) -> None:
    for _ in range(10 if scope["path"] == "/0" else 0):
        await asyncio.sleep(0)
    await hello(scope, receive, send)


def test_requests_with_and_without_bodies_may_be_mixed(parser: str) -> None:
    post = request(b"/b", b"Transfer-Encoding: chunked", method=b"POST", data=b"3\r\nGET\r\n0\r\n\r\n")
    put = request(b"/c", b"Content-Length: 18", method=b"PUT", data=b"GET / HTTP/1.1\r\n\r\n")
    octets = (request(b"/a") + post + put) * 50
    for cuts in (0, 10, 200):
        with Driver.asgi(hello, parser) as wire:
            wire.feed_cut(octets, seed=cuts, cuts=cuts) if cuts else wire.feed(octets)
            assert [one.body for one in wire.answers()] == [b"/a", b"/b", b"/c"] * 50


def test_only_one_request_runs_at_a_time(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/a") + request(b"/b"))
        assert len(puppet.calls) == 1
        first = puppet.call
        wire.run(first.send(start()), first.send(body(b"1")))
        assert len(puppet.calls) == 2
        wire.run(puppet.call.send(start()), puppet.call.send(body(b"2")))
        wire.do(first.returns.set_result, None)
        assert [one.body for one in wire.answers()] == [b"1", b"2"]


async def measure(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body, once it is complete."""
    size, more = 0, True
    while more:
        event = await receive()
        size, more = size + len(event["body"]), event["more_body"]
    await send(start())
    await send(body(b"%d" % size))


def measure_wsgi(environ: Any, start_response: Any) -> Any:
    size = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % size]


def upload(size: int, chunked: bool) -> bytes:
    if not chunked:
        return request(b"/", b"Content-Length: %d" % size, method=b"POST", data=b"x" * size)
    return request(
        b"/", b"Transfer-Encoding: chunked", method=b"POST", data=b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size)
    )


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_begins_behind_a_running_request_is_read_to_its_end(parser: str, chunked: bool) -> None:
    """More of it has come than is held, so that reading had stopped: it goes on once its request has begun.

    A client does this without pipelining, too: it has its whole answer a moment before the application returns.
    """
    puppet, calls = Puppet(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal calls
        calls += 1
        await (puppet if calls == 1 else measure)(scope, receive, send)

    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        wire.run(puppet.call.send(start(200, (b"content-length", b"2"))), puppet.call.send(body(b"ok", more=True)))
        assert wire.statuses() == [200]
        wire.feed(*cut_even(upload(200_000, chunked), 65_700))
        assert not wire.transport.is_reading()
        first = puppet.call
        wire.run(first.send(body()))
        wire.do(first.returns.set_result, None)
        assert [one.body for one in wire.answers()] == [b"ok", b"200000"]
        assert not wire.transport.waiting


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_begins_behind_a_running_wsgi_call_is_read_to_its_end(parser: str, chunked: bool) -> None:
    returning = threading.Event()

    def slow_to_return() -> Iterator[bytes]:
        yield b"ok"
        returning.wait(PATIENCE)

    def app(environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "POST":
            return measure_wsgi(environ, start_response)
        start_response("200 OK", [("Content-Length", "2")])
        return slow_to_return()

    with Driver.wsgi(app, parser) as wire:
        wire.feed(request()).until(lambda: wire.statuses() == [200])
        wire.feed(*cut_even(upload(200_000, chunked), 65_700))
        assert not wire.transport.is_reading()
        returning.set()
        wire.until(lambda: len(wire.answers()) == 2)
        assert [one.body for one in wire.answers()] == [b"ok", b"200000"]


def test_the_end_of_a_client_is_seen_once_little_of_its_pipeline_is_left(parser: str) -> None:
    """Reading had stopped for a long pipeline; a request that runs when most of it is answered hears of its end."""
    puppet = Puppet()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (puppet if scope["path"] in ("/first", "/last") else hello)(scope, receive, send)

    with Driver.asgi(app, parser) as wire:
        many = request(b"/", b"X: " + b"y" * 1000)
        wire.feed(request(b"/first") + many * 70 + request(b"/last") + many)
        assert not wire.transport.is_reading()
        first = puppet.call
        wire.run(first.send(start()), first.send(body()))
        wire.do(first.returns.set_result, None)
        assert len(wire.answers()) == 71
        [event] = wire.run(puppet.call.receive())
        wire.run(puppet.call.receive())
        assert event.result()["type"] == "http.request"
        wire.end()
        assert not wire.transport.waiting
        [event] = wire.run(puppet.call.receive())
        assert event.result()["type"] == "http.disconnect"
        wire.do(puppet.call.returns.set_result, None)


def cut_even(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_thousands_of_pipelined_requests_are_answered_and_the_client_is_held_meanwhile(parser: str) -> None:
    count, puppet = 6_000, Puppet()  # 190 kB
    octets = b"".join(request(b"/%05d" % number) for number in range(count))
    size = len(request(b"/00000"))
    most = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal most
        answered = int(scope["raw_path"][1:])
        most = max(most, len(octets) - wire.transport.waiting - answered * size)
        if answered == 0:
            await puppet(scope, receive, send)
        await hello(scope, receive, send)

    with Driver.asgi(app, parser) as wire:
        for at in range(0, len(octets), 16_384):
            wire.transport.arrive(octets[at : at + 16_384])
        wire.settle()
        assert not wire.transport.is_reading()
        wire.do(puppet.call.returns.set_result, None)
        answers = wire.answers()
        assert [one.body for one in answers] == [b"/%05d" % number for number in range(count)]
    assert most <= 2 * 65_536, "octets that were read ahead of the answers"


@pytest.mark.parametrize("pieces", [16_384, 65_536])
def test_the_buffer_is_bounded_also_when_each_request_is_answered_at_once(parser: str, pieces: int) -> None:
    """With eager tasks (3.12) an answer is sent while the request is read, so that reading never waits for one."""
    count = 3_500  # 260 kB
    octets = b"".join(request(b"/%05d" % number, b"X: " + b"y" * 40) for number in range(count))
    size = len(octets) // count
    most = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal most
        answered = int(scope["raw_path"][1:])
        most = max(most, len(octets) - wire.transport.waiting - answered * size)
        await hello(scope, receive, send)

    with Driver.asgi(app, parser) as wire:
        for at in range(0, len(octets), pieces):
            piece = octets[at : at + pieces]
            wire.loop.call_soon(wire.transport._inbox.append, piece)
        wire.loop.call_soon(deliver_one_a_turn, wire)
        wire.settle()
        assert len(wire.answers()) == count
    assert most <= 2 * 65_536 + pieces, "octets that were read ahead of the answers"


@pytest.mark.parametrize("together", [True, False])
def test_a_client_that_does_not_read_its_answers_gets_no_more_of_them_made(parser: str, together: bool) -> None:
    """Else a pipeline of small requests for large answers fills the memory: no single answer waits for its client."""
    made, count = 0, 60

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal made
        made += 1
        await send(start())
        await send(body(b"x" * 50_000))

    with Driver.asgi(app, parser) as wire:
        wire.transport.stop_taking()
        if together:
            wire.feed(request() * count)
        else:
            for _ in range(count):
                wire.transport.arrive(request())
            wire.settle()
        assert made <= 10
        wire.take()
        assert len(wire.answers()) == count


def deliver_one_a_turn(wire: Driver) -> None:
    """What a socket does: as long as the server reads, it is given one buffer full in each turn of the loop."""
    transport = wire.transport
    if transport.reading and transport._inbox:
        transport._protocol.data_received(transport._inbox.popleft())
    if transport._inbox:
        wire.loop.call_soon(deliver_one_a_turn, wire)


def test_a_long_pipeline_lets_others_have_their_turn(parser: str) -> None:
    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        order.append(scope["path"])
        await hello(scope, receive, send)

    with Driver.asgi(app, parser) as wire:
        first = wire.transport
        second = wire.connect()
        first.arrive(request(b"/first") * 200)
        second.arrive(request(b"/second"))
        wire.settle()
        assert order.count("/first") == 200
        assert order.index("/second") <= 32


# Context


@pytest.mark.parametrize("app", [remember, yielding, streaming])
def test_a_request_does_not_see_the_context_variables_of_the_one_before(parser: str, app: Any) -> None:
    with Driver.asgi(app, parser) as wire:
        wire.feed(b"".join(request(b"/%d" % number) for number in range(40)))
        wire.feed(request(b"/again")).feed(request(b"/again"))
        assert {one.body for one in wire.answers()} == {b"nothing"}
        assert len(wire.answers()) == 42


@pytest.mark.parametrize("app", [remember, remember_first])
def test_a_request_does_not_see_them_after_the_client_was_held(parser: str, app: Any) -> None:
    """Reading goes on in the context of the one that resumed it, and that is the application that read its body."""
    large = request(b"/large", b"Content-Length: 140001", method=b"POST", data=b"x" * 70_000)
    with Driver.asgi(app, parser) as wire:
        wire.transport.arrive(large)
        wire.feed(b"x" * 70_001)
        wire.feed(NEXT).feed(NEXT)
        assert [one.body for one in wire.answers()] == [b"nothing"] * 3


def test_a_request_does_not_see_them_after_a_long_pipeline_was_held(parser: str) -> None:
    filler = request(b"/filler", b"X: " + b"a" * 8000)
    with Driver.asgi(yielding, parser) as wire:
        for octets in (filler * 10, filler * 10, NEXT, NEXT):
            wire.transport.arrive(octets)
        wire.settle()
        wire.feed(NEXT)
        assert [one.body for one in wire.answers()] == [b"nothing"] * 23


@pytest.mark.parametrize("loop_name", LOOPS)
@pytest.mark.parametrize("size", [0, 200_000])
def test_context_does_not_leak_over_a_real_socket(loop_name: str, size: int) -> None:
    """The same over sockets: whether a transport remembers the context it was resumed in is the loop's own business."""
    loop = new_loop(loop_name)
    try:
        answers = loop.run_until_complete(_exchange_over_a_socket(loop, size))
    finally:
        loop.close()
    assert answers == [b"nothing"] * 4


async def _exchange_over_a_socket(loop: asyncio.AbstractEventLoop, size: int) -> list[bytes]:
    gateway = AsgiGateway(remember, make_spawn(loop), TrustedProxies(()), "", {})
    service = Service(loop, make_parser("httptools"), gateway, Board(1).claim(0, 1))
    ours, theirs = socket.socketpair()
    answers: list[bytes] = []

    def client() -> None:
        with theirs, theirs.makefile("rb") as replies:
            theirs.settimeout(10)
            for number in range(4):
                theirs.sendall(request(b"/%d" % number, b"Content-Length: %d" % size, method=b"POST", data=b"x" * size))
                length = 0
                while (line := replies.readline()) not in (b"\r\n", b""):
                    if line.startswith(b"content-length:"):
                        length = int(line[15:])
                answers.append(replies.read(length))

    Opening(service).open(ours.detach(), H1Connection, None, False)
    await asyncio.to_thread(client)
    await service.drain()
    await loop.shutdown_default_executor()
    return answers


def test_each_request_runs_in_a_task_of_its_own(parser: str) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(5):
            await hello(scope, receive, send)
        assert asyncio.current_task() is tasks[-1]

    with Driver.asgi(app, parser) as wire:
        wire.feed(request() * 3)
        assert len(set(tasks)) == 3
        assert None not in tasks


def test_the_loops_task_factory_makes_the_tasks(parser: str) -> None:
    made: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    with Driver.asgi(hello, parser) as wire:
        wire.loop.set_task_factory(factory)
        wire.feed(request() * 3)
        assert len(wire.answers()) == 3
        assert made.count("AsgiExchange._run") == 3


def test_an_application_that_need_not_wait_is_answered_at_once_where_tasks_can_start_eagerly(parser: str) -> None:
    sent: list[int] = []

    def look() -> None:
        wire.connection.data_received(request())
        sent.append(len(wire.transport.sent))

    with Driver.asgi(hello, parser) as wire:
        wire.do(look)
        assert (sent[0] > 0) == EAGER  # since 3.12


# Drain


def test_an_idle_connection_is_closed_after_a_short_linger_when_the_service_drains(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request())
        done = wire.drain()
        wire.wait(0.9)
        assert not wire.closed
        assert not done.done()
        wire.wait(0.2)
        assert wire.transport.lost
        assert done.done()


def test_a_request_that_was_on_its_way_when_the_drain_began_is_served_and_told_to_close(parser: str) -> None:
    for fed_before in (b"", request(b"/before"), request()[:10]):
        with Driver.asgi(hello, parser) as wire:
            if fed_before:
                wire.feed(fed_before)
            done = wire.drain()
            wire.wait(0.5)
            wire.feed(request()[10:] if fed_before == request()[:10] else request())
            last = wire.answers()[-1]
            assert (last.status, last.body, last[b"connection"]) == (200, b"/", b"close")
            assert wire.closed
            wire.end()
            assert done.done()


def test_a_connection_made_while_draining_is_served_once(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        done = wire.drain()
        wire.transport.reset()
        wire.connect()
        wire.feed(request() + NEXT)
        assert wire.answer()[b"connection"] == b"close"
        assert wire.closed
        wire.end()
        assert done.done()


def test_a_connection_made_while_draining_that_says_nothing_is_closed_after_the_linger(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.drain()
        wire.connect()
        wire.wait(1.1)
        assert wire.transport.lost


def test_a_request_under_way_is_finished_while_draining_and_told_to_close(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request() + NEXT)
        done = wire.drain()
        wire.wait(20)
        assert not wire.closed
        call = puppet.call
        wire.run(call.send(start()), call.send(body(b"ok")))
        assert wire.answer()[b"connection"] == b"close"
        assert wire.closed
        assert len(puppet.calls) == 1
        wire.end()
        assert not done.done()  # the application's code still runs
        wire.do(call.returns.set_result, None)
        assert done.done()


def test_a_response_whose_head_has_left_when_the_drain_begins_is_finished_and_the_connection_closed(
    parser: str,
) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        call = puppet.call
        wire.run(call.send(start()), call.send(body(b"a", more=True)))
        wire.drain()
        wire.wait(5)
        wire.run(call.send(body(b"b")))
        assert (wire.answer().body, wire.answer().complete) == (b"ab", True)
        assert wire.closed


def test_a_body_that_is_still_coming_is_read_while_draining(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 4", method=b"POST", data=b"ab"))
        wire.drain()
        wire.wait(3)
        wire.feed(b"cd")
        (task,) = wire.run(puppet.call.receive())
        assert task.result()["body"] == b"abcd"
        wire.run(puppet.call.send(start()), puppet.call.send(body(b"ok")))
        assert wire.answer()[b"connection"] == b"close"


def test_an_empty_service_is_drained_at_once(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.reset()
        assert wire.drain().done()


def test_cutting_ends_connections_and_cancels_what_runs(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        done = wire.drain()
        wire.do(wire.service.cut)
        assert wire.transport.aborted
        assert puppet.call.returns.cancelled()
        assert done.done()


def test_the_board_tells_what_is_open_and_what_runs(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        wire.connect()
        wire.wait(1)
        board = wire.board
        assert (board[Word.CONNECTIONS], board[Word.ACCEPTED], board[Word.REQUESTS], board[Word.ACTIVE]) == (2, 2, 1, 1)
        assert board[Word.HEARTBEAT] == wire.clock.monotonic_ns()
        wire.drain()
        assert board[Word.STATE] == WorkerState.DRAINING
        wire.do(puppet.call.returns.set_result, None)
        wire.wait(1.2)
        assert (board[Word.CONNECTIONS], board[Word.ACTIVE]) == (1, 0)


# Connections that are not kept for ever


def test_a_connection_ends_with_the_last_request_it_may_have(parser: str) -> None:
    ends = set()
    for _ in range(40):
        with Driver.asgi(hello, parser, lifetime=Lifetime(requests=20)) as wire:
            while not wire.closed:
                wire.feed(request())
            *others, last = wire.answers()
            assert all(b"connection" not in answer for answer in others)
            assert last[b"connection"] == b"close"
            ends.add(len(others) + 1)
    assert ends == {20, 21}, "each draws up to a tenth more"


def test_a_connection_that_is_old_enough_ends_with_its_next_answer(parser: str) -> None:
    with Driver.asgi(hello, parser, lifetime=Lifetime(age=30)) as wire:
        wire.feed(request()).wait(29).feed(request())
        assert not wire.closed
        wire.wait(5).feed(request() * 2)
        assert wire.closed
        assert [b"connection" in answer for answer in wire.answers()] == [False, False, True]


# Requests and connections that go to another worker


def test_only_the_request_itself_is_given_to_another_worker(parser: str) -> None:
    """Not the one before it on the connection, when nobody may be given anything meanwhile."""
    given: list[bytes] = []

    def give(descriptor: int, octets: bytes, answer_by: float, copied: bool) -> bool:
        given.append(octets)
        return False

    with Driver.asgi(hello, parser) as wire:
        wire.service.give_idle = give
        wire.feed(request(b"/first"))
        wire.service.give_idle = None
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        connection = wire.connection
        wire.service.give_idle = give
        wire.feed(request(b"/first"))
        wire.run(puppet.call.send(start()), puppet.call.send(body()))
        wire.do(puppet.call.returns.set_result, None)
        wire.service.give_idle = None
        wire.feed(request(b"/second"))
        exchange = connection._exchange
        assert exchange is not None
        assert not connection.move(exchange, give)
        wire.do(puppet.call.returns.set_result, None)
    assert given == []


@pytest.mark.parametrize("sockname", [("127.0.0.1", 80), "/a/path"])
def test_a_peer_without_an_address_is_one_of_a_unix_socket_or_gone(parser: str, sockname: object) -> None:
    """A client that has reset already has none; a peer on a unix socket is trusted to say for whom it speaks."""
    with Driver.asgi(hello, parser, peer=None if isinstance(sockname, tuple) else "", server=sockname) as wire:
        assert wire.transport.aborted == isinstance(sockname, tuple)

"""--limit-concurrency: how many requests are executed at once, what waits, what is shed, and what is never started."""

from __future__ import annotations

import contextvars
import heapq
import threading
import time
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.wire import PATIENCE, Driver, Puppet, body, read_answers, request, start

from shardserve.gateway.limited import LimitedAsgiGateway
from shardserve.gateway.turns import Turns
from shardserve.gateway.wsgi_pool import PoolGateway
from shardserve.http.service import REFUSALS_LOGGED
from shardserve.net.loads import BUSY_LOAD, Load, unshared_line

if TYPE_CHECKING:
    from support.wire import Answer, MemoryTransport

SOON = 0.05  # seconds of patience where a test waits for its end
LONG = 1000.0


def ask(wire: Driver, octets: bytes) -> MemoryTransport:
    """Open a connection and send this on it."""
    transport = wire.connect()
    transport.arrive(octets)
    wire.settle()
    return transport


def answers(transport: MemoryTransport) -> list[Answer]:
    return read_answers(bytes(transport.sent))


def waiting(wire: Driver) -> int:
    assert isinstance(wire.gateway, LimitedAsgiGateway | PoolGateway)
    return wire.gateway.turns.count_waiting()


def finish(wire: Driver, puppet: Puppet, call: int) -> None:
    """Have the application answer a call, and return."""
    made = puppet.calls[call]
    wire.run(made.send(start()), made.send(body(made.scope["raw_path"])))
    wire.do(made.returns.set_result, None)


class TestAsgi:
    def test_requests_beyond_the_limit_are_executed_in_order_of_arrival(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=2) as wire:
            clients = [ask(wire, request(b"/%d" % number)) for number in range(5)]
            assert [call.scope["path"] for call in puppet.calls] == ["/0", "/1"]
            finish(wire, puppet, 1)
            assert [call.scope["path"] for call in puppet.calls] == ["/0", "/1", "/2"]
            for call in (0, 2, 3, 4):
                finish(wire, puppet, call)
            assert [answers(client)[0].body for client in clients] == [b"/%d" % number for number in range(5)]
            assert not wire.service.running

    def test_the_turn_lasts_until_the_application_returns(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=1) as wire:
            first = ask(wire, request())
            ask(wire, request())
            wire.run(puppet.call.send(start()), puppet.call.send(body(b"ok")))
            assert answers(first)[0].complete
            assert len(puppet.calls) == 1
            wire.do(puppet.call.returns.set_result, None)
            assert len(puppet.calls) == 2

    def test_what_has_waited_too_long_is_503_and_the_connection_is_kept(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=1, patience=SOON) as wire:
            first = ask(wire, request(b"/first"))
            late = ask(wire, request(b"/late"))
            head = ask(wire, request(method=b"HEAD"))
            wire.until(lambda: head.sent and late.sent)
            (answer,) = answers(late)
            assert (answer.status, answer[b"retry-after"], answer.body) == (503, b"1", b"Service Unavailable\n")
            assert read_answers(bytes(head.sent), ("HEAD",))[0].status == 503
            assert not late.is_closing()
            finish(wire, puppet, 0)
            assert answers(first)[0].status == 200
            late.arrive(request(b"/again"))
            wire.settle()
            finish(wire, puppet, 1)
            assert [answer.status for answer in answers(late)] == [503, 200]
            assert [call.scope["path"] for call in puppet.calls] == ["/first", "/again"]
            assert not wire.service.running

    def test_nothing_is_shed_while_turns_come_soon_enough(self) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, limit=1, patience=LONG) as wire:
            clients = [ask(wire, request()) for _ in range(20)]
            for call in range(20):
                finish(wire, puppet, call)
            assert {answers(client)[0].status for client in clients} == {200}

    def test_a_request_whose_client_has_gone_is_not_started(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=1) as wire:
            ask(wire, request(b"/first"))
            gone = ask(wire, request(b"/gone"))
            ask(wire, request(b"/last"))
            gone.reset()
            wire.settle()
            assert waiting(wire) == 1
            finish(wire, puppet, 0)
            finish(wire, puppet, 1)
            assert [call.scope["path"] for call in puppet.calls] == ["/first", "/last"]
            assert not wire.service.running

    def test_a_client_that_ends_its_side_while_it_waits_is_taken_for_gone(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=1, patience=LONG) as wire:
            ask(wire, request(b"/first"))
            ended = ask(wire, request(b"/ended"))
            ended.arrive(b"")
            wire.settle()
            assert answers(ended)[0].status == 503
            assert ended.is_closing()
            finish(wire, puppet, 0)
            assert len(puppet.calls) == 1

    def test_without_a_time_limit_one_that_ends_its_side_is_served(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=1) as wire:
            ask(wire, request(b"/first"))
            ended = ask(wire, request(b"/ended"))
            ended.arrive(b"")
            wire.settle()
            finish(wire, puppet, 0)
            finish(wire, puppet, 1)
            assert answers(ended)[0].body == b"/ended"

    def test_a_body_that_is_not_there_yet_takes_no_turn(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=1) as wire:
            slow = ask(wire, request(b"/slow", b"Content-Length: 10", method=b"POST", data=b"hello"))
            ask(wire, request(b"/quick"))
            assert [call.scope["path"] for call in puppet.calls] == ["/quick"]
            slow.arrive(b"world")
            wire.settle()
            finish(wire, puppet, 0)
            (message,) = wire.run(puppet.calls[1].receive())
            assert message.result() == {"type": "http.request", "body": b"helloworld", "more_body": False}

    def test_a_body_beyond_what_is_held_takes_a_turn_and_so_does_one_that_waits_for_100(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=2) as wire:
            large = ask(wire, request(b"/large", b"Content-Length: 200000", method=b"POST"))
            assert not puppet.calls
            large.arrive(b"x" * 70_000)
            wire.settle()
            ask(wire, request(b"/polite", b"Content-Length: 5", b"Expect: 100-continue", method=b"POST"))
            assert [call.scope["path"] for call in puppet.calls] == ["/large", "/polite"]

    def test_a_body_that_is_shed_is_read_over(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=1, patience=SOON) as wire:
            ask(wire, request(b"/first"))
            large = ask(wire, request(b"/large", b"Content-Length: 100000", method=b"POST", data=b"x" * 70_000))
            wire.until(lambda: large.sent)
            assert answers(large)[0].status == 503
            large.arrive(b"x" * 30_000 + request(b"/next"))
            wire.settle()
            finish(wire, puppet, 0)
            finish(wire, puppet, 1)
            assert [answer.status for answer in answers(large)] == [503, 200]

    def test_what_begins_after_another_request_has_a_context_of_its_own(self, parser: str) -> None:
        seen: list[str] = []
        variable = contextvars.ContextVar("variable", default="")
        puppet = Puppet()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(variable.get())
            variable.set(scope["path"])
            await puppet(scope, receive, send)

        with Driver.asgi(app, parser, limit=1) as wire:
            for path in (b"/a", b"/b", b"/c"):
                ask(wire, request(path))
            for call in range(3):
                finish(wire, puppet, call)
        assert seen == ["", "", ""]

    def test_a_long_queue_of_calls_that_return_at_once_does_not_nest(self, parser: str) -> None:
        puppet = Puppet()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/first":
                await puppet(scope, receive, send)
            else:
                await send(start())
                await send(body(b"ok"))

        with Driver.asgi(app, parser, limit=1) as wire:
            ask(wire, request(b"/first"))
            clients = [ask(wire, request()) for _ in range(400)]
            finish(wire, puppet, 0)
            assert {answers(client)[0].status for client in clients} == {200}

    def test_a_drain_answers_what_waits(self, parser: str) -> None:
        puppet = Puppet()
        with Driver.asgi(puppet, parser, limit=1) as wire:
            wire.transport.close()
            wire.settle()
            clients = [ask(wire, request()) for _ in range(3)]
            done = wire.drain()
            for call in range(3):
                assert not done.done()
                finish(wire, puppet, call)
            for client in clients:
                assert answers(client)[0][b"connection"] == b"close"
                client.arrive(b"")
            wire.settle()
            assert done.done()


class Held:
    """WSGI application whose calls last until `end` is set."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.cookies: list[str | None] = []
        self.end = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.called.append(environ["PATH_INFO"])
        self.cookies.append(environ.get("HTTP_COOKIE"))
        self.end.wait()
        start_response("200 OK", [])
        return [b"ok"]


class TestWsgi:
    @pytest.mark.parametrize("patience", [0.0, LONG])
    def test_what_waits_for_a_thread_is_forgotten_when_its_client_goes(self, parser: str, patience: float) -> None:
        app = Held()
        with Driver.wsgi(app, parser, patience=patience) as wire:
            room = wire.gateway.room.left
            try:
                ask(wire, request(b"/first"))
                wire.until(lambda: app.called)
                for _ in range(50):
                    gone = ask(wire, request(b"/gone", b"Content-Length: 9000", method=b"POST", data=b"x" * 9000))
                    gone.reset()
                    wire.settle()
                assert waiting(wire) == 0
                assert wire.gateway.room.left == room
                assert len(wire.service.running) == 1
                last = ask(wire, request(b"/last"))
            finally:
                app.end.set()
            wire.finish()
            assert answers(last)[0].status == 200
        assert app.called == ["/first", "/last"]

    @pytest.mark.parametrize("more", [0, 1, 7])
    def test_calls_that_come_together_and_block_are_made_on_all_threads(self, parser: str, more: int) -> None:
        together = threading.Barrier(4)

        def app(environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/together":
                together.wait(PATIENCE)
            start_response("200 OK", [])
            return [b"ok"]

        with Driver.wsgi(app, parser, threads=4) as wire:
            for _ in range(3):  # whatever threads were woken for nothing before
                clients = [wire.connect() for _ in range(4 + more)]
                for client in clients[:more]:
                    client.arrive(request())
                for client in clients[more:]:
                    client.arrive(request(b"/together"))
                wire.finish()
                assert [answers(client)[0].status for client in clients] == [200] * (4 + more)

    def test_what_has_waited_too_long_is_503_and_the_thread_goes_on(self, parser: str) -> None:
        app = Held()
        with Driver.wsgi(app, parser, patience=SOON) as wire:
            room = wire.gateway.room.left
            try:
                first = ask(wire, request(b"/first"))
                wire.until(lambda: app.called)
                late = [ask(wire, request(b"/late", b"Content-Length: 3", method=b"POST", data=b"abc")) for _ in "ab"]
                wire.until(lambda: all(client.sent for client in late))
                assert wire.gateway.room.left == room
            finally:
                app.end.set()
            wire.finish()
            for client in late:
                client.arrive(request(b"/again"))
                wire.settle()
            wire.finish()
            assert answers(first)[0].status == 200
            for client in late:
                assert [answer.status for answer in answers(client)] == [503, 200]
        assert app.called == ["/first", "/again", "/again"]

    def test_a_request_has_its_own_fields_where_the_one_before_was_shed(self, parser: str) -> None:
        app = Held()
        ada, bob = (request(b"/", b"Cookie: " + name * 40) for name in (b"ada", b"bob"))
        with Driver.wsgi(app, parser, patience=SOON) as wire:
            try:
                app.end.set()
                client = wire.connect()
                for _ in range(3):
                    client.arrive(ada)
                    wire.finish()
                app.end.clear()
                ask(wire, request(b"/held"))
                wire.until(lambda: "/held" in app.called)
                client.arrive(bob)
                wire.until(lambda: len(answers(client)) == 4)
            finally:
                app.end.set()
            wire.finish()
            client.arrive(bob)
            wire.finish()
            assert [answer.status for answer in answers(client)] == [200, 200, 200, 503, 200]
        assert app.cookies == [*["ada" * 40] * 3, None, "bob" * 40]

    def test_a_call_that_lasts_longer_than_the_patience_is_not_shed(self, parser: str) -> None:
        app = Held()
        with Driver.wsgi(app, parser, patience=SOON) as wire:
            try:
                only = ask(wire, request(b"/only"))
                wire.until(lambda: app.called)
                end = time.monotonic() + 3 * SOON
                wire.until(lambda: time.monotonic() > end)
                assert not only.sent
            finally:
                app.end.set()
            wire.finish()
            assert answers(only)[0].status == 200


def test_what_is_shed_is_logged_once_a_tick(caplog: pytest.LogCaptureFixture) -> None:
    with Driver.asgi(Puppet(), limit=1, patience=SOON) as wire:
        clients = [ask(wire, request()) for _ in range(4)]
        wire.until(lambda: all(client.sent for client in clients[1:]))
        wire.wait(1).wait(1)
    assert caplog.text.count("overloaded: 3 requests") == 1
    assert caplog.text.count("overloaded") == 1


def test_a_flood_of_refused_requests_is_not_logged_line_by_line(parser: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "shardserve")
    with Driver.asgi(Puppet(), parser) as wire:
        for _ in range(REFUSALS_LOGGED + 15):
            assert answers(ask(wire, b"BREW / HTTP/1.1\r\n"))[0].status == 501
        wire.wait(1)
        ask(wire, b"BREW / HTTP/1.1\r\n")
    assert caplog.text.count("refused a request") == REFUSALS_LOGGED + 1
    assert caplog.text.count("and 15 more requests refused") == 1


def test_room_for_connections() -> None:
    with Driver.asgi(Puppet()) as wire:
        wire.service.most_connections = 3
        told: list[int] = []
        second, third = wire.connect(), wire.connect()
        assert wire.service.is_full()
        wire.service.when_room.append(lambda: told.append(len(wire.service.connections)))
        wire.wait(1)
        assert not told
        third.reset()
        second.reset()
        wire.settle()
        assert told == [2]
        assert not wire.service.is_full()


class Simulation:
    """Stands in for service, loop and time: requests of 20 ms arrive at `rate` a second, `size` run at once."""

    def __init__(self, rate: float, size: int, patience: float, seconds: float = 10.0) -> None:
        self.loop = self
        self.ask_for_work = self.context = None
        self.load = unshared_line()
        self.running: set[Any] = set()
        self.shed = 0
        self.waits: list[tuple[float, float]] = []  # when a request was begun, how long it had waited
        self.turns = Turns(size, self._begin_next, patience)
        self._now = 0.0
        self._numbers = count()
        self._events = [
            (number / rate, next(self._numbers), partial(self._arrive, number / rate))
            for number in range(int(rate * seconds))
        ]
        while self._events:
            self._now, _, event = heapq.heappop(self._events)
            event()

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, call: Any, *args: Any, context: Any = None) -> int:
        heapq.heappush(self._events, (self._now + delay, next(self._numbers), partial(call, *args)))
        return 1

    def ended(self, exchange: Any) -> None:
        self.running.discard(exchange)

    def idle(self) -> None:
        """There is no other worker."""

    def _arrive(self, at: float) -> None:
        wire = SimpleNamespace(service=self, moved=False)
        self.turns.take(SimpleRequest(wire, at))

    def _begin_next(self) -> None:
        while self.turns.has_room and (exchange := self.turns.next()) is not None:
            self.waits.append((self._now, self._now - exchange.at))
            self.call_later(0.02, self._end, exchange)

    def _end(self, exchange: Any) -> None:
        self.turns.ended(exchange)
        self._begin_next()


class SimpleRequest:
    def __init__(self, wire: Any, at: float) -> None:
        self.wire = wire
        self.at = at

    def shed(self) -> None:
        """What is counted is in the service."""


class TestShedding:
    def test_at_twice_the_capacity_turns_are_all_used_and_what_is_executed_has_waited_little(self) -> None:
        run = Simulation(rate=400, size=4, patience=0.5)
        assert len(run.waits) >= 200 * 10  # the capacity, for as long as it lasted
        assert len(run.waits) + run.shed == 4000
        assert max(wait for _, wait in run.waits) <= 0.51
        assert max(wait for begun, wait in run.waits if begun > 2) <= 0.22  # the queue stands: a fifth, and a look

    def test_below_the_capacity_nothing_is_shed(self) -> None:
        run = Simulation(rate=190, size=4, patience=0.5)
        assert run.shed == 0

    def test_a_turn_that_becomes_free_always_finds_something_to_do(self) -> None:
        run = Simulation(rate=100, size=1, patience=0.05)  # a fifth of which is less than a request takes
        assert len(run.waits) >= 50 * 10

    def test_without_a_limit_of_time_nothing_is_shed(self) -> None:
        run = Simulation(rate=400, size=4, patience=0.0, seconds=2)
        assert (len(run.waits), run.shed) == (800, 0)


def test_who_cannot_be_given_anything_says_that_nothing_is_free_and_asks_for_nothing() -> None:
    asked: list[bool] = []
    service: Any = SimpleNamespace(load=unshared_line(), ask_for_work=lambda: asked.append(True))
    turns = Turns(2, lambda: None)
    for cut_off, free, busy, asks in ((False, 2, 0, 1), (True, 0, BUSY_LOAD, 1), (False, 2, 0, 2)):
        turns.cut_off = cut_off
        turns.look_for_work(service)
        assert (service.load[Load.FREE], service.load[Load.BUSY], len(asked)) == (free, busy, asks)

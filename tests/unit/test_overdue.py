"""--request-timeout: 504 for a response that has not begun, a cut for one that has, and an end to the work for it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from support.wire import NEXT, Driver, Puppet, body, request, sending, start

from shardserve.http.overdue import GRACE
from shardserve.http.service import Timeouts

FIVE = Timeouts(request=5.0)


def test_a_response_that_has_not_begun_is_a_504_that_closes(parser: str, caplog: pytest.LogCaptureFixture) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=FIVE) as wire:
        wire.feed(request(b"/slow?secret")).wait(4.9)
        assert wire.output == b""
        wire.wait(0.2)
        assert wire.answer().status == 504
        assert wire.answer().body == b"the response took too long\n"
        assert wire.answer()[b"connection"] == b"close"
        assert wire.closed
        assert puppet.call.returns.cancelled()
        assert not wire.service.running
    assert "GET /slow: not complete within 5 s (--request-timeout); answered with 504" in caplog.text
    assert "secret" not in caplog.text


def test_without_the_option_there_is_no_limit(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request()).wait(100_000)
        assert wire.output == b""
        assert not puppet.call.returns.cancelled()


def test_a_head_request_gets_no_body(parser: str) -> None:
    with Driver.asgi(Puppet(), parser, timeouts=FIVE) as wire:
        answer = wire.feed(request(method=b"HEAD")).wait(6).answer("HEAD")
        assert (answer.status, answer.body) == (504, b"")
        assert wire.closed


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_response_that_has_begun_is_cut_so_that_the_client_can_tell(
    parser: str, version: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=FIVE) as wire:
        wire.feed(request(version=version))
        wire.run(puppet.call.send(start()), puppet.call.send(body(b"part", more=True)))
        wire.wait(4).run(puppet.call.send(body(b"and part", more=True)))
        wire.wait(1.1)
        assert wire.closed
        answer = wire.answer()
        assert (answer.status, answer.body) == (200, b"partand part")
        assert wire.transport.aborted is (version == b"1.0")
        assert not answer.complete or version == b"1.0"
        assert puppet.call.returns.cancelled()
    assert "its response is cut" in caplog.text


def test_each_request_of_a_connection_has_its_own_time(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=FIVE) as wire:
        for _ in range(3):
            wire.feed(request()).wait(4)
            wire.run(puppet.call.send(start()), puppet.call.send(body(b"ok")))
            wire.wait(4)
        assert wire.statuses() == [200, 200, 200]
        assert not wire.closed


def test_what_runs_on_after_its_response_is_left_alone(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=FIVE) as wire:
        wire.feed(request()).run(puppet.call.send(start()), puppet.call.send(body(b"ok")))
        wire.wait(20)
        assert not puppet.call.returns.cancelled()
        assert wire.feed(NEXT).wait(6).statuses() == [200, 504]


def test_the_time_begins_with_the_complete_head_and_includes_the_body(parser: str) -> None:
    with Driver.asgi(Puppet(), parser, timeouts=FIVE) as wire:
        wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\n").wait(4)
        wire.feed(b"Content-Length: 10\r\n\r\nhello").wait(4)
        assert wire.output == b""
        wire.wait(1.1)
        assert wire.answer().status == 504


def test_an_application_that_will_not_be_cancelled_is_logged_once_and_still_counted(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    end = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                pass

    with Driver.asgi(app, parser, timeouts=FIVE) as wire:
        wire.feed(request(b"/stubborn")).wait(6)
        assert wire.answer().status == 504
        wire.wait(GRACE - 1)
        assert "still runs" not in caplog.text
        for _ in range(10):
            wire.wait(1)
        assert caplog.text.count("GET /stubborn: still runs") == 1
        assert len(wire.service.running) == 1
        assert wire.service.overdue.stuck == "GET /stubborn"
        wire.do(end.set)
        assert not wire.service.running
        wire.wait(1)
        assert wire.service.overdue.stuck == ""


def test_a_task_that_had_no_turn_yet_when_its_time_was_over_is_taken_off_the_books(parser: str) -> None:
    with Driver.asgi(sending(start(), body(b"late")), parser, timeouts=FIVE) as wire:

        def block() -> None:  # the loop, between the request and the first step of its task
            wire.connection.data_received(request())
            wire.clock.now += 6
            wire.service.tick()

        wire.do(block)
        assert wire.statuses() in ([504], [200])  # 200 where tasks start eagerly
        assert not wire.service.running


# WSGI


def test_a_wsgi_call_gets_its_504_and_is_known_to_be_stuck_until_it_ends(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun, end = threading.Event(), threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        begun.set()
        end.wait()
        start_response("200 OK", [])
        return [b"late"]

    with Driver.wsgi(app, parser, timeouts=FIVE) as wire:
        try:
            wire.feed(request(b"/stuck")).until(begun.is_set)
            wire.wait(6)
            assert wire.answer().status == 504
            assert wire.closed
            wire.wait(GRACE - 1)
            assert wire.service.overdue.stuck == ""
            wire.wait(2)
            assert wire.service.overdue.stuck == "GET /stuck"
            assert caplog.text.count("GET /stuck: still runs") == 1
        finally:
            end.set()
        wire.finish().wait(1)
        assert wire.service.overdue.stuck == ""
        assert wire.answer().status == 504


def test_a_wsgi_request_that_waits_for_a_thread_is_answered_and_never_called(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []
    end = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        called.append(environ["PATH_INFO"])
        end.wait()
        start_response("200 OK", [])
        return [b"ok"]

    with Driver.wsgi(app, parser, timeouts=FIVE) as wire:
        try:
            first = wire.transport
            wire.feed(request(b"/first")).until(lambda: called)
            wire.wait(3).connect()
            wire.feed(request(b"/second")).wait(2.1)
            assert first.sent.startswith(b"HTTP/1.1 504")
            assert wire.output == b""
            wire.wait(3)
            assert wire.answer().status == 504
            wire.wait(GRACE + 1)
            assert wire.service.overdue.stuck == "GET /first"
        finally:
            end.set()
        wire.finish()
    assert called == ["/first"]
    assert "/second: still runs" not in caplog.text


def test_a_wsgi_stream_is_cut_and_ends_at_its_next_block(parser: str) -> None:
    begun, end, closed = threading.Event(), threading.Event(), threading.Event()

    class Stream:
        def __iter__(self) -> Any:
            yield b"one"
            begun.set()
            end.wait()
            yield b"two"
            raise AssertionError("it went on after its client was cut off")

        def close(self) -> None:
            closed.set()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Stream()

    with Driver.wsgi(app, parser, timeouts=FIVE) as wire:
        try:
            wire.feed(request()).until(begun.is_set)
            wire.wait(6)
            assert wire.closed
            assert (wire.answer().body, wire.answer().complete) == (b"one", False)
        finally:
            end.set()
        wire.finish()
    assert closed.is_set()

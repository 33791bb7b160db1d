"""Early hints, trailers, work after the response, a client that has left (asgiref, "Extensions"; RFC 8297, 9110)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from support.wire import NEXT, Driver, Puppet, body, request, sending, start

from shardserve.gateway.loader import prepare
from shardserve.http.exchange import CALLS_MAX
from shardserve.http.service import Timeouts


def hint(*links: bytes) -> dict[str, Any]:
    return {"type": "http.response.early_hint", "links": list(links)}


def begin(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {**start(status, *headers), "trailers": True}


def trailers(*headers: tuple[bytes, bytes], more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": list(headers), "more_trailers": more}


def run(parser: str, octets: bytes, *messages: dict[str, Any]) -> Driver:
    with Driver.asgi(sending(*messages), parser) as wire:
        return wire.feed(octets)


# Early hints


def test_early_hints_come_before_the_answer_with_their_links(parser: str) -> None:
    wire = run(parser, request() + NEXT, hint(b"</a>"), start(), hint(b"</b>", b"</c>"), body(b"ok"))
    first, second, final, *others = wire.answers()
    assert [one.status for one in (first, second, final)] == [103, 103, 200]
    assert first.headers == [(b"link", b"</a>")]
    assert second.headers == [(b"link", b"</b>"), (b"link", b"</c>")]
    assert final.body == b"ok"
    assert [one.status for one in others] == [103, 103, 200]
    assert wire.output.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")


def test_a_client_that_does_not_know_interim_answers_gets_none(parser: str) -> None:
    assert run(parser, request(version=b"1.0"), start(), hint(b"</a>"), body()).statuses() == [200]


def test_hints_after_the_head_are_too_late(parser: str) -> None:
    wire = run(parser, request(), start(), body(b"a", more=True), hint(b"</a>"), body(b"b"))
    assert wire.answer().body == b"ab"
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        *_, late = wire.run(*(puppet.call.send(message) for message in (start(), body(), hint(b"</a>"))))
        assert wire.statuses() == [200]
        assert late.done()


@pytest.mark.parametrize("link", [b"</a>\r\nX: y", b"</a>\n", "</a>", 5])
def test_a_hint_that_would_split_is_an_error(parser: str, link: Any) -> None:
    wire = run(parser, request() + NEXT, start(), hint(link), body(b"secret"))
    assert wire.statuses() == [500, 500]


# Trailers

TE = (b"TE: trailers", b"Connection: TE")
SUM = (b"x-sum", b"7")


@pytest.mark.parametrize("te", [TE, (b"TE: deflate, Trailers", b"Connection: TE"), (b"TE: gzip", b"TE: trailers")])
def test_trailers_come_behind_the_last_chunk(parser: str, te: tuple[bytes, ...]) -> None:
    for bodies in ([body(b"ab", more=True), body(b"cd")], [body(b"abcd")], [body(b"abcd", more=True), body()]):
        wire = run(parser, request(b"/", *te) * 2, begin(200, (b"Trailer", b"x-sum")), *bodies, trailers(SUM))
        assert wire.output.endswith(b"\r\n0\r\nx-sum: 7\r\n\r\n")
        assert wire.output.count(b"HTTP/1.1 200 OK") == 2
        assert not wire.closed


def test_trailers_may_come_in_parts(parser: str) -> None:
    parts = [trailers(SUM, more=True), trailers(more=True), trailers((b"x-b", b"c"))]
    wire = run(parser, request(b"/", *TE), begin(), body(b"abcd"), *parts)
    assert wire.output.endswith(b"\r\n0\r\nx-sum: 7\r\nx-b: c\r\n\r\n")


@pytest.mark.parametrize(
    "octets",
    [
        request(),
        request(b"/", b"TE: trailersx"),
        request(b"/", *TE, version=b"1.0"),
        request(b"/", b"TE: trailers, , \t", b"X: y", method=b"HEAD"),
    ],
)
def test_trailers_are_dropped_for_who_does_not_take_them(
    parser: str, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "shardserve")
    wire = run(parser, octets, begin(), body(b"ab", more=True), body(b"cd"), trailers(SUM))
    answer = wire.answer("HEAD" if octets.startswith(b"HEAD") else "GET")
    assert (answer.status, answer.complete) == (200, True)
    assert b"x-sum" not in wire.output
    assert "trailers dropped" in caplog.text


def test_trailers_with_a_declared_length_or_without_a_body_are_dropped(parser: str) -> None:
    for first in (begin(200, (b"Content-Length", b"4")), begin(204), begin(304)):
        wire = run(parser, request(b"/", *TE) * 2, first, body(b"abcd"), trailers(SUM))
        assert len(wire.answers()) == 2
        assert b"x-sum" not in wire.output
        assert not wire.closed


def test_framing_is_no_trailer(parser: str) -> None:
    fields = [(b"Content-Length", b"9"), (b"Transfer-Encoding", b"chunked"), SUM]
    wire = run(parser, request(b"/", *TE), begin(), body(b"abcd"), trailers(*fields))
    assert wire.output.endswith(b"\r\n0\r\nx-sum: 7\r\n\r\n")


@pytest.mark.parametrize("field", [(b"x", b"a\r\nb: c"), (b"x y", b"a"), ("x", b"a"), (b"x", "a"), (b"x", b"\0")])
def test_a_trailer_that_would_split_cuts_the_answer(parser: str, field: Any) -> None:
    wire = run(parser, request(b"/", *TE) + NEXT, begin(), body(b"abcd"), trailers(field))
    assert (wire.answer().body, wire.answer().complete) == (b"abcd", False)
    assert wire.closed


@pytest.mark.parametrize(
    "messages",
    [
        [start(), trailers(SUM)],
        [begin(), trailers(SUM)],
        [begin(), body(b"a", more=True), trailers(SUM)],
        [begin(), body(b"a"), body(b"b")],
        [begin(), body(b"a"), trailers(SUM), trailers(SUM)],
        [start(), body(b"a"), trailers(SUM)],
    ],
)
def test_trailers_out_of_turn_raise(parser: str, messages: list[dict[str, Any]]) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", *TE))
        *_, last = wire.run(*(puppet.call.send(message) for message in messages))
        assert isinstance(last.exception(), RuntimeError)


def test_the_response_is_complete_with_its_trailers(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", *TE) + NEXT)
        call = puppet.call
        wire.run(call.receive(), call.send(begin()), call.send(body(b"a")))
        (told,) = wire.run(call.receive())
        assert not told.done()
        assert len(puppet.calls) == 1
        wire.run(call.send(trailers()))
        assert told.result() == {"type": "http.disconnect"}
        assert len(puppet.calls) == 2


# Work after the response


def test_work_after_the_response_is_bounded_and_then_the_next_request_waits(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        for number in range(CALLS_MAX):
            wire.feed(request(b"/%d" % number))
            wire.run(puppet.call.send(start()), puppet.call.send(body(b"ok")))
        assert len(puppet.calls) == CALLS_MAX
        wire.feed(request(b"/one-more")).wait(1000)
        assert len(puppet.calls) == CALLS_MAX
        assert not wire.closed
        # Another connection has its own measure.
        wire.connect()
        wire.feed(request(b"/other"))
        assert puppet.call.scope["path"] == "/other"


def test_the_request_that_waits_begins_when_a_call_has_returned(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        for _ in range(CALLS_MAX):
            wire.feed(request())
            wire.run(puppet.call.send(start()), puppet.call.send(body(b"ok")))
        wire.feed(request(b"/waits") + request(b"/too")).wait(200)
        assert len(puppet.calls) == CALLS_MAX
        wire.do(puppet.calls[3].returns.set_result, None)
        assert len(puppet.calls) == CALLS_MAX + 1
        assert puppet.call.scope["path"] == "/waits"
        wire.run(puppet.call.send(start()), puppet.call.send(body(b"ok")))
        assert len(puppet.calls) == CALLS_MAX + 1
        for call in list(puppet.calls):
            if not call.returns.done():
                wire.do(call.returns.set_result, None)
        assert puppet.call.scope["path"] == "/too"
        assert wire.connection.calls == 1


# A client that has left

GRACE = Timeouts(disconnect_grace=5.0)


def test_a_handler_whose_client_has_left_is_cancelled_after_the_grace(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=GRACE) as wire:
        wire.feed(request()).wait(100).reset().wait(4.9)
        assert not puppet.call.returns.done()
        wire.wait(0.2)
        assert puppet.call.returns.cancelled()
        assert not wire.service.running
    assert "failed" not in caplog.text


def test_without_the_option_it_runs_to_its_end(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request()).reset().wait(100_000)
        assert not puppet.call.returns.done()


def test_one_whose_response_is_complete_is_never_cancelled(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=GRACE) as wire:
        wire.feed(request())
        wire.run(puppet.call.send(start()), puppet.call.send(body(b"ok")))
        wire.reset().wait(100)
        assert not puppet.call.returns.done()


def test_one_that_ends_within_the_grace_is_left_alone(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=GRACE) as wire:
        wire.feed(request()).reset()
        wire.do(puppet.call.returns.set_result, None).wait(10)
        assert not wire.service.overdue._deserted


# ASGI 2


class Double:
    """An ASGI 2 application."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        await send(start())
        await send(body(self.scope["raw_path"]))


def double(scope: Any) -> Double:
    return Double(scope)


@pytest.mark.parametrize(("app", "wanted"), [(Double, "auto"), (Double, "asgi"), (double, "asgi2")])
def test_an_application_that_is_called_twice_is_served(parser: str, app: Any, wanted: str) -> None:
    loaded = prepare(app, wanted, "app")
    assert loaded.interface == "asgi"
    with Driver.asgi(loaded.app, parser) as wire:
        wire.feed(request(b"/a") + request(b"/b"))
        assert [one.body for one in wire.answers()] == [b"/a", b"/b"]

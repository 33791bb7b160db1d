"""HTTP/1 requests on a connection: keep-alive, bodies, 100-continue, the end of the stream, and bodies nobody reads.

Sections are of RFC 9112 unless another RFC is named.
"""

from __future__ import annotations

import itertools
import random

import pytest
from support.wire import NEXT, Driver, Echo, Puppet, body, hello, judge, request, sending, start

from shardserve.http.request import Limits
from shardserve.http.service import Timeouts

POST = {"method": b"POST"}
CHUNKED = b"Transfer-Encoding: chunked"


def answer(wire: Driver, puppet: Puppet, data: bytes = b"ok") -> None:
    """Answer the latest call of a puppet, and leave it."""
    call = puppet.call  # the next one begins with the answer
    wire.run(call.send(start()), call.send(body(data)))
    wire.do(call.returns.set_result, None)


def leave(wire: Driver, puppet: Puppet) -> None:
    wire.do(puppet.call.returns.set_result, None)


# Keep-alive (section 9.3)


@pytest.mark.parametrize(
    ("version", "asked", "said", "kept"),
    [
        (b"1.1", [], None, True),
        (b"1.1", [b"Connection: keep-alive"], None, True),
        (b"1.1", [b"Connection: close"], b"close", False),
        (b"1.1", [b"Connection: keep-alive, close"], b"close", False),
        (b"1.1", [b"Connection: te", b"Connection: CLOSE"], b"close", False),
        (b"1.0", [], b"close", False),
        (b"1.0", [b"Connection: keep-alive"], b"keep-alive", True),
        (b"1.0", [b"Connection: Keep-Alive"], b"keep-alive", True),
        (b"1.0", [b"Connection: close, keep-alive"], b"close", False),
        (b"1.3", [], None, True),
    ],
)
def test_the_connection_is_kept_or_closed_as_the_client_asks_and_is_told_so(
    parser: str, version: bytes, asked: list[bytes], said: bytes | None, kept: bool
) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request(b"/a", *asked, version=version))
        first = wire.answer()
        assert (first.status, first.body, first.framing) == (200, b"/a", "length")
        assert first.get(b"connection") == said
        assert wire.closed is not kept
        wire.feed(request(b"/b", *asked, version=version))
        assert [one.body for one in wire.answers()] == ([b"/a", b"/b"] if kept else [b"/a"])


def test_a_client_that_asked_for_the_close_is_closed_at_once_without_lingering(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request(b"/", b"Connection: close"))
        assert wire.transport.lost
        assert not wire.service.connections


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_application_may_close_a_connection_that_the_client_would_keep(parser: str, version: bytes) -> None:
    app = sending(start(200, (b"Connection", b"close")), body(b"ok"))
    with Driver.asgi(app, parser) as wire:
        wire.feed(request(b"/", b"Connection: keep-alive", version=version))
        assert wire.answer()[b"connection"] == b"close"
        assert wire.lingers  # the next request may be on its way: a reset would eat the answer (section 9.6)
        wire.feed(NEXT)
        assert wire.statuses() == [200]
        wire.end()
        assert wire.transport.lost


def test_lingering_ends_by_itself(parser: str) -> None:
    app = sending(start(200, (b"Connection", b"close")), body(b"ok"))
    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        wire.wait(1.5)
        assert wire.lingers
        wire.wait(1.0)
        assert wire.transport.lost


def test_a_reset_that_was_not_seen_yet_does_not_disturb_the_end(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 100000", **POST))
        wire.transport.has_reset = True  # asyncio's transport raises where it cannot end the stream, uvloop's does not
        wire.run(puppet.call.send(start()))
        (task,) = wire.run(puppet.call.send(body(b"ok")))
        assert task.exception() is None
        assert wire.transport.lost
        leave(wire, puppet)


def test_a_client_that_never_stops_is_read_for_16_mib_while_lingering_and_no_more(parser: str) -> None:
    app = sending(start(200, (b"Connection", b"close")), body(b"ok"))
    mib = bytes(1024**2)
    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        wire.feed(*[mib] * 16)
        assert wire.transport.reading
        wire.feed(b"x", mib)
        assert not wire.transport.reading
        assert wire.transport.waiting == len(mib)
        wire.do(wire.connection.release)  # as exchanges do at any time
        assert not wire.transport.reading
        wire.wait(2.5)
        assert wire.transport.lost
        assert wire.statuses() == [200]


def test_an_idle_connection_whose_end_waits_for_what_is_buffered_answers_no_more(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.connection.copied = True  # so that its end cannot be left to the transport
        wire.transport.stop_taking()
        wire.feed(request())
        wire.wait(76)
        assert wire.lingers
        wire.feed(request()).take().wait(1.5)
        assert wire.statuses() == [200]
        wire.wait(1.0)
        assert wire.transport.lost


def test_an_idle_connection_is_closed_after_the_keep_alive_time_and_not_before(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.wait(74)
        wire.feed(request())
        wire.wait(74)
        assert not wire.closed
        wire.wait(2)
        assert wire.transport.lost
        assert wire.statuses() == [200]


def test_a_connection_that_never_sends_is_closed_after_the_keep_alive_time(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.wait(76)
        assert wire.transport.lost
        assert wire.output == b""


def test_a_request_under_way_is_not_ended_by_the_keep_alive_time(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        wire.wait(100_000)
        assert not wire.closed
        answer(wire, puppet)
        assert wire.statuses() == [200]


# Bodies (section 6)


@pytest.mark.parametrize(
    "octets",
    [
        request(b"/", b"Content-Length: 11", **POST, data=b"hello\r\n\r\nyo"),
        request(b"/", CHUNKED, **POST, data=b"5\r\nhello\r\n6;a=b\r\n\r\n\r\nyo\r\n0\r\nX-A: b\r\nHost: evil\r\n\r\n"),
        request(b"/", b"Content-Length: 11", b"Expect: 100-continue", version=b"1.0", data=b"hello\r\n\r\nyo"),
    ],
    ids=["length", "chunked", "1.0"],
)
def test_a_body_reaches_the_application_whole_however_it_arrives(parser: str, octets: bytes) -> None:
    verdict = judge(octets, parser)
    assert verdict.bodies == [b"hello\r\n\r\nyo"]
    assert verdict.statuses == (200,)
    ((_, _, headers, _),) = verdict.seen
    assert headers[0] == (b"host", b"a")
    assert b"x-a" not in dict(headers)  # RFC 9110 section 6.5.1: trailers are not headers


@pytest.mark.parametrize("framing", [b"Content-Length: 0", CHUNKED, b"X-A: b"])
def test_an_empty_body_is_one_empty_message(parser: str, framing: bytes) -> None:
    puppet = Puppet()
    data = b"0\r\n\r\n" if framing == CHUNKED else b""
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", framing, **POST, data=data))
        (task,) = wire.run(puppet.call.receive())
        assert task.result() == {"type": "http.request", "body": b"", "more_body": False}


def test_a_body_may_come_with_its_parts(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 6", **POST, data=b"ab"))
        (task,) = wire.run(puppet.call.receive())
        assert task.result() == {"type": "http.request", "body": b"ab", "more_body": True}
        (task,) = wire.run(puppet.call.receive())
        assert not task.done()
        wire.feed(b"cd")
        assert task.result() == {"type": "http.request", "body": b"cd", "more_body": True}
        wire.feed(b"e", b"f" + NEXT)
        (task,) = wire.run(puppet.call.receive())
        assert task.result() == {"type": "http.request", "body": b"ef", "more_body": False}
        answer(wire, puppet)
        answer(wire, puppet)
        assert [call.scope["path"] for call in puppet.calls] == ["/", "/next"]


@pytest.mark.parametrize("seed", range(4))
def test_a_large_body_arrives_whole_in_random_cuts(parser: str, seed: int) -> None:
    data = random.Random(seed).randbytes(300_000)
    sizes = itertools.cycle([1, 70_000, 9, 4096, 16])
    chunks, at = b"", 0
    while at < len(data):
        piece = data[at : at + next(sizes)]
        chunks += b"%x\r\n%b\r\n" % (len(piece), piece)
        at += len(piece)
    for octets in (
        request(b"/", CHUNKED, **POST, data=chunks + b"0\r\n\r\n"),
        request(b"/", b"Content-Length: 300000", **POST, data=data),
    ):
        echo = Echo()
        with Driver.asgi(echo, parser) as wire:
            wire.feed_cut(octets + NEXT, seed, cuts=30)
            assert [seen[3] for seen in echo.seen] == [data, b""]
            assert wire.statuses() == [200, 200]


MALFORMED = [
    b"x\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5_\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhellooo\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5;\r\nhello\r\n0\r\n\r\n",
    b"5;a=\r\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"-1\r\n\r\n",
    b"0\r\nX-A\r\n\r\n",
    b"0\r\nX-A: b\r\n c\r\n\r\n",
    b"0\r\n\n\r\n",
    b"5\r\nhello\r\n0\r\nX A: b\r\n\r\n",
]


@pytest.mark.parametrize("data", MALFORMED)
def test_a_malformed_chunk_is_bad_and_closes_and_nothing_behind_it_is_served(parser: str, data: bytes) -> None:
    verdict = judge(request(b"/", CHUNKED, **POST, data=data), parser)
    assert verdict.seen == ()
    assert (verdict.statuses, verdict.closed) == ((400,), True)


def test_the_application_is_told_that_its_body_was_malformed(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", CHUNKED, **POST))
        (task,) = wire.run(puppet.call.receive())
        wire.feed(b"x\r\n")
        assert task.result() == {"type": "http.disconnect"}
        assert wire.statuses() == [400]
        (task,) = wire.run(puppet.call.send(start()))
        assert isinstance(task.exception(), OSError)
        leave(wire, puppet)
        assert wire.statuses() == [400]


def test_a_malformed_chunk_after_the_head_of_the_answer_cuts_the_answer(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", CHUNKED, **POST))
        wire.run(puppet.call.send(start()), puppet.call.send(body(b"part", more=True)))
        wire.feed(b"x\r\n")
        assert wire.closed
        cut = wire.answer()
        assert (cut.status, cut.body, cut.complete) == (200, b"part", False)
        leave(wire, puppet)
        assert wire.answer() == cut


@pytest.mark.parametrize("ending", [b"x\r\n", b"5\r\nhelloo", b""], ids=["malformed", "too long", "end of stream"])
def test_a_body_that_goes_wrong_after_the_answer_gets_no_second_answer(parser: str, ending: bytes) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request(b"/a", CHUNKED, **POST))
        assert wire.statuses() == [200]
        wire.feed(ending) if ending else wire.end()
        assert wire.statuses() == [200]
        assert wire.closed


def test_a_declared_body_that_is_cut_after_the_answer_gets_no_second_answer(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request(b"/a", b"Content-Length: 5", **POST, data=b"abc"))
        assert wire.statuses() == [200]
        wire.end()
        assert wire.statuses() == [200]
        assert wire.transport.lost


# 100-continue (RFC 9110 section 10.1.1)


EXPECT = b"Expect: 100-continue"


def test_a_continue_is_sent_when_the_application_first_reads_and_once(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", EXPECT, b"Content-Length: 4", **POST))
        assert wire.output == b""
        (task,) = wire.run(puppet.call.receive())
        assert wire.output == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.feed(b"ab")
        assert task.result()["body"] == b"ab"
        (task,) = wire.run(puppet.call.receive())
        wire.feed(b"cd")
        assert task.result() == {"type": "http.request", "body": b"cd", "more_body": False}
        answer(wire, puppet)
        assert wire.statuses() == [100, 200]
        assert not wire.closed


def test_no_continue_is_sent_for_a_body_that_is_there_already(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", EXPECT, CHUNKED, **POST, data=b"1\r\na\r\n0\r\n\r\n"))
        (task,) = wire.run(puppet.call.receive())
        assert task.result()["body"] == b"a"
        answer(wire, puppet)
        assert wire.statuses() == [200]
        assert not wire.closed


@pytest.mark.parametrize("framing", [b"Content-Length: 4", CHUNKED])
def test_an_application_that_does_not_read_sends_no_continue_and_closes(parser: str, framing: bytes) -> None:
    """Whether the client sends the body after a final answer is its choice: where the next request begins is unsure."""
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request(b"/a", EXPECT, framing, **POST))
        assert wire.answer().status == 200
        assert wire.answer()[b"connection"] == b"close"
        wire.feed(NEXT)
        assert wire.statuses() == [200]
        assert wire.closed


def test_no_continue_is_sent_after_the_head_of_the_answer(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", EXPECT, b"Content-Length: 4", **POST))
        wire.run(puppet.call.send(start()), puppet.call.send(body(b"a", more=True)), puppet.call.receive())
        wire.run(puppet.call.send(body(b"b")))
        assert (wire.answer().status, wire.answer().body) == (200, b"ab")
        wire.run(puppet.call.receive())
        assert wire.answer().body == b"ab"


def test_a_client_that_waits_for_a_continue_is_not_late(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=Timeouts(body=5)) as wire:
        wire.feed(request(b"/", EXPECT, b"Content-Length: 4", **POST))
        for _ in range(20):
            wire.wait(1)
        assert wire.output == b""
        wire.run(puppet.call.receive())
        for _ in range(7):
            wire.wait(1)
        assert wire.statuses() == [100, 408]
        leave(wire, puppet)


def test_a_client_that_waits_for_a_continue_and_gets_an_answer_is_timed_again(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=Timeouts(body=5)) as wire:
        wire.feed(request(b"/", EXPECT, b"Content-Length: 4", **POST))
        wire.run(puppet.call.send(start()), puppet.call.send(body(b"a", more=True)), puppet.call.receive())
        for _ in range(7):
            wire.wait(1)
        assert wire.closed
        assert not wire.answer().complete
        leave(wire, puppet)


def test_a_continue_is_not_for_http_1_0(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", EXPECT, b"Content-Length: 4", method=b"POST", version=b"1.0"))
        wire.run(puppet.call.receive())
        assert wire.output == b""


def test_another_expectation_is_read_over(parser: str) -> None:
    verdict = judge(request(b"/", b"Expect: magic", b"Content-Length: 4", data=b"body", **POST), parser)
    assert (verdict.bodies, verdict.statuses, verdict.closed) == ([b"body"], (200,), False)


# The end of the stream (section 8, 9.6)


def test_the_end_of_an_idle_connection_closes_it_without_a_word(parser: str) -> None:
    for octets in (b"", request(), b"\r\n"):
        with Driver.asgi(hello, parser) as wire:
            if octets:
                wire.feed(octets)
            wire.end()
            assert wire.transport.lost
            assert len(wire.answers()) == (octets == request())


@pytest.mark.parametrize(
    "octets",
    [
        b"G",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r",
        request(b"/", b"Content-Length: 5", **POST),
        request(b"/", b"Content-Length: 5", **POST, data=b"hell"),
        request(b"/", CHUNKED, **POST),
        request(b"/", CHUNKED, **POST, data=b"5\r\nhello\r\n"),
        request(b"/", CHUNKED, **POST, data=b"5\r\nhello\r\n0\r\n"),
        request(b"/", CHUNKED, **POST, data=b"5\r\nhello\r\n0\r\n\r"),
        request(b"/", CHUNKED, **POST, data=b"ffffffffffffffff\r\nhello"),
    ],
)
def test_a_request_that_is_cut_by_the_end_of_the_stream_is_bad(parser: str, octets: bytes) -> None:
    verdict = judge(octets, parser, end=True)
    assert (verdict.seen, verdict.statuses, verdict.closed) == ((), (400,), True)


def test_a_cut_request_behind_a_whole_one_is_bad_after_the_whole_one_is_answered(parser: str) -> None:
    for rest in (b"G", b"GET /b HTTP/1.1\r\n", request(b"/b", b"Content-Length: 5", **POST, data=b"hell")):
        verdict = judge(request(b"/a") + rest, parser, end=True)
        assert [target for _, target, *_ in verdict.seen] == [b"/a"]
        assert (verdict.statuses, verdict.closed) == ((200, 400), True)


def test_a_client_that_ended_its_side_is_answered(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 2", **POST, data=b"ab")).end()
        assert not wire.closed
        (task,) = wire.run(puppet.call.receive())
        assert task.result() == {"type": "http.request", "body": b"ab", "more_body": False}
        answer(wire, puppet)
        assert wire.statuses() == [200]
        assert wire.transport.lost


def test_an_application_that_waits_for_the_disconnect_is_told_of_the_end(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        wire.run(puppet.call.receive())
        (task,) = wire.run(puppet.call.receive())
        assert not task.done()
        wire.end()
        assert task.result() == {"type": "http.disconnect"}
        answer(wire, puppet)
        assert wire.statuses() == [200]


@pytest.mark.parametrize("count", [2, 15, 16, 17, 40])
@pytest.mark.parametrize("apart", [True, False])
def test_every_request_before_the_end_of_the_stream_is_answered(parser: str, count: int, apart: bool) -> None:
    with Driver.asgi(hello, parser) as wire:
        octets = b"".join(request(b"/%d" % number) for number in range(count))
        if apart:
            wire.feed(octets).end()
        else:  # the end arrives in the same turn of the loop
            wire.transport.arrive(octets)
            wire.end()
        assert [one.body for one in wire.answers()] == [b"/%d" % number for number in range(count)]
        assert wire.transport.lost


@pytest.mark.parametrize("empty", [b"\r\n", b"\r\n\r\n", b"\r"])
def test_an_empty_line_behind_the_last_request_does_not_hold_the_close(parser: str, empty: bytes) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request() + empty).end()
        answer(wire, puppet)
        assert wire.statuses()[0] == 200
        assert wire.closed


def test_a_reset_tells_the_application_and_nothing_is_left(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 5", **POST, data=b"a"))
        wire.run(puppet.call.receive())
        (task,) = wire.run(puppet.call.receive())
        wire.reset()
        assert task.result() == {"type": "http.disconnect"}
        (task,) = wire.run(puppet.call.send(start()))
        assert isinstance(task.exception(), OSError)
        leave(wire, puppet)
        assert not wire.service.connections
        assert not wire.service.running


# A body that the application does not read


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_small_unread_body_is_read_over_and_the_connection_kept(parser: str, chunked: bool, when: str) -> None:
    data = b"x" * 60_000
    framing = CHUNKED if chunked else b"Content-Length: %d" % len(data)
    if chunked:
        data = b"%x\r\n%b\r\n0\r\nX: y\r\n\r\n" % (len(data), data)
    with Driver.asgi(hello, parser) as wire:
        if when == "before":
            wire.feed(request(b"/a", framing, **POST, data=data) + NEXT)
        else:
            wire.feed(request(b"/a", framing, **POST))
            assert wire.statuses() == [200]
            assert b"connection" not in wire.answer()
            wire.feed(data + NEXT)
        assert [one.body for one in wire.answers()] == [b"/a", b"/next"]
        assert not wire.closed


def test_a_large_unread_body_closes_and_says_so(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request(b"/a", b"Content-Length: 70000", **POST))
        assert wire.answer()[b"connection"] == b"close"
        assert wire.lingers
        wire.feed(b"x" * 70_000 + NEXT)  # read and thrown away: no reset that would eat the answer
        assert wire.transport.waiting == 0
        assert wire.statuses() == [200]
        wire.wait(3)
        assert wire.transport.lost


def test_a_large_unread_chunked_body_closes(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request(b"/a", CHUNKED, **POST))
        assert not wire.closed
        for _ in range(70):
            wire.feed(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        assert wire.lingers
        wire.feed(b"0\r\n\r\n" + NEXT)
        assert wire.statuses() == [200]


def test_a_body_that_was_being_held_is_read_over_once_the_answer_is_sent(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 130000", **POST, data=b"x" * 70_000))
        assert not wire.transport.is_reading()
        wire.feed(b"x" * 60_000 + NEXT)
        assert wire.transport.waiting
        answer(wire, puppet)
        assert wire.transport.waiting == 0
        answer(wire, puppet)
        assert wire.statuses() == [200, 200]
        assert not wire.closed


# Back-pressure towards the client


def test_a_client_is_held_while_the_application_does_not_read_and_goes_on_when_it_does(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 300000", **POST))
        for _ in range(300):
            wire.feed(b"x" * 1000)
        assert wire.transport.waiting > 230_000
        got = 0
        while got < 300_000:
            (task,) = wire.run(puppet.call.receive())
            message = task.result()
            assert message["type"] == "http.request"
            assert len(message["body"]) <= 2 * 65536
            got += len(message["body"])
        assert message["more_body"] is False
        assert wire.transport.waiting == 0
        answer(wire, puppet)
        wire.feed(NEXT)
        answer(wire, puppet)
        assert wire.statuses() == [200, 200]


def test_a_held_client_is_not_timed_out(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 100000", **POST, data=b"x" * 70_000))
        for _ in range(200):
            wire.wait(1)
        assert not wire.closed
        wire.run(puppet.call.receive())
        wire.feed(b"x" * 30_000)
        answer(wire, puppet)
        assert wire.statuses() == [200]


# Errors


def test_a_bad_request_waits_for_the_answer_under_way_and_then_closes(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(), b"GET bad\r\n\r\n", NEXT)
        assert wire.output == b""
        wire.run(puppet.call.send(start()), puppet.call.send(body(b"a", more=True)))
        assert wire.statuses() == [200]
        wire.run(puppet.call.send(body(b"b")))
        leave(wire, puppet)
        first, second = wire.answers()
        assert (first.body, first.complete) == (b"ab", True)
        assert (second.status, second.complete, second[b"connection"]) == (400, True, b"close")
        assert wire.closed
        assert len(puppet.calls) == 1


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (request(b"/" + b"a" * 9000), 414),
        (request(b"/", b"X: " + b"a" * 9000), 431),
        (request(b"/", *[b"X: a"] * 200), 431),
        (request(b"/", b"Transfer-Encoding: x, chunked"), 501),
        (request(b"/", method=b"BREW"), 501),
        (request(b"/", version=b"2.0"), 505),
    ],
)
def test_an_error_answer_is_complete_plain_text_and_closes_with_lingering(
    parser: str, octets: bytes, status: int
) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(octets)
        error = wire.answer()
        assert error.status == status
        assert error.framing == "length"
        assert error.complete
        assert error.body.endswith(b"\n")
        assert error[b"content-type"] == b"text/plain; charset=utf-8"
        assert error[b"connection"] == b"close"
        assert error[b"date"] == b"Sun, 06 Nov 1994 08:49:37 GMT"
        assert wire.lingers
        wire.feed(NEXT)
        assert wire.statuses() == [status]
        wire.wait(3)
        assert wire.transport.lost


def test_an_error_answer_does_not_repeat_what_the_client_sent(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request(b"/", b"X <script>: alert"))
        assert wire.statuses() == [400]
        assert b"script" not in wire.output


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_answered_413_and_closed(parser: str, chunked: bool) -> None:
    echo = Echo()
    framing = CHUNKED if chunked else b"Content-Length: 11"
    data = b"b\r\nhello world\r\n0\r\n\r\n" if chunked else b"hello world"
    with Driver.asgi(echo, parser, limits=Limits(body=10)) as wire:
        wire.feed(request(b"/", framing, **POST), data)
        assert wire.statuses() == [413]
        assert wire.closed
        assert echo.seen == []


# Clients that are slow


def test_a_head_that_takes_too_long_is_answered_408(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.wait(60).feed(b"GET / HT").wait(6).feed(b"TP/1.1\r\nHo").wait(3)
        assert not wire.closed
        wire.wait(2)
        assert (wire.answer().status, wire.answer()[b"connection"]) == (408, b"close")  # RFC 9110 section 15.5.9
        assert wire.closed


def test_a_head_within_its_time_is_served_and_the_next_has_its_own(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        for _ in range(3):
            wire.feed(b"GET / HTTP/1.1\r\n").wait(9).feed(b"Host: a\r\n\r\n").wait(30)
        assert wire.statuses() == [200] * 3
        assert not wire.closed


def test_a_body_that_pauses_too_long_is_answered_408_and_the_application_told(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, timeouts=Timeouts(body_min_rate=0)) as wire:
        wire.feed(request(b"/", b"Content-Length: 9", **POST, data=b"a"))
        wire.run(puppet.call.receive())
        (task,) = wire.run(puppet.call.receive())
        for _ in range(29):
            wire.wait(1)
        assert not task.done()
        wire.feed(b"b")
        assert task.result()["body"] == b"b"
        (task,) = wire.run(puppet.call.receive())
        for _ in range(32):
            wire.wait(1)
        assert task.result() == {"type": "http.disconnect"}
        assert wire.statuses() == [408]
        assert wire.closed


def test_a_body_that_trickles_is_answered_408(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 100000", **POST))
        for _ in range(20):
            wire.feed(b"x" * 10).wait(1)
        assert wire.statuses() == [408]


def test_a_body_that_keeps_the_least_rate_is_taken(parser: str) -> None:
    echo = Echo()
    with Driver.asgi(echo, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 30000", **POST))
        for _ in range(100):
            wire.feed(b"x" * 300).wait(1)
        assert wire.statuses() == [200]
        assert len(echo.seen[0][3]) == 30_000

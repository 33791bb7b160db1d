"""HTTP/1 responses on a connection: framing, interim answers, what must not leave, and clients that do not keep up.

Sections are of RFC 9112 unless another RFC is named.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
from support.wire import NEXT, Driver, Puppet, body, hello, request, sending, start

DATE = (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")


def run(parser: str, octets: bytes, *messages: dict[str, Any]) -> Driver:
    """What becomes of a request whose application sends these messages."""
    with Driver.asgi(sending(*messages), parser) as wire:
        return wire.feed(octets)


# Framing (section 6.3)


def test_a_whole_body_gets_a_content_length_and_leaves_with_its_head_in_one_write(parser: str) -> None:
    wire = run(parser, request(), start(200, (b"X-A", b"b")), body(b"hello"))
    assert wire.output == (
        b"HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 5\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nhello"
    )
    assert len(wire.transport.writes) == 1


def test_a_body_with_its_length_declared_is_not_chunked_when_it_comes_in_parts(parser: str) -> None:
    parts = [body(b"he", more=True), body(b"", more=True), body(b"llo", more=True), body()]
    for version in (b"1.1", b"1.0"):
        wire = run(parser, request(version=version), start(200, (b"Content-Length", b"5")), *parts)
        assert wire.answer().body == b"hello"
        assert wire.answer().framing == "length"
        assert wire.closed is (version == b"1.0")


def test_a_body_of_unknown_length_is_chunked_on_1_1(parser: str) -> None:
    wire = run(parser, request(), start(), body(b"hello", more=True), body(b"", more=True), body(b"!" * 17))
    assert wire.answer().body == b"hello" + b"!" * 17
    assert wire.answer().framing == "chunked"
    assert wire.output.endswith(b"\r\n\r\n5\r\nhello\r\n11\r\n" + b"!" * 17 + b"\r\n0\r\n\r\n")
    assert not wire.closed


def test_a_body_of_unknown_length_ends_with_the_connection_on_1_0(parser: str) -> None:
    for asked in ([], [b"Connection: keep-alive"]):
        octets = request(b"/", *asked, version=b"1.0")
        wire = run(parser, octets, start(), body(b"hello", more=True), body(b"!"))
        assert wire.answer().body == b"hello!"
        assert wire.answer().framing == "close"
        assert wire.answer()[b"connection"] == b"close"
        assert wire.closed


def test_a_body_of_unknown_length_that_stays_empty_is_complete(parser: str) -> None:
    wire = run(parser, request(), start(), body(b"", more=True), body())
    assert (wire.answer().body, wire.answer().framing, wire.answer().complete) == (b"", "chunked", True)
    assert not wire.closed


def test_an_empty_body_has_length_zero(parser: str) -> None:
    wire = run(parser, request(), start(), body())
    assert wire.answer()[b"content-length"] == b"0"
    assert not wire.closed


@pytest.mark.parametrize("size", [65535, 65536, 65537, 1_000_000])
@pytest.mark.parametrize("declared", [True, False])
def test_a_body_of_any_size_arrives_whole(parser: str, size: int, declared: bool) -> None:
    fields = [(b"Content-Length", b"%d" % size)] if declared else []
    wire = run(parser, request(), start(200, *fields), body(b"x" * size))
    assert wire.answer().body == b"x" * size
    assert wire.answer().framing == "length"
    assert not wire.closed


@pytest.mark.parametrize(
    "message", [{"type": "http.response.start", "status": 204}, {"type": "http.response.start", "status": 200}]
)
def test_headers_and_body_may_be_left_out_of_the_messages(parser: str, message: dict[str, Any]) -> None:
    wire = run(parser, request(), message, {"type": "http.response.body"})
    assert wire.answer().status == message["status"]
    assert wire.answer().body == b""


@pytest.mark.parametrize("data", [bytearray(b"hello"), memoryview(b"hello")], ids=["bytearray", "memoryview"])
def test_a_body_may_be_anything_like_bytes(parser: str, data: Any) -> None:
    wire = run(parser, request(), start(), body(data))
    assert wire.answer().body == b"hello"
    wire = run(parser, request(), start(), body(data, more=True), body(data))
    assert wire.answer().body == b"hellohello"


# Answers without a body


@pytest.mark.parametrize(
    ("messages", "length"),
    [
        ([start(), body(b"hello")], b"5"),
        ([start(200, (b"Content-Length", b"99")), body()], b"99"),
        ([start(200, (b"Content-Length", b"5")), body(b"hello")], b"5"),
        ([start(200, (b"Content-Length", b"5")), body(b"he", more=True), body(b"llo")], b"5"),
        ([start(), body(b"he", more=True), body(b"llo")], None),
    ],
)
def test_head_gets_the_fields_of_get_and_no_body(
    parser: str, messages: list[dict[str, Any]], length: bytes | None
) -> None:
    octets = request(method=b"HEAD")
    wire = run(parser, octets + octets, *messages)
    first, second = wire.answers("HEAD", "HEAD")  # RFC 9110 section 9.3.2; the next answer begins where the head ends
    assert first.get(b"content-length") == length
    assert first.framing == "none"
    assert second.status == 200
    assert not wire.closed


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_head_keeps_a_connection_also_when_the_length_is_unknown(parser: str, version: bytes) -> None:
    octets = request(b"/", b"Connection: keep-alive", method=b"HEAD", version=version)
    wire = run(parser, octets, start(), body(b"hello", more=True), body())
    assert wire.answer("HEAD").framing == "none"
    assert not wire.closed


@pytest.mark.parametrize("fields", [[], [(b"Content-Length", b"5")], [(b"Transfer-Encoding", b"chunked")]])
def test_204_has_neither_body_nor_framing(parser: str, fields: list[tuple[bytes, bytes]]) -> None:
    wire = run(parser, request() + NEXT, start(204, *fields), body(b"hello"))
    assert wire.statuses() == [204, 204]  # the reader asserts that there is no framing: RFC 9110 section 8.6
    assert not wire.closed


def test_304_has_no_body_but_may_say_how_long_it_would_be(parser: str) -> None:
    wire = run(parser, request() + NEXT, start(304, (b"Content-Length", b"5"), (b"ETag", b'"a"')), body())
    first, _ = wire.answers()
    assert (first[b"content-length"], first[b"etag"]) == (b"5", b'"a"')
    wire = run(parser, request() + NEXT, start(304), body(b"hello", more=True), body(b"hello"))
    assert wire.statuses() == [304, 304]
    assert not wire.closed


# The application's Content-Length is kept to


@pytest.mark.parametrize(
    "parts", [[body(b"hello!!")], [body(b"hel", more=True), body(b"lo!!")], [body(b"hello!!", more=True), body(b"!")]]
)
def test_a_body_longer_than_declared_is_cut_and_the_connection_closed(
    parser: str, parts: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    wire = run(parser, request() + NEXT, start(200, (b"Content-Length", b"5")), *parts)
    assert wire.answer().body == b"hello"
    assert wire.answer().complete
    assert wire.closed
    assert "longer than its Content-Length" in caplog.text


@pytest.mark.parametrize("parts", [[body(b"hel")], [body(b"hel", more=True), body()], [body()]])
def test_a_body_shorter_than_declared_closes_the_connection(
    parser: str, parts: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    wire = run(parser, request() + NEXT, start(200, (b"Content-Length", b"5")), *parts)
    assert not wire.answer().complete  # so that the client can tell
    assert wire.closed
    assert "shorter than its Content-Length" in caplog.text


def test_an_application_that_sends_more_than_it_declared_is_told_that_nobody_hears_it(parser: str) -> None:
    """Else one that streams without end, or waits for the disconnect, would never stop."""
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        call = puppet.call
        wire.run(call.receive(), call.send(start(200, (b"Content-Length", b"2"))))
        wire.run(call.send(body(b"abc", more=True)))
        (sent,) = wire.run(call.send(body(b"d", more=True)))
        assert isinstance(sent.exception(), OSError)
        (received,) = wire.run(call.receive())
        assert received.result() == {"type": "http.disconnect"}
        wire.do(call.returns.set_result, None)
        assert not wire.service.running


# What must not leave: it becomes a 500, with nothing of it sent


SPLITS = [
    (b"X-A", b"b\r\nX-B: c"),
    (b"X-A", b"b\nX-B: c"),
    (b"X-A", b"b\rc"),
    (b"X-A", b"b\x00"),
    (b"X-A", b"\r\n\r\n<html>"),
    (b"X A", b"b"),
    (b"X-A\r\nX-B", b"c"),
    (b"", b"b"),
    (b"Location", b"/\r\nSet-Cookie: a=b"),
    (b"Content-Length", b"5\r\nX: y"),
    (b"Content-Length", b"-5"),
    (b"Content-Length", b"five"),
    ("X-A", b"b"),
    (b"X-A", "b"),
    (b"X-A", 5),
]


@pytest.mark.parametrize("field", SPLITS, ids=repr)
@pytest.mark.parametrize("more", [False, True])
def test_a_field_that_would_split_the_response_is_answered_500(parser: str, field: Any, more: bool) -> None:
    wire = run(parser, request() + NEXT, start(200, (b"X-Z", b"z"), field), body(b"secret", more=more))
    first, second = wire.answers()
    assert (first.status, second.status) == (500, 500)
    assert [name for name, _ in first.headers] == [b"content-type", b"content-length", b"date"]
    assert b"secret" not in wire.output
    assert not wire.closed


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 1000, -200, "200", None])
def test_a_status_that_is_none_is_answered_500(parser: str, status: Any) -> None:
    assert run(parser, request(), start(status), body(b"secret")).answer().status == 500


@pytest.mark.parametrize("data", ["text", None, 5, ["a"]])
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("fields", [[], [(b"Content-Length", b"9")]], ids=["unknown", "declared"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_first_body_that_is_not_octets_is_answered_500_with_nothing_of_the_first_answer_sent(
    parser: str, data: Any, more: bool, fields: list[tuple[bytes, bytes]], version: bytes
) -> None:
    wire = run(parser, request(version=version), start(200, *fields), body(data, more=more))
    assert wire.answer().status == 500
    assert wire.answer().complete


@pytest.mark.parametrize("data", ["text", 5])
def test_a_later_body_that_is_not_octets_cuts_the_answer(parser: str, data: Any) -> None:
    wire = run(parser, request() + NEXT, start(), body(b"a", more=True), body(data, more=True))
    assert (wire.answer().status, wire.answer().body, wire.answer().complete) == (200, b"a", False)
    assert wire.closed


def test_an_application_that_catches_the_error_may_not_start_again_but_the_client_is_answered(parser: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(200, (b"X A", b"b")))
        with pytest.raises(ValueError, match="token"):
            await send(body(b"x"))

    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        assert wire.answer().status == 500


# The wire's own fields


def test_the_applications_date_is_kept_and_only_one_is_sent(parser: str) -> None:
    assert run(parser, request(), start(200, (b"DATE", b"x")), body()).answer()[b"date"] == b"x"
    assert DATE in run(parser, request(), start(), body()).answer().headers


def test_the_date_moves_on(parser: str) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(request()).wait(1).feed(request())
        assert [one[b"date"][-12:-4] for one in wire.answers()] == [b"08:49:37", b"08:49:38"]


@pytest.mark.parametrize(
    "field", [(b"Transfer-Encoding", b"chunked"), (b"Connection", b"keep-alive"), (b"Keep-Alive", b"timeout=9")]
)
def test_the_applications_framing_is_not_sent_twice(parser: str, field: tuple[bytes, bytes]) -> None:
    wire = run(parser, request(version=b"1.0"), start(200, field), body(b"hello"))
    assert wire.answer().body == b"hello"
    assert wire.answer()[b"connection"] == b"close"
    assert b"keep-alive" not in wire.answer()
    assert b"transfer-encoding" not in wire.answer()


# A failing application


async def crash(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("on purpose")


async def crash_late(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send(body(b"part", more=True))
    raise ValueError("on purpose")


async def crash_after(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send(body(b"whole"))
    raise ValueError("on purpose")


async def leave(scope: Any, receive: Any, send: Any) -> None:
    return


async def leave_late(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send(body(b"part", more=True))


async def exit_process(scope: Any, receive: Any, send: Any) -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("app", [crash, leave, exit_process])
def test_an_application_that_fails_before_its_answer_gives_a_500_and_the_connection_goes_on(
    parser: str, app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Driver.asgi(app, parser) as wire:
        wire.feed(request(b"/a") + NEXT)
        assert wire.statuses() == [500, 500]
        assert wire.answers()[0].body == b"Internal Server Error\n"
        assert not wire.closed
        assert not wire.service.running
    assert "GET /a: the application failed" in caplog.text


@pytest.mark.parametrize("app", [crash_late, leave_late])
def test_an_application_that_fails_within_its_answer_cuts_it(
    parser: str, app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Driver.asgi(app, parser) as wire:
        wire.feed(request() + NEXT)
        assert (wire.answer().body, wire.answer().complete) == (b"part", False)
        assert wire.closed
    assert "the application failed" in caplog.text


def test_a_cut_answer_of_1_0_can_be_told_from_a_whole_one(parser: str) -> None:
    """A body that ends with the connection is cut by a reset: a clean end would say that it is whole (section 8)."""
    with Driver.asgi(crash_late, parser) as wire:
        wire.feed(request(version=b"1.0"))
        assert wire.answer().framing == "close"
        assert wire.transport.aborted


def test_an_application_that_fails_after_its_answer_is_logged_and_the_connection_goes_on(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Driver.asgi(crash_after, parser) as wire:
        wire.feed(request() + NEXT)
        assert wire.statuses() == [200, 200]
        assert not wire.closed
    assert caplog.text.count("ValueError: on purpose") == 2


def test_a_failing_application_leaves_a_small_body_to_be_read_over(parser: str) -> None:
    with Driver.asgi(crash, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 5", method=b"POST"), b"hello" + NEXT)
        assert wire.statuses() == [500, 500]


# A client that does not keep up


def test_send_waits_while_the_client_does_not_read(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        call = puppet.call
        wire.transport.stop_taking()
        (first,) = wire.run(call.send(start()))
        (first,) = wire.run(call.send(body(b"x" * 1000, more=True)))
        assert first.done()  # a little waits in the transport without holding the application
        (second,) = wire.run(call.send(body(b"x" * 100_000, more=True)))
        assert not second.done()
        wire.take()
        assert second.done()
        (third,) = wire.run(call.send(body(b"end")))
        assert third.done()
        assert wire.answer().body == b"x" * 101_000 + b"end"


def test_the_last_part_of_a_body_does_not_wait_for_the_client(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        wire.transport.stop_taking()
        _, sent = wire.run(puppet.call.send(start()), puppet.call.send(body(b"x" * 100_000)))
        assert sent.done()


def test_a_waiting_send_ends_when_the_client_is_gone_and_the_next_raises(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        wire.transport.stop_taking()
        _, waiting = wire.run(puppet.call.send(start()), puppet.call.send(body(b"x" * 100_000, more=True)))
        assert not waiting.done()
        wire.reset()
        assert waiting.done()
        (after,) = wire.run(puppet.call.send(body(b"x")))
        assert isinstance(after.exception(), OSError)


def test_a_cancelled_send_does_not_wake_another(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        wire.transport.stop_taking()
        call = puppet.call
        _, first, second = wire.run(
            call.send(start()), call.send(body(b"x" * 100_000, more=True)), call.send(body(b"y", more=True))
        )
        assert not first.done()
        assert not second.done()
        wire.do(first.cancel)
        assert first.cancelled()
        assert not second.done()
        wire.take()
        assert second.done()
        assert not second.cancelled()


def test_a_close_waits_until_the_client_has_read_its_answer(parser: str) -> None:
    with Driver.asgi(sending(start(), body(b"x" * 200_000)), parser) as wire:
        wire.transport.stop_taking()
        wire.feed(request(b"/", b"Connection: close"))
        assert not wire.transport.lost
        assert wire.service.connections
        wire.take()
        assert wire.transport.lost
        assert wire.answer().body == b"x" * 200_000


def test_a_client_that_never_reads_its_answer_is_given_up(parser: str) -> None:
    with Driver.asgi(sending(start(), body(b"x" * 200_000)), parser) as wire:
        wire.transport.stop_taking()
        wire.feed(request(b"/", b"Connection: close"))
        for _ in range(300):
            wire.wait(1)
        assert wire.transport.lost
        assert not wire.service.connections


# A client that is gone


def test_a_client_that_leaves_before_its_answer_is_no_fault_of_the_application(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await send(start())

    caplog.set_level(logging.INFO, "shardserve")
    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        wire.reset()
        assert not wire.service.running
    assert "failed" not in caplog.text


def test_an_application_that_fails_for_another_reason_after_the_client_left_is_logged(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        wire.reset()
        wire.do(puppet.call.returns.set_exception, ValueError("on purpose"))
        assert not wire.service.running
    assert "ValueError: on purpose" in caplog.text

"""An open WebSocket on a connection: messages, closing, bounds, keep-alive, compression. Sections are of RFC 6455."""

from __future__ import annotations

from typing import Any

import pytest
from support.taker import Taker
from support.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Client,
    Echo,
    Frame,
    accepted,
    closing,
    deflated,
    disconnect,
    frame,
    puppet,
    receives,
    text,
)

from shardserve.errors import ClientDisconnected
from shardserve.http.access import AccessLog
from shardserve.http.service import Timeouts
from shardserve.http.websocket import WebSocketSettings


def send(message: str | bytes) -> dict[str, Any]:
    return {"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message}


def got(message: str | bytes) -> dict[str, Any]:
    return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}


def close(code: int = 1000, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.close", "code": code, "reason": reason}


# Messages


def test_messages_go_both_ways(parser: str) -> None:
    with Client(Echo(), parser=parser) as client:
        client.feed(text("é"), frame(BINARY, b"\xff" * 70000), text(""), frame(BINARY))
        assert client.frames == [
            Frame(TEXT, "é".encode()),
            Frame(BINARY, b"\xff" * 70000),
            Frame(TEXT, b""),
            Frame(BINARY, b""),
        ]


def test_octet_by_octet_and_in_fragments() -> None:
    octets = frame(TEXT, b"\xc3", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"\xa9") + closing(3000, b"bye")
    echo = Echo()
    with Client(echo) as client:
        client.wire.feed_bytes(octets)
        assert client.frames == [Frame(PONG, b"p"), Frame(TEXT, "é".encode()), Frame(CLOSE, b"\x0b\xb8bye")]
        assert echo.ends == [disconnect(3000, "bye")]


def test_many_messages_in_one_read_are_all_answered() -> None:
    with Client(Echo()) as client:
        client.feed(b"".join(text(str(number)) for number in range(1000)) + closing())
        assert [int(one.data) for one in client.frames[:-1]] == list(range(1000))
        assert client.ended == 1000


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({}, TypeError),
        ({"bytes": None, "text": None}, TypeError),
        ({"bytes": "a"}, TypeError),
        ({"text": "\udc80"}, ValueError),
    ],
)
def test_what_is_no_message_is_the_applications_error(message: dict[str, Any], error: type[Exception]) -> None:
    client, app = accepted()
    with client:
        (task,) = client.wire.run(app.call.send({"type": "websocket.send", **message}))
        assert isinstance(task.exception(), error)
        client.wire.run(app.call.send(send(bytearray(b"good"))))
        assert client.frames == [Frame(BINARY, b"good")]


def test_several_tasks_may_wait_for_messages_and_be_cancelled() -> None:
    client, app = accepted()
    with client:
        tasks = client.wire.run(*(app.call.receive() for _ in range(3)))
        client.wire.do(tasks[0].cancel)
        client.feed(text("a"))
        client.feed(text("b"))
        assert tasks[0].cancelled()
        assert [task.result() for task in tasks[1:]] == [got("a"), got("b")]
        tasks = client.wire.run(app.call.receive(), app.call.receive())
        client.feed(closing())
        assert [task.result() for task in tasks] == [disconnect(1000)] * 2


# Closing, begun by the client


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (4999, "é"), (None, "")])
def test_a_clients_close_is_answered_with_its_own_code(code: int | None, reason: str) -> None:
    echo = Echo()
    with Client(echo) as client:
        client.feed(closing(code, reason.encode()))
        assert client.ended == code
        assert client.wire.lingers  # the server ends its side first (7.1.1), and waits for the client
        assert echo.ends == [disconnect(code or 1005, reason)]
        client.wire.end()
        assert not client.wire.service.connections
        assert not client.wire.service.running


def test_nothing_after_a_close_is_read() -> None:
    with Client(Echo()) as client:
        client.feed(closing() + text("late") + frame(PING) + closing(1001))
        client.feed(text("later"))
        assert [one.opcode for one in client.frames] == [CLOSE]


def test_what_came_before_a_close_is_answered_before_it() -> None:
    client, app = accepted()
    with client:
        client.feed(text("a") + text("b") + closing(1001))
        assert receives(client, app) == got("a")
        client.wire.run(app.call.send(send("A")))
        assert receives(client, app) == got("b")
        client.wire.run(app.call.send(send("B")))
        assert not client.wire.closed
        assert receives(client, app) == disconnect(1001)
        assert [one.data for one in client.frames[:-1]] == [b"A", b"B"]
        assert client.ended == 1001
        (sent,) = client.wire.run(app.call.send(send("C")))
        assert isinstance(sent.exception(), ClientDisconnected)
        assert receives(client, app) == disconnect(1001)


def test_a_close_does_not_wait_for_ever_to_be_answered() -> None:
    client, app = accepted()
    with client:
        client.feed(text("a") + closing(1001))
        assert client.frames == []
        client.wire.wait(2)
        assert client.ended == 1001
        assert receives(client, app) == got("a")  # the application still gets what was meant for it
        assert receives(client, app) == disconnect(1001)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"a" * 100 + b"\xff" + b"a" * 100)[:150], 1007),
        (frame(3), 1002),
        (frame(BINARY, bytes(101)), 1009),
        (frame(BINARY, bytes(101))[:8], 1009),
        (closing(1005), 1002),
        (closing(1000, b"\xff"), 1007),
        (frame(CLOSE, b"\x03"), 1002),
    ],
)
def test_what_breaks_the_rules_is_closed_after_all_before_it_was_answered(wrong: bytes, code: int) -> None:
    echo = Echo()
    with Client(echo, websockets=WebSocketSettings(max_size=100 if code == 1009 else 1000)) as client:
        client.feed(text("a") + text("b") + wrong)
        assert [one.data for one in client.frames[:-1]] == [b"a", b"b"]
        assert client.ended == code
        assert [end["code"] for end in echo.ends] == [code]


@pytest.mark.parametrize("leave", ["end", "reset"])
def test_a_client_that_leaves_without_a_close_is_1006(leave: str) -> None:
    client, app = accepted()
    with client:
        client.feed(text("a"))
        getattr(client.wire, leave)()
        assert receives(client, app) == got("a")
        assert receives(client, app) == disconnect(1006)
        (sent,) = client.wire.run(app.call.send(send("C")))
        assert isinstance(sent.exception(), OSError)
        app.call.returns.set_exception(sent.exception())
        client.wire.settle()
        assert not client.wire.service.running
        assert not client.wire.service.connections


def test_a_client_that_leaves_after_its_close_has_closed() -> None:
    client, app = accepted()
    with client:
        client.feed(text("a") + closing(1001)).wire.reset()
        assert receives(client, app) == got("a")
        assert receives(client, app) == disconnect(1001)


# Closing, begun by the application


def test_the_applications_close_waits_for_the_clients() -> None:
    client, app = accepted()
    with client:
        client.feed(text("not read"))
        client.wire.run(app.call.send(close(4000, "enough")))
        assert client.last == Frame(CLOSE, b"\x0f\xa0enough")
        assert not client.wire.closed
        assert receives(client, app) == disconnect(4000, "enough")
        client.feed(text("crossing") + frame(PING) + closing(4000))
        assert client.wire.closed
        assert len(client.frames) == 1


@pytest.mark.parametrize("answer", [b"", text("on and on"), b"\x83\x80"])
def test_a_client_that_does_not_answer_a_close_is_left(answer: bytes) -> None:
    client, app = accepted()
    with client:
        client.wire.run(app.call.send(close()))
        if answer:
            client.feed(answer)
        client.wire.wait(10)
        assert client.ended == 1000
        client.wire.wait(3)
        assert client.wire.transport.aborted


@pytest.mark.parametrize("code", [999, 1006, 1015, 2000, 5000])
def test_a_code_that_must_not_be_sent_is_the_applications_error(code: int) -> None:
    client, app = accepted()
    with client:
        (task,) = client.wire.run(app.call.send(close(code)))
        with pytest.raises(ValueError, match="not a close code"):
            task.result()
        assert client.frames == []


def test_an_application_that_returns_closes_with_1000_and_one_that_fails_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for fault, code in ((None, 1000), (LookupError("a fault"), 1011)):
        client, app = accepted()
        with client:
            if fault is None:
                app.call.returns.set_result(None)
            else:
                app.call.returns.set_exception(fault)
            client.wire.settle()
            assert client.last.code == code
            assert not client.wire.service.running
            client.feed(closing(code))
            assert client.wire.closed
    assert caplog.text.count("the application failed") == 1
    assert "a fault" in caplog.text


# Bounds


def test_a_slow_application_holds_the_client() -> None:
    client, app = accepted()
    with client:
        client.feed(text("a" * 40000), text("a" * 40000))
        assert client.wire.transport.reading  # until there is something that must wait
        client.feed(text("b"))
        assert not client.wire.transport.reading
        client.wire.transport.arrive(text("c"))
        client.wire.settle()
        assert client.wire.transport.waiting
        assert len(receives(client, app)["text"]) == 40000
        assert len(receives(client, app)["text"]) == 40000
        client.wire.settle()
        assert receives(client, app) == got("b")
        assert receives(client, app) == got("c")
        assert client.wire.transport.reading


def test_small_messages_are_held_by_their_number() -> None:
    client, app = accepted()
    with client:
        client.feed(b"".join(text(str(number)) for number in range(100)) + frame(PING))
        assert not client.wire.transport.reading
        assert client.frames == []  # the ping waits behind the messages
        for number in range(100):
            assert receives(client, app) == got(str(number))
            client.wire.settle()
        assert client.wire.transport.reading
        assert client.frames == [Frame(PONG, b"")]


def test_compressed_messages_are_not_inflated_before_their_turn() -> None:
    """Many large ones fit into one read: the bound is for what they are when inflated."""
    settings = WebSocketSettings(deflate=True)
    client, app = accepted(b"Sec-WebSocket-Extensions: permessage-deflate", websockets=settings)
    with client:
        packed = frame(BINARY, deflated(bytes(10**6)), reserved=4)
        client.feed(packed * 50)
        assert len(client.wire.connection._exchange._messages) == 1  # type: ignore[union-attr]
        for _ in range(50):
            assert receives(client, app) == got(bytes(10**6))
            client.wire.settle()


def test_a_client_that_does_not_read_holds_the_application() -> None:
    client, app = accepted()
    with client:
        client.wire.transport.stop_taking()
        sent, waits = client.wire.run(app.call.send(send("a" * 60000)), app.call.send(send("b" * 60000)))
        assert sent.done()
        assert not waits.done()
        client.wire.take()
        assert waits.done()
        assert [len(one.data) for one in client.frames] == [60000, 60000]


def test_of_pings_while_a_client_does_not_read_the_newest_is_answered() -> None:
    client, app = accepted()
    with client:
        client.wire.transport.stop_taking()
        client.wire.run(app.call.send(send("a" * 70000)))
        unread = len(client.wire.transport.unread)
        for number in range(1000):
            client.feed(frame(PING, b"%d" % number))
        assert len(client.wire.transport.unread) == unread
        client.wire.take().wait(2)
        assert client.frames[1:] == [Frame(PONG, b"999")]


def test_a_client_that_takes_nothing_is_cut_after_the_write_timeout() -> None:
    client, app = accepted(timeouts=Timeouts(write=30))
    with client:
        client.wire.transport.stop_taking()
        client.wire.run(app.call.send(send("a" * 70000)))
        for _ in range(32):
            client.wire.wait(1)
        assert client.wire.transport.aborted
        assert receives(client, app) == disconnect(1006)


def test_the_requests_timeout_ends_with_the_handshake() -> None:
    client, app = accepted(timeouts=Timeouts(request=5), websockets=WebSocketSettings(ping_interval=0))
    with client:
        client.wire.wait(100)
        client.wire.run(app.call.send(send("still here")))
        assert client.last.data == b"still here"


# Keep-alive


def test_a_silent_client_is_pinged_and_then_closed() -> None:
    client, app = accepted()
    with client:
        client.wire.wait(19)
        assert client.frames == []
        client.wire.wait(1)
        assert client.frames == [Frame(PING, b"")]
        client.wire.wait(19)
        assert not client.wire.closed
        client.wire.wait(1)
        assert client.ended == 1011
        assert client.wire.transport.aborted
        assert receives(client, app) == disconnect(1011, "keep-alive ping timeout")


@pytest.mark.parametrize("sign", [frame(PONG), frame(PONG, b"another"), text("a"), text("part")[:1]])
def test_anything_from_the_client_is_a_sign_of_life(sign: bytes) -> None:
    client, _ = accepted()
    with client:
        client.wire.wait(20)
        client.feed(sign)
        client.wire.wait(20)
        assert not client.wire.closed
        assert [one.opcode for one in client.frames] == [PING, PING]
        client.wire.wait(20)
        assert client.wire.closed


def test_a_client_that_is_held_is_not_taken_for_dead() -> None:
    client, app = accepted()
    with client:
        client.feed(text("a" * 70000))
        client.wire.transport.arrive(frame(PONG))
        for _ in range(10):
            client.wire.wait(10)
        assert not client.wire.closed
        receives(client, app)
        client.wire.settle()
        client.wire.wait(1)
        assert not client.wire.closed


def test_pings_and_their_timeout_may_be_off() -> None:
    client, _ = accepted(websockets=WebSocketSettings(ping_interval=0))
    with client:
        client.wire.wait(1000)
        assert client.frames == []
    client, _ = accepted(websockets=WebSocketSettings(ping_timeout=0))
    with client:
        for _ in range(10):
            client.wire.wait(20)
        assert [one.opcode for one in client.frames] == [PING] * 10
        assert not client.wire.closed


# The end of the worker


def test_a_drain_tells_and_closes_with_1012() -> None:
    client, app = accepted()
    with client:
        client.feed(text("a"))
        drained = client.wire.drain()
        assert client.wire.connection.is_answering()  # a reload goes on past it
        (exchange,) = client.wire.service.running
        assert exchange.is_streaming()
        client.wire.do(exchange.dismiss)
        assert client.last.code == 1012
        assert not exchange.is_streaming()
        assert receives(client, app) == got("a")
        assert receives(client, app) == disconnect(1012)
        (sent,) = client.wire.run(app.call.send(send("late")))
        assert isinstance(sent.exception(), OSError)
        app.call.returns.set_result(None)
        client.feed(closing(1012)).wire.end()
        assert drained.done()


def test_a_dismissed_client_may_have_been_held() -> None:
    client, _ = accepted()
    with client:
        client.feed(text("a" * 70000) + closing(1001))
        (exchange,) = client.wire.service.running
        client.wire.do(exchange.dismiss)
        assert client.ended == 1012  # and its own close, behind the message, ends the connection


def test_a_cut_closes_with_1012_too(caplog: pytest.LogCaptureFixture) -> None:
    client, _ = accepted()
    with client:
        drained = client.wire.drain()
        client.wire.do(client.wire.service.cut)
        assert client.last.code == 1012
        assert drained.done()
        assert "failed" not in caplog.text


def test_a_handshake_is_not_streaming() -> None:
    client, app = accepted()
    with client:
        client.wire.connect()
        client.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not client.wire.connection.is_answering()
        assert len(app.calls) == 2


# The books


def test_the_black_box_has_what_the_application_executes() -> None:
    client, app = accepted()
    with client:
        (exchange,) = client.wire.service.running
        (task,) = client.wire.run(app.call.receive())
        assert exchange.slot == -1  # it waits
        client.feed(text("a"))
        assert task.done()
        assert exchange.slot >= 0
        client.wire.run(app.call.receive())
        assert exchange.slot == -1
        app.call.returns.set_result(None)
        client.wire.settle()
        assert client.wire.service.requests == 1
        assert not client.wire.service.running


def test_one_line_in_the_access_log_when_it_ends() -> None:
    client, app = accepted()
    with client:
        lines: list[Any] = []

        class Lines(AccessLog):
            def record(self, last: Any, _client: Any, _request: Any, status: int, sent: int, _began: float) -> Any:
                lines.append((status, sent))
                return last

        sink: Any = Taker()
        client.wire.service.access = Lines(client.wire.loop, sink, "")
        client.wire.run(app.call.send(send("abc")))
        assert lines == []
        client.feed(closing(None))
        receives(client, app)
        assert lines == [(101, 7)]


# Compression


def test_messages_are_compressed_both_ways() -> None:
    settings = WebSocketSettings(deflate=True, deflate_threshold=100)
    with Client(Echo(), b"Sec-WebSocket-Extensions: permessage-deflate", websockets=settings) as client:
        assert client.answer[b"sec-websocket-extensions"] == b"permessage-deflate; server_max_window_bits=12"
        client.feed(frame(TEXT, deflated(b"a" * 10000), reserved=4) + text("b" * 99) + text("c" * 100))
        first, second, third = client.frames
        assert first.reserved == 4
        assert len(first.data) < 100
        assert (second.reserved, second.data) == (0, b"b" * 99)
        assert third.reserved == 4


def test_early_frames_wait_for_the_answer_to_the_handshake() -> None:
    """A client that does not wait for the 101; its messages are neither lost nor read as a request."""
    client, app = puppet()
    with client:
        client.feed(text("early") + closing())
        client.wire.run(app.call.receive(), app.call.send({"type": "websocket.accept"}))
        assert receives(client, app) == got("early")
        assert receives(client, app) == disconnect(1000)
        assert client.ended == 1000


def test_early_frames_of_a_client_that_is_refused_are_not_read_as_a_request() -> None:
    client, app = puppet()
    with client:
        client.feed(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        client.wire.run(app.call.send({"type": "websocket.close"}))
        assert client.wire.statuses() == [403]
        assert len(app.calls) == 1

"""The WebSocket handshake: what becomes one, what is refused, what stays a plain request. Sections are of RFC 6455."""

from __future__ import annotations

from typing import Any

import pytest
from support.websocket import ACCEPT, KEY, Client, Echo, accepted, handshake, puppet
from support.wire import Driver, Puppet, hello, request

GOOD = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY)


def test_a_good_handshake(parser: str) -> None:
    client, app = puppet(b"Origin: http://a", parser=parser)
    with client:
        scope = app.call.scope
        assert scope["type"] == "websocket"
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
        assert (scope["http_version"], scope["scheme"], scope["path"], scope["raw_path"]) == ("1.1", "ws", "/", b"/")
        assert (scope["query_string"], scope["root_path"], scope["subprotocols"]) == (b"", "", [])
        assert (b"origin", b"http://a") in scope["headers"]
        assert scope["extensions"] == {"test": {}, "websocket.http.response": {}}
        assert scope["client"]
        assert scope["server"]
        assert "method" not in scope
        assert scope["state"] == {}
        client.wire.run(app.call.send({"type": "websocket.accept"}))
        assert client.wire.output == (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: " + ACCEPT + b"\r\n\r\n"
        )


@pytest.mark.parametrize(
    "fields",
    [
        (b"Upgrade: WebSocket", b"Connection: keep-alive, UPGRADE", *GOOD[2:]),
        (b"Upgrade: h2c, websocket", *GOOD[1:]),
        (b"Upgrade: h2c", b"Upgrade: websocket", *GOOD[1:]),
        (b"Connection: keep-alive", b"Connection: upgrade", GOOD[0], *GOOD[2:]),
    ],
)
def test_tokens_in_lists_and_in_any_case(parser: str, fields: tuple[bytes, ...]) -> None:
    with Client(Echo(), open=False, parser=parser) as client:
        client.feed(request(b"/", *fields))
        assert client.answer.status == 101


def test_it_may_come_octet_by_octet_with_frames_behind_it(parser: str) -> None:
    with Client(Echo(), open=False, parser=parser) as client:
        client.wire.feed_bytes(handshake() + b"\x81\x81\0\0\0\0a")
        assert client.last.data == b"a"


@pytest.mark.parametrize(
    "octets",
    [
        handshake(method=b"POST"),
        handshake(method=b"HEAD"),
        handshake(b"Content-Length: 1") + b"a",
        handshake(b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        handshake(key=b""),
        handshake(key=b"dGhlIHNhbXBsZSBub25jZQ"),
        handshake(key=b"dGhlIHNhbXBsZSBub25jZQ=?"),
        handshake(key=b"dGhlIHNhbXBsZSBub25jZSE="),  # 17 octets
        handshake(b"Sec-WebSocket-Key: " + KEY),
        request(b"/", *GOOD[:3]),
        handshake(b"Sec-WebSocket-Protocol: a b"),
        handshake(b"Sec-WebSocket-Protocol: a, a"),
        handshake(b"Sec-WebSocket-Extensions: foo; =1"),
    ],
)
def test_a_bad_handshake_is_400(parser: str, octets: bytes) -> None:
    app = Puppet()
    with Driver.asgi(app, parser) as wire:
        wire.feed(octets)
        assert wire.answer("HEAD" if octets.startswith(b"HEAD") else "GET").status == 400
        assert wire.closed
        assert app.calls == []


@pytest.mark.parametrize("versions", [(b"8",), (b"99",), (b"",), (b"13", b"13"), (b"13, 8",), ()])
def test_another_version_is_426_with_the_one_that_is_spoken(parser: str, versions: tuple[bytes, ...]) -> None:
    fields = (*GOOD[:2], *(b"Sec-WebSocket-Version: " + version for version in versions), GOOD[3])
    with Driver.asgi(Puppet(), parser) as wire:
        wire.feed(request(b"/", *fields))
        answer = wire.answer()
        assert (answer.status, answer[b"sec-websocket-version"], answer[b"upgrade"]) == (426, b"13", b"websocket")
        assert answer[b"connection"] == b"close, upgrade"
        assert wire.closed


@pytest.mark.parametrize(
    "octets",
    [
        request(b"/", *GOOD[1:]),  # no Upgrade
        request(b"/", GOOD[0], *GOOD[2:]),  # no Connection: it is not for us (RFC 9110 section 7.8)
        request(b"/", b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk"),
        request(b"/", b"Upgrade: websocket2", b"Connection: Upgrade"),
        request(b"/", *GOOD, b"Connection: keep-alive", version=b"1.0"),
    ],
)
def test_what_is_no_handshake_is_served_as_usual(parser: str, octets: bytes) -> None:
    with Driver.asgi(hello, parser) as wire:
        wire.feed(octets + request(b"/next"))
        assert wire.statuses() == [200, 200]


def test_wsgi_serves_it_as_usual(parser: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["HTTP_UPGRADE"].encode()]

    with Driver.wsgi(app, parser) as wire:
        wire.feed(handshake()).finish()
        assert wire.answer().body == b"websocket"


def test_a_proxys_scheme_client_and_the_root_path() -> None:
    app = Puppet()
    for said in (b"https", b"wss"):
        with Driver.asgi(app, root_path="/root", proxies=["127.0.0.1"]) as wire:
            fields = (b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: " + said)
            wire.feed(handshake(*fields, target=b"/a%20b?c"))
            scope = app.call.scope
            assert (scope["scheme"], scope["client"][0]) == ("wss", "192.0.2.1")
            assert (scope["path"], scope["root_path"], scope["query_string"]) == ("/root/a b", "/root", b"c")


# The answer


def test_subprotocols() -> None:
    client, app = puppet(b"Sec-WebSocket-Protocol: chat.v2, chat", b"Sec-WebSocket-Protocol: old")
    with client:
        assert app.call.scope["subprotocols"] == ["chat.v2", "chat", "old"]
        client.wire.run(app.call.send({"type": "websocket.accept", "subprotocol": "chat"}))
        assert client.answer[b"sec-websocket-protocol"] == b"chat"


def test_headers_of_the_application() -> None:
    client, app = puppet()
    with client:
        headers = [(b"Set-Cookie", b"a=b"), (b"Set-Cookie", b"c=d"), (b"Sec-WebSocket-Protocol", b"x")]
        client.wire.run(app.call.send({"type": "websocket.accept", "headers": headers}))
        cookies = [value for name, value in client.answer.headers if name == b"set-cookie"]
        assert cookies == [b"a=b", b"c=d"]
        assert client.answer[b"sec-websocket-protocol"] == b"x"
        assert client.answer[b"connection"] == b"upgrade"


@pytest.mark.parametrize(
    ("accept", "error"),
    [
        ({"headers": [(b"a", b"b\r\nc: d")]}, ValueError),
        ({"headers": [(b"a b", b"c")]}, ValueError),
        ({"headers": [(b"a", "text")]}, TypeError),
        ({"headers": [("a", b"b")]}, TypeError),
        ({"headers": [(b"Sec-WebSocket-Accept", b"x")]}, ValueError),
        ({"headers": [(b"sec-websocket-extensions", b"x")]}, ValueError),
        ({"headers": [(b"Upgrade", b"x")]}, ValueError),
        ({"subprotocol": "a", "headers": [(b"sec-websocket-protocol", b"b")]}, ValueError),
        ({"subprotocol": "a\r\nb: c"}, ValueError),
        ({"subprotocol": "é"}, ValueError),
    ],
)
def test_an_answer_that_must_not_leave_does_not(accept: dict[str, Any], error: type[Exception]) -> None:
    client, app = puppet()
    with client:
        (task,) = client.wire.run(app.call.send({"type": "websocket.accept", **accept}))
        assert isinstance(task.exception(), error)
        assert client.wire.output == b""
        client.wire.run(app.call.send({"type": "websocket.accept"}))
        assert client.answer.status == 101


def test_framing_fields_of_the_application_do_not_leave() -> None:
    client, app = puppet()
    with client:
        headers = [(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked"), (b"Connection", b"close")]
        client.wire.run(app.call.send({"type": "websocket.accept", "headers": headers}))
        names = [name for name, _ in client.answer.headers]
        assert names == [b"upgrade", b"connection", b"sec-websocket-accept"]


# Refusals


def test_a_close_instead_of_accept_is_403(parser: str) -> None:
    client, app = puppet(parser=parser)
    with client:
        client.wire.run(app.call.send({"type": "websocket.close", "code": 4000}))
        assert (client.answer.status, client.answer[b"content-length"]) == (403, b"0")
        assert client.wire.closed
        assert client.wire.run(app.call.receive(), app.call.receive())[1].result()["code"] == 1006
        (again,) = client.wire.run(app.call.send({"type": "websocket.accept"}))
        assert isinstance(again.exception(), RuntimeError)


def test_a_response_of_the_applications_own() -> None:
    client, app = puppet()
    with client:
        start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"www-authenticate", b"x")]}
        client.wire.run(app.call.send(start))
        assert client.wire.output == b""
        client.wire.run(app.call.send({"type": "websocket.http.response.body", "body": b"no ", "more_body": True}))
        client.wire.run(app.call.send({"type": "websocket.http.response.body", "body": b"entry"}))
        answer = client.wire.answer()
        assert (answer.status, answer.body, answer[b"www-authenticate"]) == (401, b"no entry", b"x")
        assert answer[b"connection"] == b"close"
        assert client.wire.closed


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([{"type": "websocket.send", "text": "a"}], "not been accepted"),
        ([{"type": "http.response.start", "status": 200}], "not been accepted"),
        ([{"type": "websocket.http.response.body", "body": b"a"}], "not been accepted"),
        ([{"type": "websocket.http.response.start", "status": 400}, {"type": "websocket.accept"}], "being refused"),
        ([{"type": "websocket.accept"}, {"type": "websocket.accept"}], "is open"),
        ([{"type": "websocket.accept"}, {"type": "websocket.http.response.start", "status": 400}], "is open"),
        ([{"type": "websocket.accept"}, {"type": "websocket.close"}, {"type": "websocket.send", "text": ""}], "closed"),
    ],
)
def test_messages_out_of_turn(messages: list[dict[str, Any]], complaint: str) -> None:
    client, app = puppet()
    with client:
        *_, last = client.wire.run(*(app.call.send(message) for message in messages))
        with pytest.raises(RuntimeError, match=complaint):
            last.result()


@pytest.mark.parametrize("fails", [True, False])
def test_an_application_that_does_not_answer_the_handshake(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    client, app = puppet()
    with client:
        if fails:
            app.call.returns.set_exception(LookupError("a fault"))
        else:
            app.call.returns.set_result(None)
        client.wire.settle()
        assert client.answer.status == 500
        assert ("a fault" if fails else "without answering the handshake") in caplog.text
        assert not client.wire.service.running


def test_a_client_that_leaves_before_the_answer() -> None:
    for leave in (Driver.end, Driver.reset):
        client, app = puppet()
        with client:
            leave(client.wire)
            first, second = client.wire.run(app.call.receive(), app.call.receive())
            assert first.result() == {"type": "websocket.connect"}
            assert second.result() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
            (sent,) = client.wire.run(app.call.send({"type": "websocket.accept"}))
            assert isinstance(sent.exception(), OSError)
            app.call.returns.set_result(None)
            client.wire.settle()
            assert client.wire.output == b""


def test_compression_is_only_agreed_on_where_it_is_on() -> None:
    client, _ = accepted(b"Sec-WebSocket-Extensions: permessage-deflate")
    with client:
        assert b"sec-websocket-extensions" not in client.answer

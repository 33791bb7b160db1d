"""WSGI (PEP 3333): the environ, start_response and write, close, streaming, threads and context."""

from __future__ import annotations

import ast
import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from support.wire import NEXT, PATIENCE, Driver, request

from shardserve.gateway.spool import MEMORY_MAX
from shardserve.http.request import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK = "200 OK"
TEXT = [("Content-Type", "text/plain")]


@pytest.fixture(params=["inline", "thread"], autouse=True)
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the application is called: what is true of one is true of the other."""
    monkeypatch.setattr(Driver, "wsgi_inline", request.param == "inline")
    return str(request.param)


# Of an application that waits for the test, which is on the loop's thread itself.
on_a_thread = pytest.mark.parametrize("where", ["thread"], indirect=True)


def respond(*blocks: bytes, status: str = OK, headers: Any = TEXT) -> Any:
    """An application that answers with a list."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, list(headers))
        return list(blocks)

    return app


def run(app: Any, parser: str, *pieces: bytes, **settings: Any) -> Driver:
    """What becomes of octets when the application has returned."""
    with Driver.wsgi(app, parser, **settings) as wire:
        return wire.feed(*pieces).finish()


def environ_of(parser: str, *pieces: bytes, **settings: Any) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def app(environ: Any, start_response: Any) -> Any:
        found.append({**environ, "body": environ["wsgi.input"].read()})
        return respond(b"ok")(environ, start_response)

    assert run(app, parser, *pieces, **settings).answer().status == 200
    return found[0]


# environ


def test_the_environ_is_that_of_the_specification(parser: str) -> None:
    octets = request(
        b"/a%20b/%C3%A9?c=%20d", b"X-A: b", b"Content-Type: text/x", b"Content-Length: 2", method=b"PUT", data=b"hi"
    )
    environ = environ_of(parser, octets)
    errors, given = environ.pop("wsgi.errors"), environ.pop("wsgi.input")
    assert hasattr(errors, "write")
    assert callable(environ.pop("wsgi.early_hints"))
    assert callable(environ.pop("wsgi.file_wrapper"))
    assert hasattr(given, "readline")
    assert environ == {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/\xc3\xa9",
        "QUERY_STRING": "c=%20d",
        "RAW_URI": "/a%20b/%C3%A9?c=%20d",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "2",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50123",
        "HTTP_HOST": "a",
        "HTTP_X_A": "b",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "test.extra": "here",
        "body": b"hi",
    }


def test_every_string_of_the_environ_is_latin_1_text(parser: str) -> None:
    environ = environ_of(parser, request(b"/%C3%A9%00%ff?%e9", b"X-A: \xc3\xa9\xff"))
    assert environ["PATH_INFO"] == "/\xc3\xa9\x00\xff"
    assert environ["HTTP_X_A"] == "\xc3\xa9\xff"
    for value in environ.values():
        if isinstance(value, str):
            value.encode("latin-1")


def test_a_chunked_body_has_its_real_length_and_no_coding(parser: str) -> None:
    octets = request(
        b"/", b"Transfer-Encoding: chunked", method=b"POST", data=b"3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
    )
    environ = environ_of(parser, octets)
    assert (environ["CONTENT_LENGTH"], environ["body"]) == ("5", b"abcde")
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert "HTTP_X" not in environ


def test_repeated_fields_are_joined_and_cookies_their_own_way(parser: str) -> None:
    environ = environ_of(parser, request(b"/", b"X-A: b", b"Cookie: c=d", b"x-a: e", b"Cookie: f=g"))
    assert environ["HTTP_X_A"] == "b,e"
    assert environ["HTTP_COOKIE"] == "c=d; f=g"  # RFC 6265 section 5.4


def test_a_client_cannot_set_what_is_not_a_field(parser: str) -> None:
    fields = [
        b"Proxy: evil",
        b"X_Forwarded_For: evil",
        b"Content_Length: 99",
        b"Wsgi.input: evil",
        b"Remote-Addr: evil",
    ]
    environ = environ_of(parser, request(b"/", *fields))
    assert "HTTP_PROXY" not in environ  # "httpoxy", CVE-2016-5385
    assert "HTTP_X_FORWARDED_FOR" not in environ
    assert "CONTENT_LENGTH" not in environ
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["HTTP_REMOTE_ADDR"] == "evil"


@pytest.mark.parametrize(
    ("target", "script", "path"),
    [(b"/a", "/app", "/a"), (b"/app/a", "/app", "/a"), (b"/app", "/app", ""), (b"/apples", "/app", "/apples")],
)
def test_the_root_path_is_the_script_name(parser: str, target: bytes, script: str, path: str) -> None:
    environ = environ_of(parser, request(target), root_path="/app")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, path)


def test_a_unix_peer_has_an_empty_address(parser: str) -> None:
    environ = environ_of(parser, request(), peer="", server="/run/a.sock")
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ
    assert environ["SERVER_NAME"]  # PEP 3333: SERVER_NAME and SERVER_PORT can never be empty strings
    assert environ["SERVER_PORT"] == "80"


@pytest.mark.parametrize("fields", [(), (b"Connection: close",)], ids=["kept", "closed"])
def test_each_connection_has_its_own_ends_in_the_environ(parser: str, fields: tuple[bytes, ...]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        names = ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT")
        start_response("200 OK", [])
        return [repr([environ.pop(name, "") for name in names]).encode()]

    one, two, unix = ("10.0.0.1", 8000), ("10.0.0.2", 8001), "/run/a.sock"
    with Driver.wsgi(app, parser) as wire:
        for number, server in enumerate((one, two, one, unix, two, unix, unix, one)):
            wire.connect(peer=("10.0.0.9", 50000 + number) if server is not unix else "/", server=server)
            expected = [*server, "10.0.0.9", 50000 + number] if server is not unix else [server, 80, "", ""]
            for count in range(1, 2 if fields else 4):
                wire.feed(request(b"/", *fields)).until(lambda count=count: len(wire.answers()) == count)
                assert ast.literal_eval(wire.answers()[-1].body.decode()) == list(map(str, expected))


def test_an_abstract_or_unnamed_unix_listener_has_a_server_name_too(parser: str) -> None:
    for server in ("", b"\0name"):
        environ = environ_of(parser, request(), peer="", server=server)
        assert environ["SERVER_NAME"]
        assert environ["SERVER_PORT"]


def test_a_trusted_proxy_says_who_the_client_is(parser: str) -> None:
    octets = request(b"/", b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https")
    environ = environ_of(parser, octets, proxies=("127.0.0.1",))
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("1.2.3.4", "https")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_the_protocol_is_the_one_spoken(parser: str, version: bytes) -> None:
    assert environ_of(parser, request(version=version))["SERVER_PROTOCOL"] == "HTTP/" + version.decode()


@on_a_thread
def test_more_threads_are_told_to_the_application(parser: str) -> None:
    assert environ_of(parser, request(), threads=3)["wsgi.multithread"] is True


# The standard library's own judge of both sides


def echo_validly(environ: Any, start_response: Any) -> Any:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    data = environ["wsgi.input"].read(length)
    environ["wsgi.errors"].write("")
    start_response(OK, [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(data)))])
    return iter([data]) if data else []


def read_lines(environ: Any, start_response: Any) -> Any:
    lines = [environ["wsgi.input"].readline(), *environ["wsgi.input"].readlines(), *environ["wsgi.input"]]
    start_response(OK, TEXT)
    return [b"|".join(lines)]


def write_validly(environ: Any, start_response: Any) -> Any:
    write = start_response(OK, TEXT)
    write(b"one ")
    write(b"two ")
    return [b"three"]


@pytest.mark.parametrize(
    ("app", "octets", "data"),
    [
        (echo_validly, request(b"/", b"Content-Length: 5", method=b"POST", data=b"hello"), b"hello"),
        (echo_validly, request(b"/", b"Content-Length: 0", method=b"POST"), b""),
        (echo_validly, request(b"/a/b?c", b"Cookie: d", b"Content-Type: e"), b""),
        (echo_validly, request(b"http://b/c"), b""),
        (
            echo_validly,
            request(b"/", b"Transfer-Encoding: chunked", method=b"POST", data=b"5\r\nhello\r\n0\r\n\r\n"),
            b"hello",
        ),
        (
            echo_validly,
            request(b"/", b"Content-Length: 1100000", method=b"POST", data=b"x" * 1_100_000),
            b"x" * 1_100_000,
        ),
        (read_lines, request(b"/", b"Content-Length: 9", method=b"POST", data=b"a\nb\nc\nd\ne"), b"a\n|b\n|c\n|d\n|e"),
        (write_validly, request(), b"one two three"),
        (respond(b"a", b"b"), request(method=b"DELETE"), b"ab"),
        (respond(), request(version=b"1.0"), b""),
    ],
)
def test_the_servers_side_is_valid_by_wsgiref(parser: str, app: Any, octets: bytes, data: bytes) -> None:
    for root_path in ("", "/app"):
        wire = run(validator(app), parser, octets, root_path=root_path)
        assert (wire.answer().status, wire.answer().body) == (200, data)


# start_response


def test_the_status_and_the_headers_are_sent(parser: str) -> None:
    app = respond(b"no", status="418 I'm a teapot", headers=[("X-A", "b"), ("X-A", "\xe9"), ("Content-Length", "2")])
    answer = run(app, parser, request()).answer()
    assert answer.status == 418
    assert [field for field in answer.headers if field[0] == b"x-a"] == [(b"x-a", b"b"), (b"x-a", b"\xe9")]
    assert answer.body == b"no"


def failing(step: Callable[[Any], Any]) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        return step(start_response)

    return app


def twice(start_response: Any) -> Any:
    start_response(OK, [])
    start_response(OK, [])
    return [b"secret"]


def bad_status(status: Any) -> Callable[[Any], Any]:
    def step(start_response: Any) -> Any:
        start_response(status, [])
        return [b"secret"]

    return step


def bad_header(header: Any) -> Callable[[Any], Any]:
    def step(start_response: Any) -> Any:
        start_response(OK, [header])
        return [b"secret"]

    return step


def bad_header_streamed(header: Any) -> Callable[[Any], Any]:
    def step(start_response: Any) -> Any:
        start_response(OK, [header])
        return (block for block in (b"secret", b"secret"))

    return step


def never(start_response: Any) -> Any:
    return [b"secret"]


def never_streamed(start_response: Any) -> Any:
    return iter([b"secret"])


def never_empty(start_response: Any) -> Any:
    return []


def nothing(start_response: Any) -> Any:
    start_response(OK, [])


def text(start_response: Any) -> Any:
    start_response(OK, [])
    return ["secret"]


def text_streamed(start_response: Any) -> Any:
    start_response(OK, [])
    return iter(["secret"])


def raising(start_response: Any) -> Any:
    raise ValueError("on purpose")


def raising_later(start_response: Any) -> Any:
    start_response(OK, [])
    raise ValueError("on purpose")


def raising_in_the_first_block(start_response: Any) -> Any:
    start_response(OK, [])
    return (1 // 0 for _ in range(1))


def exiting(start_response: Any) -> Any:
    raise SystemExit(3)


BAD_STATUSES = ("", "200OK", "OK", "2000 OK", "20 OK", "100 Continue", "abc", "\xb2\xb2\xb2 X", 200, None)
BAD_HEADERS = (
    ("X-A", "b\r\nX-B: c"),
    ("X A", "b"),
    ("X-A", 5),
    ("X-A", "\u20ac"),
    ("X-A",),
    ("Content-Length", "x"),
)


@pytest.mark.parametrize(
    "step",
    [
        twice,
        *(bad_status(status) for status in BAD_STATUSES),
        *(bad_header(header) for header in BAD_HEADERS),
        bad_header_streamed(("X-A", "b\nc")),
        bad_header_streamed(("X-A\r\nX-B", "b")),
        never,
        never_streamed,
        never_empty,
        nothing,
        text,
        text_streamed,
        raising,
        raising_later,
        raising_in_the_first_block,
        exiting,
    ],
)
def test_a_failure_before_the_first_block_is_a_500_and_the_worker_goes_on(
    parser: str, step: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wire = run(failing(step), parser, request(b"/a") + NEXT)
    assert wire.statuses() == [500, 500]
    assert b"secret" not in wire.output
    assert not wire.closed
    assert "GET /a: the application failed" in caplog.text
    assert not wire.service.running


def test_a_failure_after_the_first_block_cuts_the_answer(parser: str, caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, [])
        yield b"part"
        raise ValueError("on purpose")

    wire = run(app, parser, request() + NEXT)
    assert (wire.answer().body, wire.answer().complete) == (b"part", False)
    assert wire.closed
    assert "ValueError: on purpose" in caplog.text


def test_exc_info_replaces_a_head_that_has_not_left(parser: str) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, [("X-First", "1")])
        try:
            raise ValueError("on purpose")
        except ValueError as error:
            start_response("503 Sorry", [("X-Second", "2")], (ValueError, error, error.__traceback__))
        return [b"sorry"]

    answer = run(app, parser, request()).answer()
    assert (answer.status, answer.body, answer[b"x-second"]) == (503, b"sorry", b"2")
    assert b"x-first" not in answer


def test_exc_info_is_raised_again_once_the_head_has_left(parser: str, caplog: pytest.LogCaptureFixture) -> None:
    raised: list[BaseException] = []
    problem = ValueError("on purpose")

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, [])
        yield b"part"
        try:
            start_response("500 Oops", [], (ValueError, problem, None))
        except ValueError as error:
            raised.append(error)
            raise

    wire = run(app, parser, request())
    assert raised == [problem]
    assert (wire.answer().status, wire.answer().complete) == (200, False)


def test_start_response_may_be_called_as_late_as_the_first_block(parser: str) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", [])
        yield b"late"

    answer = run(app, parser, request()).answer()
    assert (answer.status, answer.body) == (201, b"late")


# Blocks and write()


@pytest.mark.parametrize("make", [list, tuple])
def test_a_list_is_one_body_with_a_length(parser: str, make: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, TEXT)
        return make([b"a", b"", b"bc"])

    wire = run(app, parser, request())
    assert (wire.answer().body, wire.answer()[b"content-length"]) == (b"abc", b"3")
    assert len(wire.transport.writes) == 1


@on_a_thread
def test_a_generator_is_streamed_block_by_block(parser: str) -> None:
    gates = [threading.Event() for _ in range(3)]

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, TEXT)
        for number, gate in enumerate(gates):
            assert gate.wait(PATIENCE)
            yield b"%d" % number

    with Driver.wsgi(app, parser) as wire:
        wire.feed(request() + NEXT)
        for number, gate in enumerate(gates):
            assert wire.output.count(b"\r\n1\r\n") == number
            gate.set()
            # PEP 3333, "Buffering and Streaming": a block is sent before the next one is asked for.
            wire.until(lambda number=number: b"\r\n1\r\n%d\r\n" % number in wire.output)
        wire.finish()
        assert [one.body for one in wire.answers()] == [b"012", b"012"]


def test_an_empty_block_does_not_end_a_chunked_body(parser: str) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, TEXT)
        return iter([b"", b"a", b"", b"b", b""])

    assert run(app, parser, request()).answer().body == b"ab"


def test_write_sends_before_the_blocks(parser: str) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response(OK, TEXT)
        write(b"one ")
        write(b"")
        write(b"two ")
        return (block for block in [b"three"])

    assert run(app, parser, request()).answer().body == b"one two three"


def test_a_head_request_has_no_body(parser: str) -> None:
    for app in (respond(b"hello"), write_validly):
        wire = run(app, parser, request(method=b"HEAD") + request(method=b"HEAD"))
        assert wire.statuses("HEAD", "HEAD") == [200, 200]


def test_a_body_longer_than_declared_is_cut_and_the_application_stopped(
    parser: str, caplog: pytest.LogCaptureFixture
) -> None:
    closed = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, [("Content-Length", "5")])
        try:
            while True:
                yield b"x" * 10_000
        finally:
            closed.set()

    wire = run(app, parser, request())
    assert wire.answer().body == b"x" * 5
    assert wire.closed
    assert closed.is_set()
    assert "longer than its Content-Length" in caplog.text


# close()


class Body:
    """An iterable that counts its close()."""

    def __init__(self, blocks: Any, on_close: Callable[[], None] = lambda: None) -> None:
        self.blocks = iter(blocks)
        self.closed = 0
        self.on_close = on_close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.blocks)

    def close(self) -> None:
        self.closed += 1
        self.on_close()


def returning(result: Any, started: bool = True) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        if started:
            start_response(OK, TEXT)
        return result

    return app


def blocks_then_failure() -> Iterator[bytes]:
    yield b"a"
    raise ValueError("on purpose")


@pytest.mark.parametrize("blocks", [[], [b"a", b"b"], ["text"], blocks_then_failure()])
@pytest.mark.parametrize("started", [True, False])
def test_close_is_called_once_however_it_ends(blocks: Any, started: bool) -> None:
    result = Body(blocks)
    run(returning(result, started), "httptools", request())
    assert result.closed == 1


def test_an_error_in_close_is_logged_and_the_answer_stands(parser: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("in close")

    wire = run(returning(Body([b"a"], fail)), parser, request())
    assert (wire.answer().body, wire.answer().complete) == (b"a", True)
    assert "ValueError: in close" in caplog.text


@on_a_thread
def test_close_is_called_when_the_client_is_gone(parser: str, caplog: pytest.LogCaptureFixture) -> None:
    begun, gone = threading.Event(), threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"a"
        begun.set()
        assert gone.wait(PATIENCE)
        while True:
            yield b"b" * 1000

    result = Body(blocks())
    with Driver.wsgi(returning(result), parser) as wire:
        wire.feed(request()).until(begun.is_set)
        wire.reset()
        gone.set()
        wire.finish()
    assert result.closed == 1
    assert "failed" not in caplog.text  # a client that leaves is no fault of the application


def test_close_is_called_when_the_client_leaves_an_application_that_waits_for_it(parser: str) -> None:
    result = Body(iter(lambda: b"x" * 50_000, b""))
    with Driver.wsgi(returning(result), parser) as wire:
        wire.transport.stop_taking()
        wire.feed(request()).until(lambda: wire.transport.unread)
        wire.reset()
        wire.finish()
    assert result.closed == 1


@on_a_thread
def test_a_request_whose_client_left_before_its_turn_is_not_called(parser: str) -> None:
    calls: list[str] = []
    gate = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        calls.append(environ["PATH_INFO"])
        assert gate.wait(PATIENCE)
        return respond(b"ok")(environ, start_response)

    with Driver.wsgi(app, parser) as wire:
        wire.feed(request(b"/first")).until(lambda: calls)
        wire.connect()
        wire.feed(request(b"/second")).reset()
        gate.set()
        wire.finish()
        assert calls == ["/first"]


# Back-pressure


@on_a_thread
def test_a_streaming_application_waits_for_its_client(parser: str) -> None:
    produced = 0

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        nonlocal produced
        start_response(OK, TEXT)
        for _ in range(200):
            produced += 10_000
            yield b"x" * 10_000

    with Driver.wsgi(app, parser) as wire:
        wire.transport.stop_taking()
        wire.feed(request()).until(lambda: wire.connection.paused is not None)
        thread = wire.gateway.pool._threads[0]
        assert thread.is_alive()
        # It may be ahead by what the transport takes before it says stop, and by its own allowance.
        wire.until(lambda: produced >= 130_000)
        wire.settle()
        assert produced <= 65_536 + 65_536 + 4 * 10_000
        wire.take()
        wire.finish()
        assert wire.answer().body == b"x" * 2_000_000
        assert produced == 2_000_000


def test_a_block_larger_than_every_limit_is_sent_whole(parser: str) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, TEXT)
        yield b"x" * 3_000_000
        yield b"y"

    with Driver.wsgi(app, parser) as wire:
        wire.transport.stop_taking()
        wire.feed(request()).until(lambda: wire.transport.unread)
        wire.take()
        wire.finish()
        assert wire.answer().body == b"x" * 3_000_000 + b"y"


# The request body


@pytest.mark.parametrize("size", [0, 1, 100_000, MEMORY_MAX, MEMORY_MAX + 1, 3 * MEMORY_MAX])
def test_the_body_is_complete_before_the_call(parser: str, size: int) -> None:
    called = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        called.set()
        data = environ["wsgi.input"].read()
        assert environ["wsgi.input"].read() == b""
        return respond(b"%d %d" % (len(data), data.count(b"x")))(environ, start_response)

    data = b"x" * size
    with Driver.wsgi(app, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: %d" % (size + 1), method=b"POST"))
        for at in range(0, size, 60_000):
            wire.feed(data[at : at + 60_000])
        assert not called.is_set()
        wire.feed(b"y" + NEXT).finish()
        assert [one.body for one in wire.answers()] == [b"%d %d" % (size + 1, size), b"0 0"]


def test_a_continue_is_sent_so_that_the_body_comes(parser: str) -> None:
    with Driver.wsgi(echo_validly, parser) as wire:
        wire.feed(request(b"/", b"Expect: 100-continue", b"Content-Length: 2", method=b"POST"))
        assert wire.statuses() == [100]
        wire.feed(b"hi").finish()
        assert wire.statuses() == [100, 200]
        assert wire.answers()[1].body == b"hi"


def test_a_body_that_is_cut_is_never_given_to_the_application(parser: str) -> None:
    called: list[int] = []

    def app(environ: Any, start_response: Any) -> Any:
        called.append(1)
        return respond(b"ok")(environ, start_response)

    with Driver.wsgi(app, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 5", method=b"POST", data=b"abc")).end()
        wire.finish()
        assert wire.statuses() == [400]
        assert not called


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_spools_limit_is_answered_413_and_never_called(parser: str, chunked: bool) -> None:
    called: list[int] = []

    def app(environ: Any, start_response: Any) -> Any:
        called.append(1)
        return respond(b"ok")(environ, start_response)

    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 11"
    data = b"b\r\nhello world\r\n0\r\n\r\n" if chunked else b"hello world"
    with Driver.wsgi(app, parser, limits=Limits(spool=10)) as wire:
        wire.feed(request(b"/", framing, b"Expect: 100-continue", method=b"POST"))
        wire.feed(data).finish()
        assert wire.statuses()[-1] == 413
        assert wire.statuses() == ([100, 413] if chunked else [413])
        assert wire.closed
        assert not called


def test_a_client_that_ended_its_side_is_answered(parser: str) -> None:
    with Driver.wsgi(respond(b"ok"), parser) as wire:
        wire.feed(request()).end()
        wire.finish()
        assert wire.answer().body == b"ok"
        assert wire.transport.lost


# Threads, context, event loop


@on_a_thread
def test_one_thread_makes_all_calls_one_at_a_time_and_no_other_thread_does(parser: str) -> None:
    threads: set[int] = set()
    inside = 0
    overlaps = 0

    def app(environ: Any, start_response: Any) -> Any:
        nonlocal inside, overlaps
        inside += 1
        overlaps += inside > 1
        threads.add(threading.get_ident())
        start_response(OK, TEXT)
        inside -= 1
        return Body([b"ok"], lambda: threads.add(threading.get_ident()))

    with Driver.wsgi(app, parser) as wire:
        for _ in range(5):
            wire.connect()
            wire.transport.arrive(request() * 10)
        wire.finish()
        assert wire.service.requests == 50
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert overlaps == 0


@on_a_thread
def test_more_threads_run_calls_at_once(parser: str) -> None:
    together = threading.Barrier(3, timeout=PATIENCE)

    def app(environ: Any, start_response: Any) -> Any:
        together.wait()
        return respond(b"ok")(environ, start_response)

    with Driver.wsgi(app, parser, threads=3) as wire:
        transports = [wire.transport, wire.connect(), wire.connect()]
        for transport in transports:
            transport.arrive(request())
        wire.finish()
        assert all(b"200 OK" in transport.sent for transport in transports)


_seen: contextvars.ContextVar[str] = contextvars.ContextVar("_seen", default="nothing")


def test_each_call_has_a_fresh_context_to_its_end(parser: str) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        before = _seen.get()
        _seen.set("mine")
        start_response(OK, TEXT)
        yield before.encode()
        yield b" " + _seen.get().encode()

    _seen.set("the test's")
    wire = run(app, parser, request() * 3)
    assert [one.body for one in wire.answers()] == [b"nothing mine"] * 3


def test_no_event_loop_runs_in_the_applications_thread_so_that_it_may_run_one(parser: str) -> None:
    async def compute() -> bytes:
        await asyncio.sleep(0)
        return b"computed"

    def app(environ: Any, start_response: Any) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        start_response(OK, TEXT)
        return [asyncio.run(compute())]

    assert run(app, parser, request()).answer().body == b"computed"


def test_pipelined_requests_are_answered_in_order(parser: str) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        return respond(environ["PATH_INFO"].encode())(environ, start_response)

    octets = b"".join(request(b"/%d" % number) for number in range(50))
    assert [one.body for one in run(app, parser, octets).answers()] == [b"/%d" % number for number in range(50)]


@on_a_thread
def test_a_call_is_finished_while_the_service_drains(parser: str) -> None:
    gate = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        assert gate.wait(PATIENCE)
        return respond(b"ok")(environ, start_response)

    with Driver.wsgi(app, parser) as wire:
        wire.feed(request() + NEXT)
        done = wire.drain()
        assert not done.done()
        gate.set()
        wire.finish()
        assert wire.answer()[b"connection"] == b"close"
        wire.end()
        assert done.done()

"""WSGI bodies that are read while they come (--no-request-buffering): what is read, who waits, and when it fails."""

from __future__ import annotations

import gc
import io
import threading
import weakref
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from support.wire import NEXT, PATIENCE, Driver, request

from shardserve.config.settings import Config
from shardserve.errors import ConfigError
from shardserve.gateway.wsgi_streamed import StreamedExchange, StreamingGateway
from shardserve.http.exchange import HELD_MAX
from shardserve.http.request import Limits
from shardserve.http.service import Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK = "200 OK"
TEXT = [("Content-Type", "text/plain")]
LINES = b"first\n\nthird is longer\r\nand the last has no end"

CHUNKED = b"Transfer-Encoding: chunked"
EXPECT = b"Expect: 100-continue"


def post(*fields: bytes, data: bytes = b"", target: bytes = b"/up") -> bytes:
    return request(target, *fields, method=b"POST", data=data)


def of(length: int) -> bytes:
    return b"Content-Length: %d" % length


def drive(app: Any, parser: str = "builtin", **settings: Any) -> Driver:
    return Driver.wsgi(app, parser, buffering=False, **settings)


class FakeSocket:
    """Has a descriptor to be given."""

    def fileno(self) -> int:
        return 0


class Reader:
    """An application that does what the test says, step by step: `read(*args)` and so on return what came of it."""

    def __init__(self) -> None:
        self.environ: dict[str, Any] = {}
        self.called = threading.Event()
        self.calls = 0
        self._steps: list[Any] = []
        self._wanted = threading.Semaphore(0)
        self.results: list[Any] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.environ = environ
        self.calls += 1
        self.called.set()
        while True:
            assert self._wanted.acquire(timeout=PATIENCE), "the test has left the application alone"
            step = self._steps.pop(0)
            if step is None:
                break
            try:
                self.results.append(step(environ["wsgi.input"]))
            except Exception as error:
                self.results.append(error)
        start_response(OK, TEXT)
        return [b"done"]

    def go(self, step: Callable[[Any], Any] | None) -> None:
        """Let it take a step; the next results are what it came to. None: it answers."""
        self._steps.append(step)
        self._wanted.release()

    def answer(self) -> None:
        self.go(None)


# What it is given


def test_it_is_called_with_the_head_and_reads_what_comes(parser: str) -> None:
    reader = Reader()
    with drive(reader, parser) as wire:
        wire.feed(post(of(10)))
        assert reader.called.wait(PATIENCE)
        assert reader.environ["CONTENT_LENGTH"] == "10"
        assert reader.environ["wsgi.input_terminated"] is True
        reader.go(lambda given: given.read(4))
        wire.feed(b"ab", b"cdef").until(lambda: reader.results == [b"abcd"])
        reader.go(lambda given: given.read())
        wire.feed(b"gh", b"ij" + NEXT).until(lambda: reader.results == [b"abcd", b"efghij"])
        reader.go(lambda given: (given.read(), given.read(5), given.readline()))
        reader.answer()
        reader.answer()  # the next request
        wire.finish()
        assert reader.results[2] == (b"", b"", b"")
        assert [one.body for one in wire.answers()] == [b"done", b"done"]


def test_a_chunked_body_has_no_length_and_an_end(parser: str) -> None:
    reader = Reader()
    with drive(reader, parser) as wire:
        wire.feed(post(CHUNKED))
        assert reader.called.wait(PATIENCE)
        assert "CONTENT_LENGTH" not in reader.environ
        assert "HTTP_TRANSFER_ENCODING" not in reader.environ
        reader.go(lambda given: given.read())
        wire.feed_bytes(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: z\r\n\r\n")
        reader.answer()
        wire.finish()
        assert reader.results == [b"abcde"]
        assert "HTTP_X_T" not in reader.environ


def test_a_request_without_a_body_is_as_it_always_is() -> None:
    reader = Reader()
    with drive(reader) as wire:
        wire.feed(request() + post(of(0)))
        for _ in range(2):
            reader.answer()
        wire.finish()
        assert isinstance(wire.gateway, StreamingGateway)
        assert isinstance(reader.environ["wsgi.input"], io.BytesIO)
        assert "CONTENT_LENGTH" not in reader.environ


def read_sized(given: Any) -> list[bytes]:
    return list(iter(lambda: given.read(7), b""))


def read_once(given: Any) -> list[bytes]:
    return list(iter(lambda: given.read1(7), b""))


def read_into(given: Any) -> list[bytes]:
    found = bytearray(100)
    return [bytes(found[: given.readinto(found)])]


def read_mixed(given: Any) -> list[bytes]:
    return [given.readline(), given.read(3), given.readline(4), *given.readlines(1), given.read(), given.readline()]


@pytest.mark.parametrize(
    "read",
    [
        lambda given: [given.read()],
        lambda given: [given.read(-1)],
        lambda given: [given.read(None)],
        lambda given: [given.read(1000)],
        lambda given: list(given),
        lambda given: given.readlines(),
        lambda given: list(iter(given.readline, b"")),
        lambda given: list(iter(lambda: given.readline(5), b"")),
        lambda given: [given.peek(1)[:0], given.read()],
        read_sized,
        read_once,
        read_into,
        read_mixed,
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_every_way_to_read_gives_what_a_file_would(read: Callable[[Any], list[bytes]], chunked: bool) -> None:
    results: list[list[bytes]] = []

    def app(environ: Any, start_response: Any) -> Any:
        results.append(read(environ["wsgi.input"]))
        start_response(OK, TEXT)
        return []

    with drive(app) as wire:
        if chunked:
            wire.feed(post(CHUNKED))
            octets = b"".join(b"1\r\n%c\r\n" % octet for octet in LINES) + b"0\r\n\r\n"
        else:
            wire.feed(post(of(len(LINES))))
            octets = LINES
        wire.feed_bytes(octets).finish()
    if read is read_once:  # as many pieces as came, but in order
        assert b"".join(results[0]) == LINES
    else:
        assert results == [read(io.BufferedReader(io.BytesIO(LINES)))]  # type: ignore[arg-type]  # any raw will do


def test_it_is_no_file_to_go_back_in() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        given = environ["wsgi.input"]
        assert given.readable()
        assert not given.seekable()
        assert not given.writable()
        with pytest.raises(io.UnsupportedOperation):
            given.fileno()
        start_response(OK, TEXT)
        return [given.read()]

    with drive(app) as wire:
        wire.feed(post(of(2), data=b"hi")).finish()
        assert wire.answer().body == b"hi"


def test_it_is_valid_by_wsgiref(parser: str) -> None:
    def echo(environ: Any, start_response: Any) -> Any:
        given = environ["wsgi.input"]
        lines = [given.readline(), *given.readlines(), given.read(10), *given]
        start_response(OK, TEXT)
        return (line for line in lines if line)

    with drive(validator(echo), parser, threads=2) as wire:
        wire.feed(post(of(len(LINES)))).feed_cut(LINES, 1).finish()
        assert wire.answer().body == LINES


# Back-pressure


def test_what_nobody_reads_is_bounded_and_the_client_waits(parser: str) -> None:
    reader = Reader()
    piece = b"x" * 16384
    with drive(reader, parser) as wire:
        wire.feed(post(of(100 * len(piece))))
        for _ in range(100):
            wire.feed(piece)
        assert not wire.transport.reading
        assert wire.transport.waiting >= 95 * len(piece)
        taken = 100 * len(piece) - wire.transport.waiting
        assert HELD_MAX < taken <= HELD_MAX + len(piece)
        reader.go(lambda given: len(given.read(65536 + 100)))
        # What it has read lets as much come, and what the reader has in hand.
        wire.until(lambda: not wire.transport.reading and wire.transport.waiting < 95 * len(piece))
        assert wire.transport.waiting >= 86 * len(piece)
        reader.go(lambda given: len(given.read()))
        reader.answer()
        wire.finish()
        assert reader.results == [65636, 100 * len(piece) - 65636]
        assert wire.answer().body == b"done"


def test_a_client_that_is_held_is_not_late() -> None:
    reader = Reader()
    with drive(reader, timeouts=Timeouts(body=5)) as wire:
        wire.feed(post(of(200_000)), b"x" * 100_000)
        assert not wire.transport.reading
        for _ in range(20):
            wire.wait(1)
        reader.go(lambda given: len(given.read()))
        wire.feed(b"x" * 100_000)
        reader.answer()
        wire.finish()
        assert (reader.results, wire.statuses()) == ([200_000], [200])


def test_what_comes_is_echoed_while_it_comes(parser: str) -> None:
    def echo(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, TEXT)
        while piece := environ["wsgi.input"].read(5):
            yield piece.upper()

    with drive(echo, parser) as wire:
        wire.feed(post(CHUNKED) + b"5\r\nfirst\r\n").until(lambda: b"FIRST" in wire.output)
        wire.feed(b"6\r\nsecond\r\n").until(lambda: b"SECON" in wire.output)
        assert b"D\r\n" not in wire.output
        wire.feed(b"0\r\n\r\n").finish()
        assert (wire.answer().body, wire.answer().complete) == (b"FIRSTSECOND", True)
        assert not wire.closed


# 100 Continue


def test_a_client_is_told_to_continue_when_the_application_reads(parser: str) -> None:
    reader = Reader()
    with drive(reader, parser, timeouts=Timeouts(body=5)) as wire:
        wire.feed(post(EXPECT, of(5)))
        assert reader.called.wait(PATIENCE)
        for _ in range(20):
            wire.wait(1)  # the client does what it should: it is not late
        assert wire.output == b""
        reader.go(lambda given: given.read())
        wire.until(lambda: wire.output)
        assert wire.statuses() == [100]
        wire.feed(b"hello")
        reader.answer()
        wire.finish()
        assert reader.results == [b"hello"]
        assert wire.statuses() == [100, 200]
        assert not wire.closed


def test_who_has_been_told_to_continue_and_does_not_is_late() -> None:
    reader = Reader()
    with drive(reader, timeouts=Timeouts(body=5)) as wire:
        wire.feed(post(EXPECT, of(5)))
        reader.go(lambda given: given.read())
        wire.until(lambda: wire.output)
        for _ in range(8):
            wire.wait(1)
        wire.until(lambda: reader.results)
        assert isinstance(reader.results[0], ConnectionError)
        assert wire.statuses() == [100, 408]
        reader.answer()
        wire.finish()


def test_a_body_that_is_there_needs_no_continue(parser: str) -> None:
    reader = Reader()
    with drive(reader, parser) as wire:
        wire.feed(post(EXPECT, of(5), data=b"hello"))
        reader.go(lambda given: given.read())
        reader.answer()
        wire.finish()
        assert (reader.results, wire.statuses()) == ([b"hello"], [200])


@pytest.mark.parametrize("framing", [of(5), CHUNKED])
def test_an_answer_without_reading_takes_the_place_of_100_and_closes(parser: str, framing: bytes) -> None:
    reader = Reader()
    with drive(reader, parser) as wire:
        wire.feed(post(EXPECT, framing))
        reader.answer()
        wire.finish()
        assert wire.answer()[b"connection"] == b"close"
        assert wire.lingers
        wire.feed(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").finish()
        assert reader.calls == 1
        assert wire.statuses() == [200]


# Answers that do not wait for the body


def test_a_little_that_was_not_read_is_read_over(parser: str) -> None:
    reader = Reader()
    with drive(reader, parser) as wire:
        wire.feed(post(of(50_000), data=b"x" * 100))
        reader.answer()
        wire.finish()
        assert wire.answer().body == b"done"
        wire.feed(b"x" * 49_900 + NEXT)
        reader.answer()
        wire.finish()
        assert reader.calls == 2
        assert wire.statuses() == [200, 200]


def test_much_that_was_not_read_ends_the_connection(parser: str) -> None:
    reader = Reader()
    with drive(reader, parser) as wire:
        wire.feed(post(of(5_000_000)), b"x" * 300_000)
        assert not wire.transport.reading
        reader.answer()
        wire.finish()
        assert wire.answer()[b"connection"] == b"close"
        assert wire.lingers
        assert wire.transport.reading  # so that no reset eats the answer


def test_once_the_response_is_complete_nothing_is_read_any_more() -> None:
    results: list[object] = []

    class Body:
        def __init__(self, given: Any) -> None:
            self.given = given
            self.blocks = iter([b"a", b"b"])

        def __iter__(self) -> Iterator[bytes]:
            return self.blocks

        def close(self) -> None:
            try:
                results.append(self.given.read())
            except OSError as error:
                results.append(error)

    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, TEXT)
        return Body(environ["wsgi.input"])

    with drive(app) as wire:
        wire.feed(post(of(10), data=b"12345")).finish()
        assert isinstance(results[0], ConnectionError)
        assert (wire.answer().body, wire.answer().complete) == (b"ab", True)


def test_a_thread_of_the_application_is_not_left_waiting_for_a_body() -> None:
    failed = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        def read() -> None:
            with pytest.raises(ConnectionError):
                environ["wsgi.input"].read()
            failed.set()

        threading.Thread(target=read).start()
        start_response(OK, TEXT)
        return [b"ok"]

    with drive(app) as wire:
        wire.feed(post(of(10), data=b"12345")).finish()
        assert failed.wait(PATIENCE)


# Bodies that do not come to their end


def broken(kind: str, wire: Driver) -> None:
    """Have the body of 10, of which 5 have come, or the connection, go wrong."""
    if kind == "reset":
        wire.reset()
    elif kind == "end":
        wire.end()
    elif kind == "chunk":
        wire.feed(b"zz\r\n")
    elif kind == "too much":
        wire.feed(b"ffff\r\n")
    elif kind == "pause":
        for _ in range(8):
            wire.wait(1)
    elif kind == "slow":
        for _ in range(14):
            wire.wait(1).feed(b"1\r\nx\r\n")
    elif kind == "request timeout":
        wire.wait(61)
    else:
        wire.do(wire.service.cut)


WAYS = {
    "reset": [],
    "end": [400],
    "chunk": [400],
    "too much": [413],
    "pause": [408],
    "slow": [408],
    "request timeout": [504],
    "cut": [],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("caught", [False, True])
def test_reading_fails_when_the_rest_will_not_come(
    parser: str, way: str, caught: bool, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[BaseException] = []
    begun = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        given = environ["wsgi.input"]
        try:
            assert given.read(5) == b"12345"
            begun.set()
            given.read()
        except ConnectionError as error:
            errors.append(error)
            with pytest.raises(ConnectionError):  # no end of file, however often it asks
                given.read(1)
            with pytest.raises(ConnectionError):
                given.readline()
            if not caught:
                raise
        start_response(OK, TEXT)
        return [b"all is well"]

    caplog.set_level("INFO")
    timeouts = Timeouts(body=5 if way == "pause" else 0, body_min_rate=240 if way == "slow" else 0, request=60)
    with drive(app, parser, limits=Limits(body=1000), timeouts=timeouts) as wire:
        wire.feed(post(CHUNKED) + b"5\r\n12345\r\n")
        assert begun.wait(PATIENCE)
        broken(way, wire)
        wire.finish()
        assert len(errors) == 1
        assert wire.statuses() == WAYS[way]
        assert wire.closed
        assert "well" not in wire.output.decode()
    assert "POST /up: its body broke off while it was being executed" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_complete_body_can_be_read_after_its_client_has_left() -> None:
    reader = Reader()
    with drive(reader) as wire:
        wire.feed(post(of(5), data=b"hello"))
        assert reader.called.wait(PATIENCE)
        wire.reset()
        reader.go(lambda given: given.read())
        reader.answer()
        wire.finish()
        assert reader.results == [b"hello"]


def test_a_response_that_has_begun_is_cut_when_the_body_fails(parser: str) -> None:
    def echo(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, TEXT)
        while piece := environ["wsgi.input"].read(5):
            yield piece

    with drive(echo, parser) as wire:
        wire.feed(post(CHUNKED) + b"5\r\nfirst\r\n").until(lambda: b"first" in wire.output)
        wire.feed(b"nonsense\r\n").finish()
        assert (wire.answer().body, wire.answer().complete) == (b"first", False)
        assert wire.closed


def test_a_declared_length_beyond_the_limit_is_413_without_a_call(parser: str) -> None:
    reader = Reader()
    with drive(reader, parser, limits=Limits(body=1000)) as wire:
        wire.feed(post(EXPECT, of(1001)))
        assert wire.statuses() == [413]
        assert wire.closed
        assert not reader.calls


def test_the_limit_of_what_is_kept_on_disk_does_not_matter() -> None:
    reader = Reader()
    with drive(reader, limits=Limits(spool=10)) as wire:
        wire.feed(post(of(20)))
        reader.go(lambda given: given.read())
        wire.feed(b"x" * 20)
        reader.answer()
        wire.finish()
        assert (reader.results, wire.statuses()) == ([b"x" * 20], [200])


# Waiting for a thread


def test_who_leaves_while_it_waits_for_a_thread_is_not_called(parser: str) -> None:
    reader = Reader()
    with drive(reader, parser) as wire:
        wire.feed(post(of(5)))
        assert reader.called.wait(PATIENCE)
        other = wire.connect()
        wire.feed(post(of(5), data=b"12"))
        assert isinstance(wire.gateway, StreamingGateway)
        assert len(wire.gateway.turns._waiting) == 1
        wire.reset()
        assert other.lost
        assert not wire.gateway.turns._waiting
        reader.answer()
        wire.finish()
        assert reader.calls == 1


def test_who_has_waited_too_long_for_a_thread_is_503_and_its_body_read_over(parser: str) -> None:
    reader = Reader()
    with drive(reader, parser, patience=0.05) as wire:
        wire.feed(post(of(5)))
        assert reader.called.wait(PATIENCE)
        wire.connect()
        wire.feed(post(of(5), data=b"12")).until(lambda: wire.output)
        assert wire.statuses() == [503]
        reader.answer()
        wire.finish()
        wire.feed(b"345" + NEXT)
        reader.answer()
        wire.finish()
        assert wire.statuses() == [503, 200]
        assert reader.calls == 2


@pytest.mark.parametrize("framing", [of(10), CHUNKED])
@pytest.mark.parametrize("expects", [False, True])
def test_a_request_goes_to_a_worker_that_has_a_thread_with_what_has_come(
    parser: str, framing: bytes, expects: bool
) -> None:
    given: list[bytes] = []

    def give(descriptor: int, octets: bytes, answer_by: float, copied: bool) -> bool:
        given.append(octets)
        return True

    reader = Reader()
    with drive(reader, parser) as wire:
        wire.feed(post(of(5)))
        assert reader.called.wait(PATIENCE)
        wire.service.give_idle = give
        wire.connect()
        wire.transport._extra["socket"] = FakeSocket()
        octets = post(*([EXPECT] if expects else []), framing, data=b"5\r\n12")
        wire.feed(octets)
        if expects:  # it may be told to continue here already
            assert given == []
        else:
            assert given == [octets]
            assert wire.transport.lost
        assert wire.output == b""
        reader.answer()
        if expects:
            reader.answer()
        wire.finish()
        assert reader.calls == 1 + expects


def test_the_exchange_and_its_body_are_gone_after_the_call() -> None:
    kept: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        given = environ["wsgi.input"]
        kept.append(weakref.ref(given))
        given.read()
        start_response(OK, TEXT)
        return []

    gc.collect()
    gc.disable()
    try:
        with drive(app) as wire:
            for _ in range(3):
                wire.feed(post(of(5), data=b"hello")).finish()
            assert [one() for one in kept] == [None] * 3
            left = [one for one in gc.get_objects() if isinstance(one, StreamedExchange)]
            assert len(left) <= 1, "the thread may still know its last one"
    finally:
        gc.enable()


# The option


@pytest.mark.parametrize(
    "more", [{"threads": 2}, {"wsgi_inline": False}, {"request_timeout": 5.0}, {"limit_concurrency": 9}]
)
def test_the_option_goes_with_calls_on_threads(more: dict[str, Any]) -> None:
    assert not Config(request_buffering=False, **more).calls_inline


@pytest.mark.parametrize("interface", ["auto", "wsgi"])
def test_the_option_is_refused_with_inline_calls_and_the_way_out_is_said(interface: Any) -> None:
    with pytest.raises(ConfigError, match=r"^--no-request-buffering: .* use --threads 2, or --no-wsgi-inline$"):
        Config(request_buffering=False, interface=interface)


def test_asgi_applications_do_not_mind() -> None:
    assert not Config(request_buffering=False, interface="asgi").request_buffering

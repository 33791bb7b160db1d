"""`wsgi.file_wrapper`, `wsgi.early_hints`, and the heads that start_response refuses (PEP 3333)."""

from __future__ import annotations

import gzip
import io
import threading
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from support.wire import NEXT, Driver, request

from shardserve.gateway.file_wrapper import FileWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OK = "200 OK"
TEXT = [("Content-Type", "text/plain")]
DATA = bytes(range(256)) * 1200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def parser() -> str:
    """Bodies of responses are no business of parsers: one will do."""
    return "auto"


def run(app: Any, parser: str, octets: bytes) -> Driver:
    with Driver.wsgi(app, parser) as wire:
        return wire.feed(octets).until(lambda: not wire.service.running and wire.connection._exchange is None)


def wrapping(make: Callable[[], Any], headers: Any = (), status: str = OK, start: int = 0) -> Any:
    """An application that returns a wrapped file."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, [*TEXT, *headers])
        file = make()
        if start:
            file.seek(start)
        return environ["wsgi.file_wrapper"](file, 1000)

    return app


# Files


@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.parametrize("start", [0, 10, len(DATA), len(DATA) + 1])
def test_a_wrapped_file_is_sent_from_its_position_with_its_length(
    parser: str, path: Path, buffering: int, start: int
) -> None:
    wire = run(wrapping(lambda: path.open("rb", buffering), start=start), parser, request() + NEXT)
    assert [(one.body, one.framing) for one in wire.answers()] == [(DATA[start:], "length")] * 2
    assert not wire.closed


def test_what_has_been_read_from_a_buffered_file_is_not_sent(parser: str, path: Path) -> None:
    def make() -> Any:
        file = path.open("rb")
        assert file.read(3) == DATA[:3]  # of which the kernel knows that 8 KiB and more have been read
        return file

    assert run(wrapping(make), parser, request()).answer().body == DATA[3:]


def test_a_file_that_is_sent_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the application's thread: it goes on to another request while the file is sent."""
    monkeypatch.setattr(FileWrapper, "__next__", lambda _: pytest.fail("it was read"))
    assert run(wrapping(lambda: path.open("rb")), "auto", request()).answer().body == DATA


def test_as_much_is_sent_as_was_declared(parser: str, path: Path) -> None:
    wire = run(wrapping(lambda: path.open("rb"), [("Content-Length", "100")]), parser, request() + NEXT)
    assert [one.body for one in wire.answers()] == [DATA[:100]] * 2
    assert not wire.closed


@pytest.mark.parametrize(
    "make",
    [
        lambda path: io.BytesIO(DATA),
        lambda path: gzip.GzipFile(path.with_suffix(".gz")),  # its descriptor is that of the packed file
        lambda path: type("Read", (), {"read": io.BytesIO(DATA).read})(),
    ],
    ids=["memory", "gzip", "read"],
)
def test_what_is_no_plain_file_is_read_in_blocks(parser: str, path: Path, make: Any) -> None:
    with gzip.open(path.with_suffix(".gz"), "wb") as packed:
        packed.write(DATA)
    wire = run(wrapping(lambda: make(path)), parser, request())
    assert (wire.answer().body, wire.answer().framing) == (DATA, "chunked")


def test_a_file_that_reads_in_its_own_way_is_read(parser: str, path: Path) -> None:
    assert run(wrapping(lambda: Halved(path)), parser, request()).answer().body == DATA[: len(DATA) // 2]


class Halved(io.FileIO):
    """A file that shows half of what is in it."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = len(DATA) // 2 - self.tell()
        return super().read(min(left, size or left))


def test_a_wrapper_in_another_iterable_is_iterated_over(parser: str, path: Path) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        with path.open("rb") as file:
            yield from wrapping(lambda: file)(environ, start_response)

    assert run(app, parser, request()).answer().body == DATA


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
@pytest.mark.parametrize("status", ["200 OK", "304 Not Modified"])
def test_what_has_no_body_gets_none_of_the_file(parser: str, path: Path, method: bytes, status: str) -> None:
    wire = run(wrapping(lambda: path.open("rb"), status=status), parser, request(method=method) * 2)
    for answer in wire.answers(method.decode(), method.decode()):
        assert answer[b"content-length"] == b"%d" % len(DATA)
        assert answer.body == (DATA if method == b"GET" and status == OK else b"")
    assert not wire.closed


def test_blocks_written_before_the_file_come_before_it(parser: str, path: Path) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response(OK, TEXT)
        write(b"<" * 100_000)
        return environ["wsgi.file_wrapper"](path.open("rb"))

    assert run(app, parser, request()).answer().body == b"<" * 100_000 + DATA


@pytest.mark.parametrize("fails", [False, True])
def test_the_file_is_closed_once_and_sent_whole_all_the_same(
    parser: str, path: Path, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[bool] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, TEXT)
        wrapper = environ["wsgi.file_wrapper"](path.open("rb"))
        close = wrapper.close

        def close_it() -> None:
            close()
            closed.append(wrapper.filelike.closed)
            assert not fails, "on purpose"

        wrapper.close = close_it
        return wrapper

    with Driver.wsgi(app, parser) as wire:
        wire.transport.stop_taking()
        wire.feed(request()).finish()
        assert closed == [True]
        wire.take().until(lambda: wire.connection._file is None)
        assert (wire.answer().body, wire.answer().complete) == (DATA, True)
    assert ("on purpose" in caplog.text) is fails


def test_a_closed_file_or_no_status_is_an_error(parser: str, path: Path) -> None:
    def closed() -> Any:
        with path.open("rb") as file:
            return file

    assert run(wrapping(closed), parser, request() + NEXT).statuses() == [500, 500]
    wire = run(lambda environ, _: environ["wsgi.file_wrapper"](path.open("rb")), parser, request() + NEXT)
    assert wire.statuses() == [500, 500]


def test_the_thread_is_free_while_the_client_takes_the_file(parser: str, path: Path) -> None:
    with Driver.wsgi(wrapping(lambda: path.open("rb")), parser) as wire:
        slow = wire.transport
        slow.stop_taking()
        wire.feed(request()).until(lambda: slow.unread).finish()
        wire.connect()
        wire.feed(request()).finish().until(lambda: wire.connection._file is None)
        assert wire.answer().body == DATA
        assert len(slow.unread) < 70_000


def test_a_client_that_leaves_a_file_is_no_fault(parser: str, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Driver.wsgi(wrapping(lambda: path.open("rb")), parser) as wire:
        wire.transport.stop_taking()
        wire.feed(request()).until(lambda: wire.transport.unread)
        wire.reset().finish()
        assert wire.connection._file is None
        assert not wire.service.connections
    assert not caplog.text


def test_the_wrapper_is_valid_by_wsgiref(parser: str, path: Path) -> None:
    assert run(validator(wrapping(lambda: path.open("rb"))), parser, request()).answer().body == DATA


# Early hints


def hinting(*calls: Any) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        for headers in calls:
            environ["wsgi.early_hints"](headers)
        write = start_response(OK, TEXT)
        write(b"ok")
        environ["wsgi.early_hints"]([("Link", "</late>")])
        return []

    return app


def test_early_hints_come_before_the_answer(parser: str) -> None:
    wire = run(hinting([("Link", "</a>"), ("Link", "</b>")], [("Link", "</c>")]), parser, request() + NEXT)
    assert [one.status for one in wire.answers()] == [103, 103, 200] * 2
    assert wire.answers()[0].headers == [(b"link", b"</a>"), (b"link", b"</b>")]
    assert b"/late" not in wire.output


def test_a_client_of_1_0_gets_no_hints(parser: str) -> None:
    assert run(hinting([("Link", "</a>")]), parser, request(version=b"1.0")).statuses() == [200]


@pytest.mark.parametrize(
    "field", [("Link", "a\r\nX: y"), ("Li nk", "a"), ("Link", "\u20ac"), ("Link", b"a"), ("Link",), 5]
)
def test_a_hint_that_must_not_be_sent_raises_in_the_application(parser: str, field: Any) -> None:
    raised: list[BaseException] = []

    def app(environ: Any, start_response: Any) -> Any:
        try:
            environ["wsgi.early_hints"]([field])
        except (TypeError, ValueError) as error:
            raised.append(error)
        start_response(OK, TEXT)
        return [b"ok"]

    assert run(app, parser, request()).statuses() == [200]
    assert len(raised) == 1


# start_response


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (200, [], "the status is a str such as '200 OK', not 200"),
        (b"200 OK", [], "the status is a str"),
        ("200OK", [], "'200OK' is not a status such as '200 OK'"),
        ("\u0662\u0660\u0660 OK", [], "is not a status"),
        ("199 Odd", [], "199 is not a final HTTP status"),
        (OK, [("X-A", "\u20ac")], "header ('X-A', '\u20ac') has characters beyond latin-1"),
        (OK, [("\u20ac", "a")], "has characters beyond latin-1"),
        (OK, [("X-A", b"a")], "header ('X-A', b'a') is not a tuple of two str"),
        (OK, [("X-A", 5)], "is not a tuple of two str"),
        (OK, [("X-A",)], "is not a tuple of two str"),
        (OK, ["X-A"], "is not a tuple of two str"),
        (OK, [("X-A", "a\r\nX-B: c")], "the value of response header 'X-A' holds CR, LF or NUL"),
        (OK, [("X A", "a")], "response header name b'X A' is not a token"),
        (OK, [("Content-Length", "five")], "content-length b'five' is not a number"),
        (OK, [("Content-Length", "5"), ("content-length", "6")], "two content-length fields that differ"),
    ],
)
def test_a_head_that_must_not_be_sent_raises_in_the_application(
    parser: str, status: Any, headers: Any, said: str
) -> None:
    raised: list[BaseException] = []

    def app(environ: Any, start_response: Any) -> Any:
        try:
            start_response(status, headers)
        except (TypeError, ValueError) as error:
            raised.append(error)
            start_response("500 Oops", TEXT)
        return [b"told"]

    wire = run(app, parser, request())
    assert (wire.answer().status, wire.answer().body) == (500, b"told")
    assert said in str(raised[0])


def test_fields_of_the_connection_are_the_servers(parser: str) -> None:
    headers = [("Connection", "close"), ("Keep-Alive", "timeout=9"), ("Transfer-Encoding", "chunked"), ("X-A", "b")]

    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, headers)
        return [b"ok"]

    wire = run(app, parser, request())
    assert [name for name, _ in wire.answer().headers] == [b"x-a", b"content-length", b"connection", b"date"]
    assert wire.answer()[b"connection"] == b"close"
    assert wire.closed


def test_a_failure_after_the_last_block_leaves_the_answer(parser: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the end of the answer has not left yet when the failure comes."""
    held = threading.Event()

    class Blocks:
        def __iter__(self) -> Iterator[bytes]:
            yield b"x" * 50_000

        def close(self) -> None:
            held.set()
            raise ValueError("on purpose")

    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, TEXT)
        return Blocks()

    with Driver.wsgi(app, parser) as wire:
        wire.transport.stop_taking()
        wire.feed(request()).until(held.is_set).take().finish()
        assert wire.answer().complete
        assert not wire.closed
    assert "ValueError: on purpose" in caplog.text

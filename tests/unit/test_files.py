"""Files as bodies: how they are framed, kept to what was declared, and how they wait for the client.

The transport of most tests is memory, so that blocks are read and written; those with a socket go by sendfile(2).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from support.taker import Taker
from support.wire import NEXT, PATIENCE, Driver, Puppet, body, hello, read_answers, request, start

from shardserve.gateway.asgi import AsgiGateway
from shardserve.gateway.target import TrustedProxies
from shardserve.http.access import AccessLog
from shardserve.http.files import FilePart
from shardserve.http.h1 import H1Connection
from shardserve.http.parsers import make_parser
from shardserve.http.service import Service, Timeouts
from shardserve.net.board import Board
from shardserve.net.poller import Poller
from shardserve.net.transport import SocketTransport
from shardserve.worker.loop import make_spawn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = 300_000
DATA = bytes(range(256)) * (SIZE // 256) + b"x" * (SIZE % 256)


@pytest.fixture
def parser() -> str:
    """Bodies of responses are no business of parsers: one will do."""
    return "auto"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


def copies(path: Path) -> int:
    """How many descriptors of this process are of a file."""
    found = 0
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found += os.readlink(entry.path) == str(path)
    return found


def pathsend(path: Path) -> dict[str, Any]:
    return {"type": "http.response.pathsend", "path": str(path)}


def zerocopy(file: Any, *, more: bool = False, **rest: int) -> dict[str, Any]:
    return {"type": "http.response.zerocopysend", "file": file, "more_body": more, **rest}


def serve_file(*messages: dict[str, Any]) -> Any:
    """An application that sends these messages and says what an error was."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def run(app: Any, parser: str, octets: bytes) -> Driver:
    with Driver.asgi(app, parser) as wire:
        return wire.feed(octets).finish()


# Framing


def test_a_file_is_a_body_with_its_length(parser: str, path: Path) -> None:
    wire = run(serve_file(start(), pathsend(path)), parser, request() + NEXT)
    assert [(one.body, one.framing) for one in wire.answers()] == [(DATA, "length")] * 2
    assert not wire.closed


def test_a_file_among_blocks_is_chunked(parser: str, path: Path) -> None:
    with path.open("rb") as file:
        app = serve_file(start(), body(b"<", more=True), zerocopy(file, more=True, offset=0), body(b">"))
        wire = run(app, parser, request() + NEXT)
    assert [(one.body, one.framing) for one in wire.answers()] == [(b"<" + DATA + b">", "chunked")] * 2


def test_a_file_among_blocks_ends_with_the_connection_on_1_0(parser: str, path: Path) -> None:
    with path.open("rb") as file:
        app = serve_file(start(), body(b"<", more=True), zerocopy(file))
        wire = run(app, parser, request(version=b"1.0"))
    assert (wire.answer().body, wire.answer().framing) == (b"<" + DATA, "close")
    assert wire.closed


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ({}, DATA),
        ({"offset": 0}, DATA),
        ({"offset": 10}, DATA[10:]),
        ({"count": 7}, DATA[:7]),
        ({"offset": 70_000, "count": 70_001}, DATA[70_000:140_001]),
        ({"offset": SIZE - 5, "count": 100}, DATA[-5:]),
        ({"offset": SIZE}, b""),
        ({"offset": SIZE + 1}, b""),
        ({"count": 0}, b""),
    ],
)
def test_offset_and_count_say_which_part(parser: str, path: Path, rest: dict[str, int], expected: bytes) -> None:
    with path.open("rb", buffering=0) as file:
        wire = run(serve_file(start(), zerocopy(file, **rest)), parser, request())
    assert wire.answer().body == expected
    assert wire.answer().complete


def test_without_an_offset_a_file_is_sent_from_its_position_which_moves_on(parser: str, path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        file.seek(10)
        parts = [
            zerocopy(file, more=True, count=5),
            zerocopy(file, more=True, offset=0, count=3),
            zerocopy(file, count=5),
        ]
        wire = run(serve_file(start(), *parts), parser, request())
    assert wire.answer().body == DATA[10:15] + DATA[:3] + DATA[15:20]


@pytest.mark.parametrize("rest", [{"offset": -1}, {"count": -1}])
def test_a_part_that_cannot_be_is_an_error(parser: str, path: Path, rest: dict[str, int]) -> None:
    with path.open("rb") as file:
        wire = run(serve_file(start(), zerocopy(file, **rest)), parser, request() + NEXT)
    assert wire.statuses() == [500, 500]


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
@pytest.mark.parametrize("status", [200, 304])
def test_what_has_no_body_gets_none_of_the_file(parser: str, path: Path, method: bytes, status: int) -> None:
    wire = run(serve_file(start(status), pathsend(path)), parser, request(method=method) * 2)
    answers = wire.answers(method.decode(), method.decode())
    bodies = b"" if status == 304 or method == b"HEAD" else DATA
    assert [(one.status, one.body, one[b"content-length"]) for one in answers] == [(status, bodies, b"%d" % SIZE)] * 2
    assert not wire.closed


def test_204_has_neither_file_nor_length(parser: str, path: Path) -> None:
    wire = run(serve_file(start(204), pathsend(path)), parser, request() + NEXT)
    assert wire.statuses() == [204, 204]


def test_of_a_whole_file_as_much_is_sent_as_was_declared(parser: str, path: Path) -> None:
    """It may have grown since its length was looked at."""
    wire = run(serve_file(start(200, (b"Content-Length", b"100")), pathsend(path)), parser, request() + NEXT)
    assert [one.body for one in wire.answers()] == [DATA[:100]] * 2


def test_a_count_above_what_was_declared_is_cut_and_the_connection_closed(
    parser: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with path.open("rb") as file:
        app = serve_file(start(200, (b"Content-Length", b"100")), zerocopy(file, offset=0, count=101))
        wire = run(app, parser, request() + NEXT)
    assert (wire.answer().body, wire.answer().complete) == (DATA[:100], True)
    assert wire.closed
    assert "longer than its Content-Length" in caplog.text


def test_a_file_shorter_than_declared_closes_the_connection(
    parser: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wire = run(
        serve_file(start(200, (b"Content-Length", b"%d" % (SIZE + 1))), pathsend(path)), parser, request() + NEXT
    )
    assert (wire.answer().body, wire.answer().complete) == (DATA, False)
    assert wire.closed
    assert "shorter than its Content-Length" in caplog.text


# Files that are none


def test_a_file_that_is_not_there_is_an_error_before_the_head(parser: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # and to open a pipe would wait for somebody who writes
    for path in (tmp_path / "absent", tmp_path, tmp_path / "pipe"):
        wire = run(serve_file(start(), pathsend(path)), parser, request() + NEXT)
        assert wire.statuses() == [500, 500]


def test_a_pipe_is_read_as_it_comes_and_to_its_end(parser: str) -> None:
    reading, writing = os.pipe()
    with Driver.asgi(serve_file(start(), zerocopy(reading)), parser) as wire:
        wire.feed(request())
        os.write(writing, b"one")
        wire.until(lambda: b"\r\n3\r\none\r\n" in wire.output)
        os.write(writing, b"two")
        os.close(writing)
        wire.finish()
        assert wire.answer().body == b"onetwo"
        assert wire.answer().complete
    os.close(reading)


def test_a_device_is_read_beside_the_loop(parser: str) -> None:
    with open("/dev/zero", "rb", buffering=0) as zeros:
        wire = run(serve_file(start(), zerocopy(zeros, count=100_000)), parser, request())
    assert wire.answer().body == bytes(100_000)


def test_a_file_before_its_start_or_after_the_end_is_out_of_turn(parser: str, path: Path) -> None:
    for messages in ([pathsend(path)], [start(), body(), pathsend(path)], [start(), pathsend(path), body()]):
        puppet = Puppet()
        with Driver.asgi(puppet, parser) as wire:
            wire.feed(request())
            *_, last = wire.run(*(puppet.call.send(message) for message in messages))
            wire.until(last.done)
            assert isinstance(last.exception(), RuntimeError)


def test_descriptors_are_given_back(parser: str, path: Path) -> None:
    with path.open("rb") as file:
        for messages in (
            [start(), pathsend(path)],
            [start(200, (b"X A", b"")), pathsend(path)],
            [pathsend(path)],
            [start(), zerocopy(file, more=True), zerocopy(file, offset=-1)],
        ):
            run(serve_file(*messages), parser, request() * 3)
        assert copies(path) == 1


# In order, and at the client's pace


def test_what_is_sent_meanwhile_comes_behind_the_file(parser: str, path: Path) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request() + NEXT)
        call = puppet.call
        with path.open("rb") as file:
            tasks = wire.run(
                call.send(start()),
                call.send(body(b"<", more=True)),
                call.send(zerocopy(file, more=True, offset=0)),
                call.send(body(b"-", more=True)),
                call.send(zerocopy(file, more=True, offset=0, count=3)),
                call.send(body(b">")),
            )
        wire.until(lambda: all(task.done() for task in tasks))
        assert wire.answer().body == b"<" + DATA + b"-" + DATA[:3] + b">"
        assert len(puppet.calls) == 2


def test_send_waits_until_the_client_has_taken_the_file(parser: str, path: Path) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request() + NEXT)
        wire.transport.stop_taking()
        _, sent, told = wire.run(puppet.call.send(start()), puppet.call.send(pathsend(path)), puppet.call.receive())
        told = wire.run(puppet.call.receive())[0]
        wire.until(lambda: wire.transport.unread)
        assert not sent.done()
        assert not told.done()  # the response is not complete
        assert len(wire.transport.unread) < 70_000  # nor is the file in memory
        assert len(puppet.calls) == 1
        wire.take().until(sent.done)
        assert told.done()
        assert wire.answer().body == DATA
        assert len(puppet.calls) == 2


def test_a_client_that_leaves_ends_the_file(parser: str, path: Path) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        wire.transport.stop_taking()
        _, sent = wire.run(puppet.call.send(start()), puppet.call.send(pathsend(path)))
        wire.until(lambda: wire.transport.unread)
        wire.reset().until(sent.done)
        assert isinstance(sent.exception(), OSError)
        wire.until(lambda: not copies(path))


def test_a_client_that_leaves_before_a_file_has_begun_leaves_no_descriptor(parser: str, path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        asyncio.get_running_loop().call_soon(wire.connection.connection_lost, ConnectionResetError())
        await send(pathsend(path))  # its task is begun, and has its first step behind that

    with Driver.asgi(app, parser) as wire:
        wire.feed(request()).until(lambda: not wire.service.running)
        assert copies(path) == 0


def test_a_file_whose_application_is_cancelled_is_cut(parser: str, path: Path) -> None:
    task: list[asyncio.Task[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        current = asyncio.current_task()
        assert current is not None
        task.append(current)
        await send(start())
        await send(pathsend(path))

    with Driver.asgi(app, parser) as wire:
        wire.transport.stop_taking()
        wire.feed(request() + NEXT).until(lambda: wire.transport.unread)
        wire.transport.take()  # the head; the file begins to be sent when it has left
        wire.transport.stop_taking()
        wire.until(lambda: wire.transport.unread)
        wire.do(task[0].cancel).finish()
        wire.take().until(lambda: not copies(path))
        answer = wire.answer()
        assert not answer.complete
        assert 0 < len(answer.body) < SIZE
        assert DATA.startswith(answer.body)
        assert wire.closed
        assert len(task) == 1  # the next request is not served


# Over real sockets: sendfile(2)


class Served:
    """One connection of a real transport to an ASGI application; the test is the client, in a thread."""

    def __init__(self, app: Any, log: Taker | None = None, **timeouts: float) -> None:
        self._app, self._log, self._timeouts = app, log, timeouts

    def __call__(
        self, make_loop: Callable[[], asyncio.AbstractEventLoop], client: Callable[[socket.socket], None]
    ) -> None:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(self._serve(client))

    async def _serve(self, client: Callable[[socket.socket], None]) -> None:
        loop = asyncio.get_running_loop()
        gateway = AsgiGateway(self._app, make_spawn(loop), TrustedProxies(()), "", {})
        sink: Any = self._log
        access = AccessLog(loop, sink, "%(s)s %(B)s") if sink is not None else None
        service = Service(
            loop,
            make_parser("auto"),
            gateway,
            Board(1).claim(0, 1),
            timeouts=Timeouts(**self._timeouts),  # type: ignore[arg-type]
            access=access,
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
        ours.setblocking(False)
        theirs.settimeout(PATIENCE)
        service.opening += 1  # as whoever accepts it does
        SocketTransport(Poller(loop, service.context), ours.detach(), H1Connection(service))
        talking = loop.run_in_executor(None, _talk, client, theirs)
        while not talking.done():
            service.tick()
            await asyncio.sleep(0.02)
        await talking
        while service.connections or service.running:
            await asyncio.sleep(0.01)
        if access is not None:
            access.flush()


def _talk(client: Callable[[socket.socket], None], theirs: socket.socket) -> None:
    with theirs:
        client(theirs)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


both_loops = pytest.mark.parametrize(
    "make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
LARGE = 12_000_000  # more than sockets hold


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(DATA * (LARGE // SIZE))
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each sendfile(2) has moved."""
    moved: list[int] = []
    real = os.sendfile

    def sendfile(*args: Any) -> int:
        moved.append(real(*args))
        return moved[-1]

    monkeypatch.setattr(os, "sendfile", sendfile)
    return moved


@both_loops
def test_files_go_by_sendfile_in_order_with_what_is_around_them(make_loop: Any, large: Path, calls: list[int]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/next":
            await hello(scope, receive, send)
            return
        await send(start())
        with large.open("rb") as file:
            await send(body(b"<" * 5_000_000, more=True))
            await send(zerocopy(file, more=True, offset=5))
            await asyncio.gather(  # all at once
                send(body(b"-" * 100_000, more=True)),
                send(zerocopy(file, more=True, offset=0, count=70_000)),
                send(body(b">")),
            )

    answers: list[Any] = []

    def client(sock: socket.socket) -> None:
        sock.sendall(request() + request(b"/whole") + request(b"/next", b"Connection: close"))
        answers.extend(read_answers(read_all(sock)))

    Served(app)(make_loop, client)
    whole = DATA * (LARGE // SIZE)
    expected = b"<" * 5_000_000 + whole[5:] + b"-" * 100_000 + DATA[:70_000] + b">"
    assert [one.body == expected for one in answers[:2]] == [True, True]
    assert answers[2].body == b"/next"
    assert sum(calls) == 2 * (LARGE - 5 + 70_000)


@both_loops
def test_a_client_that_resets_in_the_middle_of_a_file_ends_it_and_its_octets_are_logged(
    make_loop: Any, large: Path, calls: list[int]
) -> None:
    errors: list[BaseException] = []
    log = Taker()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        try:
            await send(pathsend(large))
        except OSError as error:
            errors.append(error)

    def client(sock: socket.socket) -> None:
        sock.sendall(request())
        assert sum(len(sock.recv(100_000)) for _ in range(5)) > 200
        while not calls:
            sock.recv(100_000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close by a reset

    Served(app, log)(make_loop, client)
    assert len(errors) == 1
    assert log.octets == b"200 %d\n" % sum(calls)
    assert 0 < sum(calls) < LARGE


@both_loops
def test_a_client_that_takes_nothing_of_a_file_is_let_go(make_loop: Any, large: Path) -> None:
    gone = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        try:
            await send(pathsend(large))
        finally:
            gone.set()

    def client(sock: socket.socket) -> None:
        sock.sendall(request())
        assert gone.wait(PATIENCE)

    Served(app, write=0.3)(make_loop, client)


@both_loops
def test_a_file_that_becomes_shorter_while_it_is_sent_is_cut(
    make_loop: Any, large: Path, calls: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """In a chunk, whose size has been said already."""
    octets: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        with large.open("rb") as file:
            await send(body(b"<", more=True))
            await send(zerocopy(file))

    def client(sock: socket.socket) -> None:
        sock.sendall(request() + NEXT)
        while not calls:
            octets.append(sock.recv(100))
        os.truncate(large, 0)
        octets.append(read_all(sock))

    Served(app)(make_loop, client)
    (answer,) = read_answers(b"".join(octets))
    assert not answer.complete
    assert "its file has become shorter" in caplog.text


def test_a_part_has_a_descriptor_of_its_own(path: Path) -> None:
    """The application may close its file, and the number be taken by another, before the last octet has left."""
    with path.open("rb") as file:
        part = FilePart(file.fileno())
    assert part.size() == SIZE
    assert os.pread(part.descriptor, 3, 0) == DATA[:3]
    part.close()

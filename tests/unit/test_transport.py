"""The transport of connections over real sockets, on every loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import select
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.proc import open_descriptors

from shardserve.native import accept
from shardserve.net.poller import Poller
from shardserve.net.transport import COMPILED, SocketTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

PATIENCE = 10.0
LARGE = 3_000_000  # octets: more than sockets hold

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs epoll(7): Linux")


class Echo:
    """A protocol that notes what it is told; `answer` is called with what arrives."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.answer: Callable[[bytes], object] = lambda _: None
        self.keeps = False  # at the end of the client's stream
        self.changed = asyncio.Event()

    def _note(self, what: Any) -> None:
        self.told.append(what)
        self.changed.set()

    def connection_made(self, transport: SocketTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._note(data)
        self.answer(data)

    def eof_received(self) -> bool:
        self._note("eof")
        return self.keeps

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self._note(("lost", error))

    def is_lost(self) -> bool:
        return any(isinstance(one, tuple) for one in self.told)

    async def wait_for(self, arrived: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not arrived():
                self.changed.clear()
                await self.changed.wait()

    async def wait_lost(self) -> None:
        await self.wait_for(self.is_lost)


class Bench:
    """Connections on one poller."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.poller = Poller(self.loop, contextvars.copy_context())
        self._pairs: list[tuple[Echo, socket.socket]] = []

    def connect(self, before_accept: Callable[[], object] = lambda: None) -> tuple[Echo, socket.socket]:
        """A connection and its client, which does not block; between them is room for little."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                listener.setsockopt(socket.SOL_SOCKET, option, 65536)
            theirs = socket.socket()
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            theirs.connect(listener.getsockname())
            before_accept()
            accepted = accept(listener)
        assert accepted is not None
        theirs.setblocking(False)
        protocol = Echo()
        self._pairs.append((protocol, theirs))
        SocketTransport(self.poller, accepted[0], protocol, accepted[1])
        return protocol, theirs

    def is_watched(self, descriptor: int) -> bool:
        """Whether the poller's epoll instance has it (proc(5), fdinfo)."""
        lines = Path(f"/proc/self/fdinfo/{self.poller.fileno()}").read_text().splitlines()
        return any(line.split()[:2] == ["tfd:", str(descriptor)] for line in lines)

    async def wait_watched(self, echo: Echo) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.is_watched(echo.transport.descriptor):
                await asyncio.sleep(0)

    async def read(self, theirs: socket.socket, most: int = 1 << 30) -> bytes:
        """What the client gets: `most` octets, or all to the end of the stream."""
        got = bytearray()
        async with asyncio.timeout(PATIENCE):
            while len(got) < most and (some := await self.loop.sock_recv(theirs, min(65536, most - len(got)))):
                got += some
        return bytes(got)

    async def send(self, theirs: socket.socket, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.loop.sock_sendall(theirs, data)

    async def close(self) -> None:
        for echo, theirs in self._pairs:
            echo.transport.abort()
            await echo.wait_lost()
            theirs.close()
        await asyncio.sleep(0)
        self.poller.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Callable[[Bench], Awaitable[None]]], None]]:
    """Runs a test on a loop; no descriptor is left then."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop", reason="needs uvloop (pip install uvloop)").new_event_loop

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.sleep(0))  # the first of all leaves descriptors open

    def run(test: Callable[[Bench], Awaitable[None]]) -> None:
        async def main() -> None:
            bench = Bench()
            try:
                await test(bench)
            finally:
                await bench.close()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    before = open_descriptors(os.getpid())
    yield run
    assert open_descriptors(os.getpid()) <= before


Run = Any


def test_what_is_sent_comes_back_in_order(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.answer = echo.transport.write
        # Behind one that is large another is expected to be.
        for piece in (b"one", b"two" * 1000, b"3", b"four" * 5000, b"5", b"six" * 7000, b"seven" * 8000, b"8"):
            await bench.send(theirs, piece)
            assert await bench.read(theirs, len(piece)) == piece
        theirs.shutdown(socket.SHUT_WR)
        await echo.wait_lost()
        assert echo.told[-2:] == ["eof", ("lost", None)]
        assert await bench.read(theirs) == b""

    run(test)


def test_pieces_of_one_turn_leave_together_at_its_end_and_in_order(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.transport.write(b"a")
        echo.transport.writelines([b"b", b"", b"c"])
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert theirs.recv(10) == b"abc"

    run(test)


def test_what_is_kept_leaves_when_it_is_asked_for_or_before_the_end(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.transport.write(b"a")
        assert echo.transport.get_write_buffer_size() == 0
        assert theirs.recv(10) == b"a"
        echo.transport.write(b"b")
        bench.poller.send_written()
        assert theirs.recv(10) == b"b"
        bench.poller.patient = False
        echo.transport.write(b"c")
        assert theirs.recv(10) == b"c"
        bench.poller.patient = True
        echo.transport.write(b"d")
        echo.transport.abort()
        assert await bench.read(theirs) == b"d"

    run(test)


def test_the_first_answers_do_not_wait_for_any_number_of_others(run: Run) -> None:
    async def test(bench: Bench) -> None:
        pairs = [bench.connect() for _ in range(40)]
        for echo, _ in pairs:
            echo.transport.write(b"x")
        assert pairs[0][1].recv(1) == b"x"
        with pytest.raises(BlockingIOError):
            pairs[-1][1].recv(1)
        assert await bench.read(pairs[-1][1], 1) == b"x"

    run(test)


def test_a_client_that_does_not_read_pauses_the_writer(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        pieces = [bytes([number]) * 50_000 for number in range(LARGE // 50_000)]
        for piece in pieces:
            echo.transport.write(piece)
        assert echo.told == ["pause"]
        assert 0 < echo.transport.get_write_buffer_size() <= LARGE
        echo.transport.close()
        assert echo.transport.is_closing()
        assert await bench.read(theirs) == b"".join(pieces)
        await echo.wait_lost()
        assert echo.told == ["pause", "resume", ("lost", None)]

    run(test)


def test_large_pieces_behind_a_small_one_arrive_whole(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        pieces = [b"head", os.urandom(70_000), b"x", os.urandom(LARGE), b"end"]
        echo.transport.writelines(pieces)
        echo.transport.close()
        assert await bench.read(theirs) == b"".join(pieces)

    run(test)


def test_many_small_pieces_that_wait_arrive_whole(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        expected = bytearray(os.urandom(LARGE))
        echo.transport.write(bytes(expected))
        for number in range(1000):
            piece = b"%d," % number
            echo.transport.write(piece)
            expected += piece
        echo.transport.close()
        assert await bench.read(theirs) == expected

    run(test)


def test_more_pieces_than_one_call_takes_follow_by_themselves(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        pieces = [b"%05d" % number * 100 for number in range(400)]
        echo.transport.writelines(pieces[:150])  # these fill no socket: no room becomes free
        assert await bench.read(theirs, 75_000) == b"".join(pieces[:150])
        echo.transport.writelines(pieces)
        echo.transport.close()
        assert await bench.read(theirs) == b"".join(pieces)

    run(test)


def test_with_a_limit_of_nothing_it_tells_when_all_has_left(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.transport.write(b"x")
        echo.transport.set_write_buffer_limits(0)
        assert echo.told == ["pause"]
        await echo.wait_for(lambda: "resume" in echo.told)
        assert echo.transport.get_write_buffer_size() == 0
        echo.transport.set_write_buffer_limits()
        echo.transport.write(b"y")
        assert await bench.read(theirs, 2) == b"xy"
        assert echo.told == ["pause", "resume"]

    run(test)


def test_nothing_is_read_while_it_is_paused(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.transport.pause_reading()
        await bench.send(theirs, b"later")
        other, client = bench.connect()  # its octets come after those, and are read before
        await bench.send(client, b"now")
        await other.wait_for(lambda: bool(other.told))
        assert not echo.told
        echo.transport.resume_reading()
        await echo.wait_for(lambda: bool(echo.told))
        assert echo.told == [b"later"]

    run(test)


def test_all_that_waited_is_read_though_nothing_more_comes(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.transport.pause_reading()
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += theirs.send(bytes(LARGE))
        assert sent > 65536  # octets, more than one call reads
        echo.transport.resume_reading()
        await echo.wait_for(lambda: sum(map(len, echo.told)) == sent)

    run(test)


@pytest.mark.parametrize("paused", [True, False])
def test_the_end_that_comes_with_the_last_octets_is_told(run: Run, paused: bool) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        await bench.wait_watched(echo)
        if paused:
            echo.transport.pause_reading()
        theirs.send(b"all")
        theirs.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0)
        echo.transport.resume_reading()
        await echo.wait_lost()
        assert echo.told == [b"all", "eof", ("lost", None)]

    run(test)


def test_what_stands_behind_urgent_data_is_read(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        await bench.wait_watched(echo)
        theirs.send(b"before")
        theirs.send(b"!", socket.MSG_OOB)  # recv(2) ends before it, whatever is behind
        theirs.send(b"behind")
        await echo.wait_for(lambda: b"".join(echo.told) == b"beforebehind")

    run(test)


def test_it_goes_on_writing_to_a_client_that_has_ended_its_side(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.keeps = True
        theirs.shutdown(socket.SHUT_WR)
        await echo.wait_for(lambda: echo.told == ["eof"])
        echo.transport.resume_reading()  # there is nothing more: it is not told again
        echo.transport.write(b"answer")
        assert await bench.read(theirs, 6) == b"answer"
        assert echo.told == ["eof"]
        echo.transport.close()
        assert await bench.read(theirs) == b""
        await echo.wait_lost()

    run(test)


def test_our_side_ends_behind_what_waits_and_the_other_is_still_read(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        body = os.urandom(LARGE)
        echo.transport.write(body)
        echo.transport.write_eof()
        echo.transport.write(b"too late")
        assert await bench.read(theirs) == body
        await bench.send(theirs, b"still here")
        await echo.wait_for(lambda: b"still here" in echo.told)
        echo.transport.abort()
        await echo.wait_lost()

    run(test)


def test_a_reset_is_a_loss_with_its_reason(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        await echo.wait_lost()
        assert isinstance(echo.told[-1][1], ConnectionResetError)
        echo.transport.write(b"nobody hears this")
        echo.transport.close()
        echo.transport.abort()
        await asyncio.sleep(0)
        assert len(echo.told) == 1

    run(test)


@pytest.mark.parametrize("reset", [False, True])
def test_the_end_comes_when_more_was_expected(run: Run, reset: bool) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        await bench.send(theirs, b"x" * 20_000)
        await echo.wait_for(lambda: sum(map(len, echo.told)) == 20_000)
        assert max(map(len, echo.told)) >= 16384
        if reset:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
        else:
            theirs.shutdown(socket.SHUT_WR)
        await echo.wait_lost()
        kind, error = echo.told[-1]
        assert (kind, isinstance(error, ConnectionResetError)) == ("lost", reset)

    run(test)


def test_a_reset_under_what_waits_is_a_loss(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.transport.pause_reading()
        echo.transport.write(bytes(LARGE))
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        await echo.wait_lost()
        assert isinstance(echo.told[-1][1], ConnectionError)
        assert echo.transport.get_write_buffer_size() == 0

    run(test)


def test_abort_drops_what_waits_and_closes_the_socket(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.transport.write(bytes(LARGE))
        echo.transport.abort()
        assert not echo.is_lost()  # whoever aborts is not called back at once
        await echo.wait_lost()
        assert echo.told == ["pause", ("lost", None)]
        assert len(await bench.read(theirs)) < LARGE
        assert echo.transport.fileno() == -1

    run(test)


def test_a_protocol_that_fails_loses_its_connection_and_no_other(run: Run) -> None:
    async def test(bench: Bench) -> None:
        faults: list[dict[str, Any]] = []
        bench.loop.set_exception_handler(lambda _, context: faults.append(context))
        echo, theirs = bench.connect()
        other, client = bench.connect()

        def fail(_: bytes) -> None:
            raise BrokenPipeError("not the socket's")

        echo.answer = fail
        other.answer = other.transport.write
        await bench.send(theirs, b"x")
        await bench.send(client, b"y")
        assert await bench.read(client, 1) == b"y"
        await echo.wait_lost()
        assert [type(fault["exception"]) for fault in faults] == [BrokenPipeError]

    run(test)


def test_what_cannot_be_sent_loses_its_connection_and_no_other(run: Run) -> None:
    async def test(bench: Bench) -> None:
        faults: list[dict[str, Any]] = []
        bench.loop.set_exception_handler(lambda _, context: faults.append(context))
        echo, theirs = bench.connect()
        other, client = bench.connect()
        echo.transport.write("text")  # type: ignore[arg-type]  # no octets
        other.transport.write(b"y")  # leaves behind it
        assert await bench.read(client, 1) == b"y"
        await echo.wait_lost()
        assert await bench.read(theirs) == b""
        assert [type(fault["exception"]) for fault in faults] == [TypeError]

    run(test)


def test_one_that_is_closed_by_another_in_the_same_turn_is_not_called(run: Run) -> None:
    async def test(bench: Bench) -> None:
        pairs = [bench.connect() for _ in range(2)]
        for number, (echo, _) in enumerate(pairs):
            echo.answer = lambda _, other=pairs[1 - number][0]: other.transport.abort()
        for _, theirs in pairs:
            theirs.send(b"x")
        async with asyncio.timeout(PATIENCE):
            while not any(echo.is_lost() for echo, _ in pairs):
                await asyncio.sleep(0)
        told = sorted(len([one for one in echo.told if one == b"x"]) for echo, _ in pairs)
        assert told == [0, 1]

    run(test)


def test_more_than_one_look_can_tell_are_served_all(run: Run) -> None:
    async def test(bench: Bench) -> None:
        pairs = [bench.connect() for _ in range(150)]
        for echo, theirs in pairs:
            echo.answer = echo.transport.write
            theirs.send(b"%d" % theirs.fileno())
        for _, theirs in pairs:
            expected = b"%d" % theirs.fileno()
            assert await bench.read(theirs, len(expected)) == expected

    run(test)


def test_while_it_rests_no_further_one_is_read_and_then_all_are_though_nothing_comes(run: Run) -> None:
    async def test(bench: Bench) -> None:
        pairs = [bench.connect() for _ in range(3)]
        for echo, theirs in pairs:
            await bench.wait_watched(echo)
            echo.answer = lambda _: bench.poller.rest()
            theirs.send(b"x")
        for read in (1, 2, 3):
            async with asyncio.timeout(PATIENCE):
                while sum(len(echo.told) for echo, _ in pairs) < read:
                    await asyncio.sleep(0)
            for _ in range(5):  # turns of the loop
                await asyncio.sleep(0)
            assert sum(len(echo.told) for echo, _ in pairs) == read
            bench.poller.go_on()
        assert [echo.told for echo, _ in pairs] == [[b"x"]] * 3

    run(test)


@pytest.mark.parametrize("gathers", [True, False])
def test_while_it_rests_new_ones_are_not_read_either(run: Run, gathers: bool) -> None:
    async def test(bench: Bench) -> None:
        bench.poller.rest()
        if gathers:
            bench.poller.gather()
        echo, theirs = bench.connect()
        theirs.send(b"x")
        if gathers:
            bench.poller.look_at_new()
        await bench.wait_watched(echo)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not echo.told
        bench.poller.go_on()
        await echo.wait_for(lambda: echo.told == [b"x"])

    run(test)


def test_those_that_are_gathered_are_read_together_when_that_is_said(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.poller.gather()
        pairs = [bench.connect() for _ in range(3)]
        for echo, theirs in pairs[:2]:
            echo.answer = echo.transport.write
            theirs.send(b"x")
        assert not any(echo.told for echo, _ in pairs)
        bench.poller.look_at_new()
        assert [echo.told for echo, _ in pairs] == [[b"x"], [b"x"], []]
        assert all(theirs.recv(10) == b"x" for _, theirs in pairs[:2])  # answered before the loop turns
        assert bench.is_watched(pairs[2][0].transport.descriptor)
        for echo, theirs in pairs:
            await bench.wait_watched(echo)
            theirs.send(b"y")
            await echo.wait_for(lambda told=echo.told: told[-1:] == [b"y"])
        later, client = bench.connect()  # is not gathered
        client.send(b"z")
        await later.wait_for(lambda: later.told == [b"z"])

    run(test)


def test_a_copy_of_the_socket_elsewhere_tells_nothing_once_it_is_closed(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        await bench.wait_watched(echo)
        with contextlib.ExitStack() as copies:
            copy = socket.socket(fileno=os.dup(echo.transport.descriptor))
            copies.enter_context(copy)
            number = echo.transport.descriptor
            echo.transport.abort()
            await echo.wait_lost()
            await asyncio.sleep(0)
            null = os.open(os.devnull, os.O_RDONLY)
            assert null == number
            other, client = bench.connect(before_accept=lambda: os.close(null))
            assert other.transport.descriptor == number  # it is given again
            theirs.send(b"for the copy")
            client.send(b"for us")
            await other.wait_for(lambda: bool(other.told))
            assert other.told == [b"for us"]
            assert copy.recv(100) == b"for the copy"

    run(test)


def test_what_an_application_has_in_its_context_is_not_seen_by_the_next(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")
    seen: list[str] = []

    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        echo.answer = lambda _: seen.append(variable.get())
        variable.set("the application's")
        echo.transport.pause_reading()
        echo.transport.resume_reading()
        theirs.send(b"x")
        await echo.wait_for(lambda: bool(echo.told))

    run(test)
    assert seen == [""]


def test_one_that_is_answered_and_closed_at_once_is_never_watched(run: Run) -> None:
    async def test(bench: Bench) -> None:
        watched = []
        echo, theirs = bench.connect()
        number = echo.transport.descriptor

        async def answer(data: bytes) -> None:  # a task, as those of ASGI
            watched.append(bench.is_watched(number))
            echo.transport.write(data)
            echo.transport.close()
            watched.append(bench.is_watched(number))

        tasks: list[asyncio.Task[None]] = []
        echo.answer = lambda data: tasks.append(bench.loop.create_task(answer(data)))
        theirs.send(b"the request")  # before the turn in which it is first looked at
        await echo.wait_lost()
        assert await bench.read(theirs) == b"the request"
        assert watched == [False, False]

    run(test)


def test_one_that_has_nothing_to_say_yet_is_watched(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        await bench.wait_watched(echo)
        theirs.send(b"late")
        await echo.wait_for(lambda: echo.told == [b"late"])

    run(test)


@pytest.mark.skipif(not COMPILED, reason="the uncompiled one sends the end by itself: one os.write for all")
@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_the_end_leaves_in_one_packet_with_the_last_octets(run: Run, end: str) -> None:
    def packets(theirs: socket.socket) -> int:  # that have arrived: tcpi_segs_in (linux/tcp.h)
        return int(struct.unpack_from("=I", theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 140)[0])

    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        await bench.wait_watched(echo)
        before = packets(theirs)
        echo.transport.write(b"all there is")
        getattr(echo.transport, end)()
        assert await bench.read(theirs) == b"all there is"
        assert packets(theirs) == before + 1

    run(test)


def test_what_follows_a_reset_is_told_to_each_connection_though_one_fails(run: Run) -> None:
    async def test(bench: Bench) -> None:
        failures: list[dict[str, Any]] = []
        bench.loop.set_exception_handler(lambda _, context: failures.append(context))
        pairs = [bench.connect() for _ in range(3)]

        def fail(error: Exception | None) -> None:
            Echo.connection_lost(pairs[0][0], error)
            raise RuntimeError("a bug of the protocol's")

        pairs[0][0].connection_lost = fail  # type: ignore[method-assign]
        for echo, _ in pairs:
            echo.transport.abort()
        for echo, _ in pairs:
            await echo.wait_lost()
            assert echo.transport.fileno() == -1
        assert [str(failure["exception"]) for failure in failures] == ["a bug of the protocol's"]

    run(test)


def test_addresses_and_what_it_does_not_know(run: Run) -> None:
    async def test(bench: Bench) -> None:
        echo, theirs = bench.connect()
        transport = echo.transport
        assert transport.get_extra_info("peername") == theirs.getsockname()
        assert transport.get_extra_info("sockname") == theirs.getpeername()
        assert transport.get_extra_info("sslcontext", "none") == "none"
        transport.abort()
        await echo.wait_lost()
        assert transport.get_extra_info("peername") == theirs.getsockname()  # known from the beginning
        assert transport.get_extra_info("sockname") is transport.get_extra_info("socket") is None

    run(test)

"""A connection without a network: real service, parser, gateway and connection on a real loop; the test is the client.

`with Driver.asgi(app, "h11") as wire:` then `wire.feed(octets)` and look at `wire.answers()` and `wire.closed`. Two
things only are not the real ones: the transport, which is memory, and the service's clock, which `wire.wait` moves.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import random
import re
import sys
import time
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from shardserve.gateway.asgi import AsgiGateway
from shardserve.gateway.limited import LimitedAsgiGateway
from shardserve.gateway.target import TrustedProxies
from shardserve.gateway.threads import ThreadPool
from shardserve.gateway.websocket import websocket_opener
from shardserve.gateway.wsgi_inline import InlineGateway
from shardserve.gateway.wsgi_pool import PoolGateway
from shardserve.gateway.wsgi_streamed import StreamingGateway
from shardserve.http.h1 import H1Connection
from shardserve.http.parsers import Parser, make_parser
from shardserve.http.parsers.builtin_parser import BuiltinParser
from shardserve.http.service import Service, Timeouts
from shardserve.http.websocket import WebSocketSettings
from shardserve.net.board import Board
from shardserve.worker.loop import make_spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from shardserve.http.lifetime import Lifetime
    from shardserve.http.request import Limits

PARSERS = ("builtin", "httptools", "h11")
# The first with the scanner of ordinary heads, which a pure build does not use, and without it.
EVERY_PARSER = (*PARSERS, "scanner", "splitter")
PATIENCE = 10.0  # seconds after which something that must happen has not

PEER = ("127.0.0.1", 50123)
SERVER = ("127.0.0.1", 8000)


def parser_called(name: str) -> Parser:
    """A parser of EVERY_PARSER."""
    if name in ("scanner", "splitter"):
        return BuiltinParser(scanning=name == "scanner")
    return make_parser(name)


class Clock:
    """Stands in for the `time` module in shardserve.http."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)

    def time(self) -> float:
        return 784111777.0 + self.now - 1000.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7


@lru_cache(maxsize=1)
def _modules_with_time(_: int) -> list[Any]:
    """Those of shardserve.http that look at the clock; to be asked with the number of modules, for more may come."""
    ours = [module for name, module in sys.modules.items() if name.startswith("shardserve.http.")]
    return [module for module in ours if hasattr(module, "time")]


class MemoryTransport(asyncio.Transport):
    """The server's end of a connection. Like the real one (net/transport.py), but for what is stricter:

    reading is always in the context that was current when it was made; writing after `write_eof` is an error; octets of
    the wrong type are an error; `close` waits until the client has taken what was written.
    """

    HIGH_WATER = 65536

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, peer: object, server: object
    ) -> None:
        super().__init__({"peername": peer, "sockname": server})
        self._loop = loop
        self._protocol = protocol
        self._inbox: deque[bytes] = deque()
        self._context = contextvars.copy_context()
        self._client_reads = True
        self._asked_to_pause = False
        self._high_water = self.HIGH_WATER
        self._closing = False
        self.reading = True
        self.sent = bytearray()  # what the client has got
        self.unread = bytearray()  # what it has not taken yet
        self.writes: list[bytes] = []
        self.write_ended = False  # our side has been ended: the client has seen, or will see, the end of the stream
        self.aborted = False
        self.has_reset = False  # the client has, and nobody has read or written since
        self.lost = False  # the protocol has been told

    # The client's side

    def arrive(self, data: bytes) -> None:
        """Octets from the client, or its end of the stream if there are none; read when the server reads."""
        self._inbox.append(data)
        self._loop.call_soon(self._deliver, context=self._context)

    def _deliver(self) -> None:
        while self._inbox and self.reading and not self._closing:
            data = self._inbox.popleft()
            if data:
                self._protocol.data_received(data)
            elif not self._protocol.eof_received():
                self.close()

    @property
    def waiting(self) -> int:
        """Octets that have arrived and were not read."""
        return sum(map(len, self._inbox))

    def stop_taking(self) -> None:
        """The client reads no more: what is written from now on stays with the server."""
        self._client_reads = False

    def take(self) -> None:
        """The client reads again."""
        self._client_reads = True
        self.sent += self.unread
        self.unread.clear()
        if self._asked_to_pause:
            self._asked_to_pause = False
            self._loop.call_soon(self._protocol.resume_writing)
        if self._closing:
            self._lose(None)

    def reset(self) -> None:
        """The client is gone without a word."""
        self._closing = True
        self._lose(ConnectionResetError("reset by the client"))

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self._loop.call_soon(self._protocol.connection_lost, error)

    # The server's side

    def write(self, data: Any) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self.write_ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.lost or not data:
            return
        self.writes.append(bytes(data))
        if self._client_reads:
            self.sent += data
            return
        self.unread += data
        self._ask_to_pause()

    def _ask_to_pause(self) -> None:
        if len(self.unread) > self._high_water and not self._asked_to_pause:
            self._asked_to_pause = True
            self._protocol.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_water = self.HIGH_WATER if high is None else high
        self._ask_to_pause()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.has_reset:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if not self._closing:
            self.write_ended = True

    def is_reading(self) -> bool:
        return self.reading and not self._closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if not self.reading and not self._closing:
            self.reading = True
            self._loop.call_soon(self._deliver, context=self._context)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.unread:
                self._lose(None)

    def abort(self) -> None:
        self._closing = True
        self.aborted = True
        self.unread.clear()
        self._lose(None)


@dataclass(frozen=True)
class Answer:
    """One response as a client reads it. `framing`: length, chunked, close or none; `complete`: its end was seen."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    framing: str
    complete: bool = True

    def __getitem__(self, name: bytes) -> bytes:
        found = [value for key, value in self.headers if key == name]
        assert len(found) == 1, f"{name!r} is there {len(found)} times in {self.headers}"
        return found[0]

    def get(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    def __contains__(self, name: bytes) -> bool:
        return any(key == name for key, _ in self.headers)


_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9]\d\d) [\t -~\x80-\xff]*")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)[ \t]*")


def read_answers(octets: bytes, methods: Sequence[str] = (), *, ended: bool = False) -> list[Answer]:
    """Read what a server sent, strictly, interim responses too. `methods` are those of the requests, then GET.

    With `ended` the stream is known to be over, which ends a body delimited by close.
    """
    answers: list[Answer] = []
    finals = 0
    while octets:
        head, end, rest = octets.partition(b"\r\n\r\n")
        assert end, f"a head without an end: {octets!r}"
        first, *lines = head.split(b"\r\n")
        found = _STATUS_LINE.fullmatch(first)
        assert found is not None, f"not a status line: {first!r}"
        status = int(found[1])
        headers = []
        for line in lines:
            field = _FIELD.fullmatch(line)
            assert field is not None, f"not a field line: {line!r}"
            headers.append((field[1].lower(), field[2]))
        method = methods[finals] if finals < len(methods) else "GET"
        finals += status >= 200
        answer, octets = _read_body(Answer(status, headers, b"", "none"), rest, method, ended)
        answers.append(answer)
    return answers


def _read_body(head: Answer, rest: bytes, method: str, ended: bool) -> tuple[Answer, bytes]:
    """RFC 9112 section 6.3, as the client has to read it."""
    status, headers = head.status, head.headers
    if status < 200 or status in (204, 304) or method == "HEAD":
        if status < 200 or status == 204:
            assert b"content-length" not in head, "RFC 9110 section 8.6: no Content-Length in 1xx and 204"
            assert b"transfer-encoding" not in head
        return head, rest
    if b"transfer-encoding" in head:
        assert head[b"transfer-encoding"] == b"chunked"
        assert b"content-length" not in head, "RFC 9112 section 6.2"
        body = b""
        while True:
            line, end, rest = rest.partition(b"\r\n")
            if not end:
                return Answer(status, headers, body, "chunked", False), b""
            assert re.fullmatch(rb"[0-9a-f]+", line), f"not a chunk size: {line!r}"
            size = int(line, 16)
            if not size:
                assert rest.startswith(b"\r\n"), f"trailers or rubbish: {rest!r}"
                return Answer(status, headers, body, "chunked"), rest[2:]
            if len(rest) < size + 2:
                return Answer(status, headers, body + rest[:size], "chunked", False), b""
            assert rest[size : size + 2] == b"\r\n"
            body, rest = body + rest[:size], rest[size + 2 :]
    if b"content-length" in head:
        size = int(head[b"content-length"])
        return Answer(status, headers, rest[:size], "length", len(rest) >= size), rest[size:]
    return Answer(status, headers, rest, "close", ended), b""


class Driver:
    """One connection to a service of its own; make it with `asgi` or `wsgi`, use it as a context manager."""

    wsgi_inline = False

    def __init__(
        self,
        make_gateway: Callable[[asyncio.AbstractEventLoop], Any],
        parser: str,
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        lifetime: Lifetime | None = None,
        peer: object = PEER,
        server: object = SERVER,
    ) -> None:
        self.clock = Clock()
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._note)
        self._faults: list[dict[str, Any]] = []
        self._left: tuple[bool, bool] | None = None  # closed and lingering when the driver was left
        # Where a test has two drivers at once, the first one's clock is that of both.
        self._told_time = [module for module in _modules_with_time(len(sys.modules)) if module.time is time]
        for module in self._told_time:
            module.time = self.clock
        self.gateway = make_gateway(self.loop)
        self.board = Board(1).claim(0, 1)
        self.service = Service(
            self.loop, parser_called(parser), self.gateway, self.board, limits, timeouts, lifetime=lifetime
        )
        self._peer, self._server = peer, server
        self.transport = self.connect()

    @classmethod
    def asgi(
        cls,
        app: Any,
        parser: str = "httptools",
        *,
        root_path: str = "",
        proxies: Sequence[str] = (),
        limit: int = 0,
        patience: float = 0.0,
        websockets: WebSocketSettings | None = None,
        **settings: Any,
    ) -> Driver:
        """Drive an ASGI application; `limit` and `patience` are those of turns."""
        opener = websocket_opener(websockets or WebSocketSettings())

        def make(loop: asyncio.AbstractEventLoop) -> AsgiGateway:
            given = (app, make_spawn(loop), TrustedProxies(proxies), root_path, {"test": {}}, opener)
            return LimitedAsgiGateway(limit, patience, *given) if limit else AsgiGateway(*given)

        return cls(make, parser, **settings)

    @classmethod
    def wsgi(
        cls,
        app: Any,
        parser: str = "httptools",
        *,
        threads: int = 1,
        inline: bool | None = None,
        buffering: bool = True,
        root_path: str = "",
        proxies: Sequence[str] = (),
        patience: float = 0.0,
        **settings: Any,
    ) -> Driver:
        """Drive a WSGI application, called on the test's own thread if `inline` (`wsgi_inline` where not said).

        Without `buffering` it is called before the request body has come.
        """

        def make(loop: asyncio.AbstractEventLoop) -> PoolGateway | InlineGateway:
            extra = {"test.extra": "here"}
            trusted = TrustedProxies(proxies)
            if threads == 1 and buffering and (cls.wsgi_inline if inline is None else inline):
                return InlineGateway(app, loop, trusted, root_path, extra)
            pooled = PoolGateway if buffering else StreamingGateway
            return pooled(app, ThreadPool(threads), loop, trusted, root_path, extra, patience)

        return cls(make, parser, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._left = (self.closed, self.lingers)
        try:
            if isinstance(self.gateway, InlineGateway | PoolGateway):
                self.service.cut()
                self.settle()
            if isinstance(self.gateway, PoolGateway):
                self.gateway.pool.stop(PATIENCE)
                assert not any(thread.is_alive() for thread in self.gateway.pool._threads), "an application call hangs"
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.wait(left))
        finally:
            self.loop.close()
            for module in self._told_time:
                module.time = time
        if kind is None:
            self._check_faults()

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._faults.append(context)

    def _check_faults(self) -> None:
        if self._faults:
            fault = self._faults[0]
            raise AssertionError(f"the loop caught: {fault['message']}") from fault.get("exception")

    def connect(self, peer: object = None, server: object = None) -> MemoryTransport:
        """Open a connection (the first is there from the start); what the driver does is done on the newest."""
        self._peer, self._server = peer or self._peer, server or self._server
        self.connection = H1Connection(self.service)
        self.transport = MemoryTransport(self.loop, self.connection, self._peer, self._server)
        self.service.opening += 1  # as whoever accepts it does
        self._call(self.connection.connection_made, self.transport)
        self.settle()
        return self.transport

    def _call(self, callback: Callable[..., object], *args: object) -> None:
        self.loop.call_soon(callback, *args, context=contextvars.Context())

    # The client's moves. Each returns when the server has done all that it can do.

    def feed(self, *pieces: bytes) -> Driver:
        """Send octets; each piece arrives by itself."""
        for piece in pieces:
            assert piece
            self.transport.arrive(piece)
            self.settle()
        return self

    def feed_bytes(self, data: bytes) -> Driver:
        """Send octets one by one."""
        return self.feed(*(data[at : at + 1] for at in range(len(data))))

    def feed_cut(self, data: bytes, seed: int, cuts: int = 5) -> Driver:
        """Send octets cut at random places."""
        return self.feed(*cut(data, seed, cuts))

    def end(self) -> Driver:
        """End the client's side; it still reads."""
        self.transport.arrive(b"")
        self.settle()
        return self

    def reset(self) -> Driver:
        """Break the connection."""
        self.transport.reset()
        self.settle()
        return self

    def take(self) -> Driver:
        """Read what the server could not send."""
        self.transport.take()
        self.settle()
        return self

    def wait(self, seconds: float) -> Driver:
        """Let time pass in the service's eyes."""
        self.clock.now += seconds
        self._call(self.service.tick)
        self.settle()
        return self

    def drain(self) -> asyncio.Future[None]:
        """Begin to drain the service."""
        done: list[asyncio.Future[None]] = []
        self._call(lambda: done.append(self.service.drain()))
        self.settle()
        return done[0]

    def do(self, callback: Callable[..., object], *args: object) -> Driver:
        """Call something on the loop."""
        self._call(callback, *args)
        self.settle()
        return self

    def run(self, *coroutines: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
        """Run coroutines, one after the other, as far as they get; return their tasks."""
        tasks: list[asyncio.Task[Any]] = []
        for coroutine in coroutines:
            self._call(lambda made=coroutine: tasks.append(self.loop.create_task(made)))
            self.settle()
            if tasks[-1].done():
                tasks[-1].exception()  # which is then the test's to look at
        return tasks

    def settle(self) -> None:
        """Run the loop until nothing is left to do without new input, time or (WSGI) a blocked application."""
        ready = self.loop._ready  # type: ignore[attr-defined]
        while True:
            self.loop.stop()  # so that it takes one turn, as documented; a task for each would cost most of a test
            self.loop.run_forever()
            if not ready:
                break
        self._check_faults()

    def until(self, condition: Callable[[], object]) -> Driver:
        """Run the loop until something is so that threads bring about."""
        end = time.monotonic() + PATIENCE
        while True:
            self.settle()
            if not self.loop._ready and condition():  # type: ignore[attr-defined]
                return self
            assert time.monotonic() < end, "it has not come about"
            self.loop.run_until_complete(asyncio.sleep(0.0005))

    def finish(self) -> Driver:
        """Run the loop until no application code runs."""
        return self.until(lambda: not self.service.running)

    # What the client sees

    @property
    def output(self) -> bytes:
        return bytes(self.transport.sent)

    @property
    def closed(self) -> bool:
        """Whether the client sees the end of the stream."""
        if self._left is not None:
            return self._left[0]
        return self.transport.is_closing() or self.transport.write_ended

    @property
    def lingers(self) -> bool:
        """Whether our side is ended but the client's is still read."""
        if self._left is not None:
            return self._left[1]
        return self.transport.write_ended and not self.transport.is_closing()

    def answers(self, *methods: str) -> list[Answer]:
        """All responses so far; `methods` of the requests where not all are GET."""
        return read_answers(self.output, methods, ended=self.closed)

    def answer(self, method: str = "GET") -> Answer:
        """The only response so far."""
        (answer,) = self.answers(method)
        return answer

    def statuses(self, *methods: str) -> list[int]:
        return [answer.status for answer in self.answers(*methods)]


def cut(data: bytes, seed: int, cuts: int) -> list[bytes]:
    """Cut octets at random places, the same ones for the same seed."""
    places = sorted(random.Random(seed).sample(range(1, len(data)), min(cuts, len(data) - 1)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


# Applications


class Call:
    """One call of a Puppet: the test does what the application would do."""

    def __init__(self, scope: Any, receive: Any, send: Any, returns: asyncio.Future[None]) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.returns = returns  # set its result, or an exception, to leave the application


class Puppet:
    """ASGI application that does nothing by itself: `wire.run(puppet.calls[0].send(start()))`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @property
    def call(self) -> Call:
        """The latest."""
        return self.calls[-1]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        call = Call(scope, receive, send, asyncio.get_running_loop().create_future())
        self.calls.append(call)
        await call.returns


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """The ASGI message that starts a response."""
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    """The ASGI message with a part of a response body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


def sending(*messages: dict[str, Any]) -> Any:
    """An ASGI application that sends these messages, whatever it is asked, without reading."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """ASGI application that answers with the target it was asked for."""
    await send(start())
    await send(body(scope["raw_path"]))


def request(
    target: bytes = b"/", *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1", data: bytes = b""
) -> bytes:
    """A request with a Host field, these fields and this body (its framing is for the fields to say)."""
    lines = [method + b" " + target + b" HTTP/" + version, b"Host: a", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + data


# Whether a case is served or refused must not depend on how its octets arrive.


@dataclass
class Echo:
    """ASGI application that remembers each request with its body, and answers 200."""

    def __post_init__(self) -> None:
        self.seen: list[tuple[str, bytes, tuple[tuple[bytes, bytes], ...], bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self.seen.append((scope["method"], target, tuple(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


@dataclass(frozen=True)
class Verdict:
    """What became of a case: the requests the application saw, the statuses the client got, whether it was closed."""

    seen: tuple[tuple[str, bytes, tuple[tuple[bytes, bytes], ...], bytes], ...]
    statuses: tuple[int, ...]
    closed: bool

    @property
    def bodies(self) -> list[bytes]:
        return [body for *_, body in self.seen]


NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"


def _run(parser: str, pieces: Sequence[bytes], end: bool) -> Verdict:
    echo = Echo()
    with Driver.asgi(echo, parser) as wire:
        for piece in pieces:
            wire.feed(piece)
        if end:
            wire.end()
        methods = [method for method, *_ in echo.seen]
        return Verdict(tuple(echo.seen), tuple(wire.statuses(*methods)), wire.closed)


def judge(case: bytes, parser: str, *, end: bool = False) -> Verdict:
    """Run a case whole, cut in many ways, and with a request behind it; assert that the verdict is always the same.

    The request behind it must be served if the connection was kept, and must not be seen if it was not. With `end` the
    client ends its side behind the case, and nothing is put behind it.
    """
    verdict = _run(parser, [case], end)
    cuts = [[case[at : at + 1] for at in range(len(case))]] if len(case) <= 2000 else [cut(case, 0, 50)]
    cuts += [cut(case, seed, 3) for seed in range(1, 4)]
    for pieces in cuts:
        again = _run(parser, pieces, end)
        assert again == verdict, f"cut as {[len(piece) for piece in pieces]}: {again} instead of {verdict}"
    if not end:
        followed = _run(parser, [case + NEXT], end)
        if verdict.closed:
            assert followed == verdict, f"with a request behind it: {followed} instead of {verdict}"
        else:
            behind = ("GET", b"/next", ((b"host", b"next"),), b"")
            expected = Verdict((*verdict.seen, behind), (*verdict.statuses, 200), False)
            assert followed == expected, f"with a request behind it: {followed} instead of {expected}"
    return verdict

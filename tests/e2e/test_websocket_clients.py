"""WebSockets over real sockets: clients of others, the options, reloads and stops with open ones."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.frameworks import COMBINATIONS
from support.proc import eventually, status
from support.websocket import CLOSE, PING, TEXT, deflated, frame, handshake, read_frames, text
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong, Request, TextMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import Server
    from websockets.sync.client import ClientConnection

    Serve = Callable[..., Server]


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Clients that are closed after the test."""
    with ExitStack() as stack:
        yield stack


def url(server: Server, path: str = "/echo") -> str:
    return server.url(path).replace("http:", "ws:")


def end(client: ClientConnection) -> int:
    """The code of the server's close; everything before it is read over."""
    with pytest.raises(ConnectionClosed) as closed:
        read_over(client)
    assert closed.value.rcvd is not None, "the connection was cut"
    return int(closed.value.rcvd.code)


def read_over(client: ClientConnection) -> None:
    while True:
        client.recv(timeout=30)


def raw(server: Server, path: str = "/echo", *fields: bytes) -> socket.socket:
    """A client whose handshake is done and that answers nothing by itself."""
    client = socket.create_connection(("127.0.0.1", server.port), 10)
    client.sendall(handshake(*fields, target=path.encode()))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return client


def memory(server: Server) -> int:
    """The most octets that its only worker has had in memory."""
    return int(status(server.workers()[0])["VmHWM"].split()[0]) * 1024


def everything(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize("options", COMBINATIONS)
def test_clients_with_each_parser_and_loop(serve: Serve, options: tuple[str, ...]) -> None:
    server = serve("sockets:app", "--workers", "1", "--ws-deflate", *options)
    for compression in ("deflate", None):
        with connect(url(server), subprotocols=["a", "b"], compression=compression, max_size=None) as client:
            assert client.subprotocol == "b"
            for message in ("é" * 1000, bytes(1_000_000), "", b"x"):
                client.send(message)
                assert client.recv(10) == message
            client.send(iter(["in ", "frag", "ments"]))
            assert client.recv(10) == "in fragments"
            assert client.ping().wait(10)
            client.close(4001, "done")
        server.wait_for("/echo ended with 4001")
    asyncio.run(many_at_once(server))
    speak_by_wsproto(server)
    with connect(url(server)) as client:
        client.send("crash")
        assert end(client) == 1011
    assert "LookupError: crash on purpose" in server.log


async def many_at_once(server: Server) -> None:
    async def one(number: int) -> None:
        async with connect_async(url(server)) as client:
            for turn in range(10):
                await client.send(f"{number} {turn}")
            assert [await client.recv() for _ in range(10)] == [f"{number} {turn}" for turn in range(10)]

    async with asyncio.timeout(30):
        await asyncio.gather(*map(one, range(50)))


def speak_by_wsproto(server: Server) -> None:
    connection = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:

        def events() -> list[object]:
            connection.receive_data(client.recv(65536))
            return list(connection.events())

        client.sendall(connection.send(Request(host="127.0.0.1", target="/echo")))
        (accept,) = events()
        assert isinstance(accept, AcceptConnection)
        client.sendall(connection.send(TextMessage(data="hello")))
        assert events() == [TextMessage(data="hello")]
        client.sendall(connection.send(Ping(payload=b"p")))
        assert events() == [Pong(payload=bytearray(b"p"))]
        client.sendall(connection.send(CloseConnection(code=1000)))
        assert events() == [CloseConnection(code=1000, reason="")]
        assert client.recv(1) == b""


def test_sizes_and_pings_by_their_options(serve: Serve) -> None:
    options = ("--ws-max-size", "1K", "--ws-ping-interval", "1", "--ws-ping-timeout", "1", "--ws-deflate")
    server = serve("sockets:app", "--workers", "1", *options)
    with connect(url(server), compression=None) as client:
        silent = raw(server)
        client.send("a" * 1024)
        assert client.recv(10) == "a" * 1024
        frames = read_frames(everything(silent))  # it is closed, and the one that answers its pings is not
        assert [one.opcode for one in frames] == [*[PING] * (len(frames) - 1), CLOSE]
        assert frames[-1].code == 1011
        client.send("a" * 1024)
        assert client.recv(10) == "a" * 1024
        client.send("a" * 1025)
        assert end(client) == 1009
    bomb = frame(TEXT, deflated(b"a" * 100_000_000), reserved=4)  # made now: it takes longer than a ping waits
    with raw(server, "/echo", b"Sec-WebSocket-Extensions: permessage-deflate") as client:
        before = memory(server)
        client.sendall(bomb)
        frames = read_frames(everything(client))
        assert frames[-1].code == 1009
        assert memory(server) - before < 20 * 1024**2
    silent.close()


def test_a_client_that_does_not_read_costs_no_memory(serve: Serve) -> None:
    server = serve("sockets:app", "--workers", "1")
    with raw(server, "/flood"), raw(server) as sender:
        sender.settimeout(1)
        messages = frame(TEXT, b"a" * 60_000) * 3000
        with pytest.raises(TimeoutError):  # the echo of what it sends is not taken: soon it cannot send any more
            sender.sendall(messages)
        assert memory(server) < 200 * 1024**2
        with connect(url(server)) as client:  # and others are served
            client.send("hello")
            assert client.recv(10) == "hello"


# The end of a worker


def test_a_reload_goes_on_past_websockets_and_closes_them_at_its_end(serve: Serve, clients: ExitStack) -> None:
    server = serve("sockets:app", "--workers", "2", "--graceful-timeout", "6")
    old = [clients.enter_context(connect(url(server, "/told"))) for _ in range(8)]
    assert [client.recv(10) for client in old] == ["1"] * 8
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete: generation 2 serves")
    for client in old:
        client.send("still here")
        assert client.recv(10) == "still here"
    with connect(url(server, "/told")) as new:
        assert new.recv(10) == "2"
        assert [end(client) for client in old] == [1012] * 8
        eventually("all are told", lambda: server.log.count("/told ended with 1012") == 8, 10)
        new.send("served on")
        assert new.recv(10) == "served on"
    assert "not finished" not in server.log


def test_a_stop_closes_with_1012(serve: Serve, clients: ExitStack) -> None:
    server = serve("sockets:app", "--workers", "1", "--graceful-timeout", "3")
    opened = [clients.enter_context(connect(url(server))) for _ in range(5)]
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert [end(client) for client in opened] == [1012] * 5
    assert server.exit_code() == 0
    assert time.monotonic() - began > 2  # they had the time until then
    assert server.log.count("/echo ended with 1012") == 5
    assert "not finished" not in server.log


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_stop_in_a_hurry_says_1012_as_well(serve: Serve, loop: str) -> None:
    server = serve("sockets:app", "--workers", "1", "--graceful-timeout", "0", "--loop", loop)
    with connect(url(server)) as client:
        server.signal(signal.SIGTERM)
        assert end(client) == 1012
    assert server.exit_code() == 0
    assert "Traceback" not in server.log


# The log


def test_the_access_log_has_one_line_when_it_ends(serve: Serve) -> None:
    server = serve("sockets:app", "--workers", "1", "--access-logfile", "-")
    with connect(url(server)) as client:
        client.send("abc")
        assert client.recv(10) == "abc"
        assert "GET /echo" not in server.log
    line = server.wait_for("GET /echo HTTP/1.1")
    assert re.search(r'"GET /echo HTTP/1.1" 101 9 ', line)  # a frame of 5 octets, and one of 4


def test_wsgi_knows_no_upgrade(serve: Serve) -> None:
    server = serve("probe:wsgi", "--workers", "1")
    with pytest.raises(InvalidStatus) as refused:
        connect(url(server, "/"))
    assert refused.value.response.status_code == 200  # a request like any other


def test_frames_cut_in_many_places(serve: Serve) -> None:
    server = serve("sockets:app", "--workers", "1")
    octets = text("é" * 300) + frame(CLOSE, b"\x03\xe8")
    with raw(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(octets), 7):
            client.sendall(octets[at : at + 7])
        frames = read_frames(everything(client))
    assert [one.opcode for one in frames] == [TEXT, CLOSE]
    assert frames[0].data.decode() == "é" * 300

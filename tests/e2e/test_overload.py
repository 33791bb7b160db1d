"""--worker-connections and --limit-concurrency over real sockets and several workers."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import Server

    Serve = Callable[..., Server]
    Connect = Callable[..., socket.socket]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open a connection, send this on it; it is closed at the end."""
    with ExitStack() as stack:

        def open_one(server: Server, octets: bytes = b"") -> socket.socket:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            sock.sendall(octets)
            return sock

        yield open_one


def status(sock: socket.socket, timeout: float = 10) -> int:
    """Of the answer that comes next, which is small."""
    sock.settimeout(timeout)
    return int(sock.recv(65536)[9:12])


def is_silent(sock: socket.socket, seconds: float = 0.5) -> bool:
    sock.settimeout(seconds)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    return False


class TestWorkerConnections:
    @pytest.mark.parametrize("interface", ["asgi", "wsgi"])
    def test_accepting_pauses_at_the_limit_and_goes_on_below_it(
        self, serve: Serve, connect: Connect, interface: str
    ) -> None:
        server = serve(f"probe:{interface}", "--workers", "1", "--worker-connections", "3")
        held = [connect(server, GET) for _ in range(3)]
        assert [status(sock) for sock in held] == [200] * 3
        late = [connect(server, GET) for _ in range(2)]
        assert all(is_silent(sock) for sock in late)
        server.wait_for("accepting pauses: there are 3 connections")
        held[0].sendall(GET)  # those that are in are served
        assert status(held[0]) == 200
        held[0].close()
        assert status(late[0]) == 200
        assert is_silent(late[1])
        late[0].close()
        assert status(late[1]) == 200
        assert server.log.count("accepting pauses") == 1
        assert "does not accept" not in server.log

    @pytest.mark.parametrize("steering", ["auto", "cbpf"])
    def test_new_connections_go_to_the_worker_that_has_room(
        self, serve: Serve, connect: Connect, steering: str
    ) -> None:
        options = ("--workers", "2", "--worker-connections", "4", "--steering", steering)
        server = serve("probe:asgi", *options)
        for _ in range(3):
            held = []
            for _ in range(8):
                held.append(connect(server, GET))
                assert status(held[-1]) == 200
            late = connect(server, GET)
            assert is_silent(late, 0.2)
            for sock in held:
                sock.close()
            assert status(late) == 200
            late.close()

    def test_what_reaches_a_full_worker_goes_to_one_that_has_room(self, serve: Serve, connect: Connect) -> None:
        server = serve("probe:asgi", "--workers", "2", "--worker-connections", "8", "--steering", "hash")
        for _ in range(2):  # the hash gives 8 to each one time in five
            held = [connect(server, GET) for _ in range(16)]
            assert [status(sock) for sock in held] == [200] * 16
            late = connect(server, GET)
            assert is_silent(late, 0.2)
            held.pop().close()  # of either worker, wherever the late one waits
            assert status(late) == 200
            late.close()
            for sock in held:
                sock.close()

    def test_a_stop_answers_what_waits_at_the_door_of_a_full_worker(self, serve: Serve, connect: Connect) -> None:
        server = serve("probe:asgi", "--workers", "1", "--worker-connections", "2")
        held = [connect(server, GET) for _ in range(2)]
        assert [status(sock) for sock in held] == [200] * 2
        late = [connect(server, GET) for _ in range(3)]
        server.wait_for("accepting pauses")
        server.signal(signal.SIGTERM)
        assert [status(sock) for sock in late] == [200] * 3
        assert server.exit_code() == 0


class TestLimitConcurrency:
    @pytest.mark.parametrize("interface", ["asgi", "wsgi"])
    def test_what_finds_no_turn_in_time_is_503(self, serve: Serve, connect: Connect, interface: str) -> None:
        options = ("--workers", "1", "--limit-concurrency", "1", "--queue-timeout", "200ms")
        server = serve(f"probe:{interface}", *options)
        first = connect(server, b"GET /sleep?2 HTTP/1.1\r\nHost: a\r\n\r\n")
        late = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        for _ in range(5000):  # until the first one is executed
            late.request("GET", "/")
            answer = late.getresponse()
            if answer.status != 200:
                break
            answer.read()
        assert (answer.status, answer.headers["retry-after"], answer.read()) == (503, "1", b"Service Unavailable\n")
        assert status(first) == 200
        late.request("GET", "/")
        assert late.getresponse().status == 200
        late.close()
        server.wait_for(r"overloaded: 1 requests")

    def test_a_request_without_a_turn_goes_to_a_worker_that_has_one(self, serve: Serve) -> None:
        server = serve("probe:asgi", "--workers", "2", "--limit-concurrency", "1", "--queue-timeout", "0")
        by_worker: dict[int, list[http.client.HTTPConnection]] = {}
        while max(map(len, by_worker.values()), default=0) < 2:
            kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            kept.request("GET", "/")
            by_worker.setdefault(json.loads(kept.getresponse().read())["pid"], []).append(kept)
        first, second = next(pair for pair in by_worker.values() if len(pair) == 2)
        first.request("GET", "/sleep?2")
        second.request("GET", "/sleep?2")
        pids = {json.loads(one.getresponse().read())["pid"] for one in (first, second)}
        assert pids == set(server.workers())
        for connections in by_worker.values():
            for one in connections:
                one.close()

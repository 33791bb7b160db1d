"""Clients that do not come to an end: what they may send and cost is bounded, and the answer to them is not lost."""

from __future__ import annotations

import hashlib
import re
import select
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.proc import status
from support.server import Server
from support.wire import read_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Serve = Callable[..., Server]

sys.path.append(str(Path(__file__).parent.parent / "apps"))
from deaf import ANSWER

MIB = 1 << 20
MOST = 64 * MIB  # octets after which a server that still takes more has no bound
PIECE = 65536
ROOM = 12 * MIB  # what memory of a worker may grow by; far less than it is sent
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """tests/apps/echo.py with one worker and the default bounds."""
    log_path = tmp_path_factory.mktemp("endless") / "server.log"
    with Server(f"echo:{request.param}", "--workers", "1", log_path=log_path) as started:
        yield started.ready()
        assert "Traceback" not in started.log


def peak(server: Server) -> int:
    """The most octets that its only worker has had in memory."""
    return int(status(server.workers()[0])["VmHWM"].split()[0]) * 1024


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 20)


def rest(client: socket.socket) -> bytes:
    """All that comes until the end of the stream; a reset raises."""
    return b"".join(iter(lambda: client.recv(262144), b""))


def send_on(client: socket.socket, octets: bytes) -> None:
    """Send them a hundred times: requests whose answers are more than the kernel keeps."""
    for _ in range(100):
        unsent = memoryview(octets)
        while unsent:
            unsent = unsent[client.send(unsent) :]


def pour(client: socket.socket, first: bytes, more: bytes) -> bytes:
    """Send `first`, then `more` again and again until there is an answer; the answer."""
    piece = more * (PIECE // len(more))
    client.sendall(first)
    for _ in range(MOST // PIECE):
        client.sendall(piece)
        if select.select([client], [], [], 0)[0]:
            return client.recv(PIECE)
    raise AssertionError(f"{MOST} octets were taken, and nothing was said")


ENDLESS = {
    "5 MB of headers": (HEAD, b"X-A: " + b"b" * 500 + b"\r\n", 431),
    "one header of 5 MB": (HEAD + b"X-A: ", b"b", 431),
    "one request line": (b"GET /", b"a", 414),
    "chunk extensions": (CHUNKED, b"1" + b";a=b" * 50 + b"\r\nx\r\n", 400),
    "one chunk extension": (CHUNKED + b"1;", b"a", 400),
    "a chunk size": (CHUNKED, b"0", 400),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"A: " + b"b" * 500 + b"\r\n", 431),
    "one trailer": (CHUNKED + b"1\r\nx\r\n0\r\nA: ", b"b", 431),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_refused_early_and_costs_no_memory(server: Server, kind: str) -> None:
    first, more, expected = ENDLESS[kind]
    server.get()
    before = peak(server)
    with connect(server) as client:
        octets = pour(client, first, more)
    (answer,) = read_answers(octets, ended=True)
    assert answer.status == expected
    assert peak(server) - before < ROOM
    assert server.get()


def test_ten_thousand_pipelined_requests_are_answered_in_order_within_bounds(server: Server) -> None:
    count = 10_000
    server.get()
    before = peak(server)
    with connect(server) as client:
        octets = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(count))
        octets += HEAD + b"Connection: close\r\n\r\n"
        sender = threading.Thread(target=client.sendall, args=(octets,))
        sender.start()
        asked = server.get(timeout=10)  # others have their turn meanwhile
        got = rest(client)
        sender.join(20)
    assert asked
    tokens = re.findall(rb"\r\n\r\n(\d+) \d+ 0 1\n(\d+)HTTP/1.1 200 OK\r\n", got)
    assert tokens == [(b"%d" % number, b"%d" % number) for number in range(count)]
    assert peak(server) - before < ROOM


def test_others_are_served_while_ten_thousand_answers_are_not_read(server: Server) -> None:
    server.get()
    before = peak(server)
    with connect(server) as client:
        client.settimeout(1)  # for which nothing moves: it is not read on while it takes no answer
        with pytest.raises(TimeoutError):
            send_on(client, (HEAD + b"X-A: " + b"b" * 200 + b"\r\n\r\n") * 2_000)
        assert server.get()
    assert peak(server) - before < ROOM


# A client that is still sending when it is answered: a reset would take the answer away from it (RFC 9112, 9.6).


def send_all_then_read(server: Server, octets: bytes) -> bytes:
    """As most clients do: the answer is looked at when all has been sent, and there was no reset until its end."""
    with connect(server) as client:
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        return rest(client)


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_an_answer_before_the_end_of_a_large_body_is_not_lost(serve: Serve, interface: str) -> None:
    server = serve(f"deaf:{interface}", "--workers", "1")
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (6 * MIB)
    chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
    for octets in (head + bytes(6 * MIB), CHUNKED + chunk * 6 + b"0\r\n\r\n"):
        (answer,) = read_answers(send_all_then_read(server, octets), ended=True)
        assert answer.status == 200
        assert hashlib.sha256(answer.body).digest() == hashlib.sha256(ANSWER).digest()


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_a_refusal_of_a_large_body_is_not_lost(serve: Serve, interface: str) -> None:
    server = serve(f"probe:{interface}", "--workers", "1", "--limit-request-body", str(MIB))
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (6 * MIB)
    chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
    for octets in (head + bytes(6 * MIB), CHUNKED + chunk * 6 + b"0\r\n\r\n"):
        (answer,) = read_answers(send_all_then_read(server, octets), ended=True)
        assert answer.status == 413
        assert answer[b"connection"] == b"close"


def test_what_is_read_behind_an_answer_has_an_end(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n")
        (answer,) = read_answers(rest(client), ended=True)
        assert answer.status == 501
        client.settimeout(0.5)
        taken = 0
        with suppress(OSError):  # nothing moves any more, or it is reset: at most 2 s after the answer
            while taken < MOST:
                taken += client.send(bytes(PIECE))
    assert 6 * MIB < taken < MOST  # as much as was sent behind the answers above

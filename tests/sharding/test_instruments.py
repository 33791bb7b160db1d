"""What the matrix measures with: the strict load tells every way to fail apart, the link takes the time it says."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.matrix import Link, Row
from support.proc import eventually
from support.strict import Outcome, Plan, StrictLoad

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    Serve = Callable[..., Server]
    Script = Callable[[socket.socket, str], None]

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets


def head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length


def right(request: str) -> bytes:
    """The answer of apps/echo.py to a request with a body."""
    token, body = request[6:14], request.partition("\r\n\r\n")[2]
    answer = f"{token} 1 2 3\n{body}{token}".encode()
    return head(len(answer)) + answer


def answer(sock: socket.socket, request: str) -> None:
    sock.sendall(right(request))


def reset(sock: socket.socket, request: str) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def reset_within(sock: socket.socket, request: str) -> None:
    sock.sendall(head(5000) + b"half")
    time.sleep(0.1)  # or the reset overtakes the octets
    reset(sock, request)


def empty(sock: socket.socket, request: str) -> None:
    """Close without an answer."""


def close_within(sock: socket.socket, request: str) -> None:
    sock.sendall(head(5000) + b"half")


def close_within_chunks(sock: socket.socket, request: str) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")


def refuse_politely(sock: socket.socket, request: str) -> None:
    sock.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


def answer_another(sock: socket.socket, request: str) -> None:
    sock.sendall(right(request.replace("00000001", "00000002")))


def answer_twice(sock: socket.socket, request: str) -> None:
    sock.sendall(right(request) * 2)


def hang(sock: socket.socket, request: str) -> None:
    time.sleep(1.5)


def run(script: Script, **plan: object) -> Outcome:
    """One request to a server that answers by the script, then closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                script(sock, sock.recv(65536).decode())

        server = threading.Thread(target=serve)
        server.start()
        options = {"clients": 1, "once": True, "timeout": 1.0, **plan}
        with StrictLoad(Plan(port=listener.getsockname()[1], **options)) as load:  # type: ignore[arg-type]
            server.join()
            return load.stop()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (reset, "reset"),
        (reset_within, "truncated"),
        (empty, "empty"),
        (close_within, "truncated"),
        (close_within_chunks, "truncated"),
        (refuse_politely, "wrong"),
        (answer_another, "wrong"),
        (answer_twice, "wrong"),
        (hang, "timeout"),
        (answer, "ok"),
    ],
)
def test_what_becomes_of_a_request_is_told_by_its_kind(script: Script, kind: str) -> None:
    (record,) = run(script).records
    assert record.kind == kind
    assert record.connected


def test_what_is_right_is_right(serve: Serve) -> None:
    server = serve("echo:asgi", "--workers", "1")
    row = Row()
    load = Link().load(server, clients=4, keep_alive=True, ms=0)
    with row.under(load):
        load.wait_for(60)
    assert len(row.outcome.failed) == len(row.outcome.closed) == 0
    assert set(row.outcome.pids) == set(server.workers())
    assert {one.earlier > 0 for one in row.outcome.records} == {True, False}


def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with StrictLoad(Plan(port=port, clients=1, once=True)) as load:
        (record,) = load.stop().records
    assert (record.kind, record.connected) == ("refused", 0)


def test_a_kept_connection_that_is_closed_is_counted(serve: Serve) -> None:
    server = serve("echo:asgi", "--workers", "1", "--keep-alive", "1")
    row = Row()
    load = Link().load(server, clients=2, keep_alive=True, think=100.0)
    with row.under(load):
        load.wait_for(2, since=0)
        eventually("both are closed", lambda: load.connected == 0)
    assert {one.kind for one in row.outcome.closed} == {"dropped"}
    assert not row.outcome.failed


def test_a_connection_that_is_told_to_close_is_counted(serve: Serve) -> None:
    server = serve("echo:asgi", "--workers", "1", "--keep-alive", "0")
    row = Row()
    load = Link().load(server, clients=2, keep_alive=True)
    with row.under(load):
        load.wait_for(10, since=0)
    assert len(row.outcome.closed) >= 10
    assert not row.outcome.failed


def test_the_link_takes_its_time(serve: Serve, link: Link) -> None:
    server = serve("echo:asgi", "--workers", "1", bind=link.bind)
    row = Row()
    load = link.load(server, clients=1, ms=0)
    with row.under(load):
        load.wait_for(10, since=0)
    quickest = min(one.wait for one in row.outcome.records)
    assert link.rtt * 2 <= quickest < link.rtt * 2 + 0.05  # the handshake, then the request

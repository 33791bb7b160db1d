"""What the application forks holds nothing of its worker: no listener, no client, not the supervisor's channel."""

from __future__ import annotations

import re
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from support.proc import SEQPACKET, accepted, alive, eventually, queued, tcp_listeners, tcp_sockets, unix_sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    Serve = Callable[..., Server]

LOOPS = ["uvloop", "asyncio"]
ASK = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: %s\r\n\r\n"


def ask(server: Server, path: str, connection: str = "close") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), 10)
    client.sendall(ASK % (path.encode(), connection.encode()))
    return client


def until_end(client: socket.socket) -> float:
    """Read to the end of the stream; returns for how many seconds."""
    began = time.monotonic()
    while client.recv(65536):
        pass
    client.close()
    return time.monotonic() - began


def child_of(server: Server) -> int:
    return int(re.findall(r"child (\d+)", server.wait_for(r"child \d+"))[0])


@pytest.mark.parametrize("path", ["/multiprocessing?30", "/os?30"])
@pytest.mark.parametrize(
    ("app", "loop"), [("forks:asgi", "uvloop"), ("forks:asgi", "asyncio"), ("forks:wsgi", "uvloop")]
)
def test_a_forked_child_holds_nothing_of_its_worker(serve: Serve, app: str, loop: str, path: str) -> None:
    server = serve(app, "--workers", "1", "--loop", loop)
    worker = server.workers()[0]
    idle = ask(server, "/", "keep-alive")
    assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
    waits = socket.create_connection(("127.0.0.1", server.port), 10)
    eventually("both are accepted", lambda: accepted(worker, server.port) == 2)
    client = ask(server, path)
    child = child_of(server)
    assert until_end(client) < 3
    assert alive(child)
    assert not tcp_listeners(child, server.port)
    assert not accepted(child, server.port)
    assert not unix_sockets(child, SEQPACKET)
    idle.sendall(ASK % (b"/", b"keep-alive"))  # the worker's own loop is not disturbed
    waits.sendall(ASK % (b"/", b"close"))
    assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert until_end(waits) < 3
    idle.close()
    until_end(ask(server, f"/kill?{child}"))


def test_a_forked_child_that_outlives_the_service_leaves_the_port_free(serve: Serve) -> None:
    server = serve("forks:asgi", "--workers", "2")
    until_end(ask(server, "/os?30"))
    child = child_of(server)
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete")
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    assert alive(child)
    assert not [one for one in tcp_sockets(server.port) if one.state == "0A"]
    again = serve("forks:asgi", "--workers", "1", bind=f"127.0.0.1:{server.port}")
    until_end(ask(again, f"/kill?{child}"))
    eventually("the child has ended", lambda: not alive(child))


def test_a_child_forked_at_import_holds_no_listener(serve: Serve) -> None:
    server = serve("forks:asgi", "--workers", "2", env={"FORK_AT_IMPORT": "30"})
    server.wait_for(r"child \d+", count=2)
    children = [int(pid) for pid in re.findall(r"child (\d+)", server.log)]
    for child in children:
        assert alive(child)
        assert not tcp_listeners(child, server.port)
        assert not unix_sockets(child, SEQPACKET)
        until_end(ask(server, f"/kill?{child}"))


def test_terminate_ends_the_child_and_not_the_worker(serve: Serve) -> None:
    server = serve("forks:asgi", "--workers", "1")
    workers = server.workers()
    client = ask(server, "/terminate")
    assert b"exit code -15" in client.recv(65536)
    client.close()
    until_end(ask(server, "/"))
    assert server.workers() == workers
    assert "replaced" not in server.log


@pytest.mark.parametrize("loop", LOOPS)
def test_a_child_that_c_code_forked_does_not_hold_streams_open(serve: Serve, loop: str) -> None:
    # It runs none of Python's hooks and keeps copies of all: the stream itself has to end, not only a descriptor.
    server = serve("forks:asgi", "--workers", "1", "--loop", loop)
    clients = [ask(server, "/wait?2.5") for _ in range(3)]  # here when it is forked
    eventually("all are accepted", lambda: not queued(server.port))
    server.wait_for("begun /wait", count=3)
    forker = ask(server, "/libc?30")
    child = child_of(server)
    assert all(until_end(client) < 6 for client in clients)  # the worker has looked for children meanwhile
    forker.close()
    assert alive(child)
    until_end(ask(server, f"/kill?{child}"))


def test_nor_those_that_another_worker_has_taken_over(serve: Serve) -> None:
    server = serve("forks:asgi", "--workers", "1")
    clients = [ask(server, "/", "keep-alive") for _ in range(3)]  # here when it is forked
    assert all(client.recv(65536).startswith(b"HTTP/1.1 200 ") for client in clients)
    forker = ask(server, "/libc?30")
    child = child_of(server)
    for generation in (2, 3):  # the second worker has no children, and knows of copies all the same
        server.signal(signal.SIGHUP)
        server.wait_for(f"reload complete: generation {generation}")
    for client in clients:
        client.sendall(ASK % (b"/", b"close"))
    assert all(until_end(client) < 3 for client in clients)
    forker.close()
    assert alive(child)
    until_end(ask(server, f"/kill?{child}"))

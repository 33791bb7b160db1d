"""Workers that live but do not move: siblings serve for them at once, and in the end they are replaced, with stacks."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest
from support.proc import eventually
from support.server import Server

Serve = Callable[..., Server]


def ask(server: Server, times: int) -> tuple[set[object], float]:
    """The workers that answer, and the longest wait in seconds."""
    pids, longest = set(), 0.0
    for _ in range(times):
        began = time.monotonic()
        pids.add(server.get_json("/pid")["pid"])
        longest = max(longest, time.monotonic() - began)
    return pids, longest


def block(server: Server, seconds: float) -> socket.socket:
    """Have some worker block its loop."""
    sock = socket.create_connection(("127.0.0.1", server.port), 30)
    sock.sendall(f"GET /block?{seconds} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return sock


def test_siblings_serve_for_a_blocked_loop_until_it_moves_again(serve: Serve) -> None:
    # By hash: it knows nothing of the load, and goes on giving the blocked worker its share.
    server = serve("probe:asgi", "--workers", "4", "--steering", "hash")
    everybody = set(server.workers())
    with block(server, 4) as blocked:
        server.wait_for("blocking")  # what it has accepted before has to wait with it
        _, first = ask(server, 40)  # among them some of the blocked shard, until it is noticed
        pids, longest = ask(server, 100)
        server.wait_for("does not accept; siblings do for it", timeout=1)
        assert len(pids) == 3
        assert first < 1.5
        assert longest < 0.5
        assert b"HTTP/1.1 200" in blocked.recv(65536), "the blocked request itself is answered in the end"
    server.wait_for("accepts again", timeout=10)
    eventually("it serves again", lambda: ask(server, 30)[0] == everybody, 10)
    assert set(server.workers()) == everybody


def test_a_hung_loop_shows_its_stacks_and_is_replaced(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2", "--timeout", "2")
    before = set(server.workers())
    with block(server, 60) as blocked:
        server.wait_for(r"is hung: its loop has not run for 2 s; its stacks follow", timeout=15)
        assert blocked.recv(1) == b"", "its connection dies with it"
    server.wait_for(r"died \(killed: hung")
    server.wait_for("serves .ready", count=3)
    assert "Current thread" in server.log
    assert "probe.py" in server.log, "the stack of the application's own code"
    after = set(server.workers())
    assert len(after) == 2
    assert len(after & before) == 1
    assert ask(server, 20)[1] < 1


def test_a_stopped_worker_is_replaced_too(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2", "--timeout", "1")
    victim = server.workers()[0]
    os.kill(victim, signal.SIGSTOP)
    _, longest = ask(server, 60)
    assert longest < 1.5
    server.wait_for(rf"worker {victim} died \(killed: hung", timeout=15)
    server.wait_for("serves .ready", count=3)
    assert victim not in server.workers()


def test_a_timeout_of_zero_waits_for_ever(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2", "--timeout", "0")
    with block(server, 3) as blocked:
        assert b"HTTP/1.1 200" in blocked.recv(65536)
    assert "hung" not in server.log


@pytest.mark.parametrize("seconds", [0.05])
def test_applications_that_block_a_little_are_left_alone(serve: Serve, seconds: float) -> None:
    server = serve("probe:asgi", "--workers", "2", "--timeout", "1")
    for _ in range(30):
        with block(server, seconds) as blocked:
            blocked.recv(65536)
    assert "does not accept" not in server.log
    assert "hung" not in server.log

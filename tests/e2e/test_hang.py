"""Workers that live but do not move: siblings serve for them at once, and in the end they are replaced, with stacks."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.proc import accepted, eventually
from support.server import Server

if TYPE_CHECKING:
    from support.site import Site

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17  # ptrace(2)

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
    server.wait_for(r"died \(killed: hung: .*\) while executing: GET /block \(\d+\.\d s\)$")
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
    server.wait_for(rf"worker {victim} is hung: .*; it is stopped, and cannot show its stacks", timeout=15)
    server.wait_for(rf"worker {victim} died \(killed: hung", timeout=15)
    assert "stacks follow" not in server.log
    server.wait_for("serves .ready", count=3)
    assert victim not in server.workers()


def test_a_hung_loop_that_runs_python_shows_its_tasks(serve: Serve, site: Site) -> None:
    site.write(
        """
        import asyncio, time

        class Line:
            async def wait_in_line(self):
                await asyncio.sleep(600)

        async def a_generator():
            await Line().wait_in_line()
            yield

        async def app(scope, receive, send):
            if scope["type"] != "http":
                raise RuntimeError("http only")
            print("executes", scope["path"], flush=True)
            async for _ in a_generator() if scope["path"] == "/wait" else ():
                pass
        """,
        name="lines.py",
    )
    site.write(
        """
        import lines

        async def app(scope, receive, send):
            if scope.get("path") == "/spin":
                while True:
                    pass
            await lines.app(scope, receive, send)
        """
    )
    server = site.serve("app:app", "--workers", "1", "--timeout", "2")
    with ExitStack() as stack:
        for count in range(60):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
            sock.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            server.wait_for("executes /wait", count=count + 1)
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
        sock.sendall(b"GET /spin HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for(r"died \(killed: hung", timeout=20)
    server.wait_for(r"its loop has \d+ tasks, 50 are shown")
    assert len(re.findall("task .* waits:", server.log)) == 49
    running = server.log.partition(" runs:\n")[2].partition("[ERROR]")[0]
    assert "in app\n    while True:\n" in running or "in app\n    pass\n" in running, running
    waiting = [part.partition("[ERROR]")[0] for part in server.log.split(" waits:\n")[1:]]
    frames = [[part.split()[0] for part in one.split(", in ")[1:]][-4:] for one in waiting]
    # All but the worker's own task, which may be among them, in any place.
    assert frames.count(["app", "a_generator", "wait_in_line", "sleep"]) >= 48
    assert "Current thread" in server.log, "and faulthandler has shown the threads"


def test_a_wsgi_worker_without_a_free_thread_is_hung(serve: Serve) -> None:
    server = serve("probe:wsgi", "--workers", "1", "--threads", "2", "--timeout", "2")
    before = server.workers()
    with block(server, 600), block(server, 600) as blocked:
        server.wait_for(r"is hung: no thread has been free for 2 s; its stacks follow", timeout=15)
        assert blocked.recv(1) == b"", "its connection dies with it"
    what = r"GET /block \(\d+\.\d s\), GET /block \(\d+\.\d s\)$"
    server.wait_for(rf"died \(killed: hung: no thread .*\) while executing: {what}")
    server.wait_for("serves .ready", count=2)
    assert server.log.count("in wsgi\n") >= 2, "the stacks of both threads"
    assert server.workers() != before
    assert ask(server, 5)[1] < 1


def test_a_wsgi_worker_that_makes_progress_is_not_hung(serve: Serve) -> None:
    server = serve("probe:wsgi", "--workers", "1", "--timeout", "1")
    with ExitStack() as stack:
        clients = [stack.enter_context(block(server, 0.5)) for _ in range(8)]  # four seconds without a free thread
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert "hung" not in server.log


def test_a_wsgi_worker_with_a_free_thread_is_not_hung(serve: Serve) -> None:
    server = serve("probe:wsgi", "--workers", "1", "--threads", "2", "--timeout", "1")
    with block(server, 4) as blocked:
        assert blocked.recv(65536).startswith(b"HTTP/1.1 200")
    assert "hung" not in server.log


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_a_worker_with_a_debugger_attached_is_left_alone(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "1", "--timeout", "1")
    before = server.workers()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_SEIZE, before[0], None, None):
        pytest.skip(f"ptrace is not permitted here ({os.strerror(ctypes.get_errno())}); allow it with SYS_PTRACE")
    try:
        with block(server, 4) as blocked:
            assert blocked.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        libc.ptrace(PTRACE_INTERRUPT, before[0], None, None)
        os.waitpid(before[0], 0)
        libc.ptrace(PTRACE_DETACH, before[0], None, None)
    assert "hung" not in server.log


def test_a_frozen_machine_is_no_hang(serve: Serve) -> None:
    server = serve("probe:wsgi", "--workers", "1", "--timeout", "2")
    before = server.workers()
    with block(server, 4) as blocked:
        eventually("it is executed", lambda: accepted(before[0], server.port) == 1)
        for number in (signal.SIGSTOP, signal.SIGCONT):  # as a container is paused: supervisor and workers alike
            os.killpg(server.pid, number)
            if number == signal.SIGSTOP:
                time.sleep(3)
        assert blocked.recv(65536).startswith(b"HTTP/1.1 200")
    assert "hung" not in server.log


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

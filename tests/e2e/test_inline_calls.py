"""Inline WSGI calls in real workers: ways to async code, state of the thread, contexts, and slow readers."""

from __future__ import annotations

import json
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.server import Server
    from support.site import Site

APP = """
import asyncio, contextvars, json, threading
from asgiref.sync import async_to_sync

KEPT, VARIABLE = threading.local(), contextvars.ContextVar("VARIABLE", default=0)
CLOSED = []

async def compute():
    await asyncio.sleep(0.001)
    return asyncio.get_running_loop() is not None

class Stream:
    def __iter__(self):
        for _ in range(2000):
            yield b"x" * 10_000
    def close(self):
        CLOSED.append(threading.get_ident())

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    if environ["PATH_INFO"] == "/stream":
        return Stream()
    KEPT.calls = getattr(KEPT, "calls", 0) + 1
    VARIABLE.set(VARIABLE.get() + 1)
    answer = {"run": asyncio.run(compute()), "sync": async_to_sync(compute)(), "calls": KEPT.calls,
              "variable": VARIABLE.get(), "main": threading.current_thread() is threading.main_thread(),
              "closed": len(CLOSED), "closed_here": set(CLOSED) <= {threading.get_ident()}}
    return [json.dumps(answer).encode()]
"""


SLEEPS = """
import time
def app(environ, start_response):
    print("begun", environ["QUERY_STRING"], flush=True)
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [])
    return [b"ok"]
"""


def answered(server: Server, count: int) -> list[socket.socket]:
    """Connections that have had one answer each."""
    clients = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(count)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(65536).endswith(b"ok")
    return clients


@pytest.mark.parametrize("options", [("--loop", "uvloop"), ("--loop", "asyncio"), ("--no-wsgi-inline",)])
def test_calls_find_one_thread_no_loop_and_a_fresh_context_beside_a_stream_nobody_reads(
    site: Site, options: tuple[str, ...]
) -> None:
    site.write(APP)
    server = site.serve("app:app", "--workers", "1", *options)
    inline = "--no-wsgi-inline" not in options
    first = server.get_json()
    assert (first["run"], first["sync"], first["calls"], first["variable"]) == (True, True, 1, 1)
    assert first["main"] is inline
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", server.port))
        if inline:  # else it would hold the only thread
            reader.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            assert reader.recv(12) == b"HTTP/1.1 200"
        for call in range(2, 6):
            answer = json.loads(server.get())
            assert (answer["run"], answer["sync"], answer["calls"], answer["variable"]) == (True, True, call, 1)
            assert not answer["closed"]
    if inline:
        while not (answer := server.get_json())["closed"]:
            pass
        assert answer["closed_here"]


def test_an_answer_does_not_wait_for_the_call_that_follows_it_in_the_same_turn_of_the_loop(site: Site) -> None:
    site.write(SLEEPS)
    server = site.serve("app:app", "--workers", "1")
    clients = answered(server, 3)
    first, fast, slow = clients
    began = time.monotonic()
    for client, seconds in ((first, 0.3), (fast, 0), (slow, 1.5)):
        client.sendall(b"GET /?%g HTTP/1.1\r\nHost: a\r\n\r\n" % seconds)
        if client is first:
            server.wait_for("begun 0.3")  # what comes now is there, in this order, when the loop turns again
    assert fast.recv(65536).endswith(b"ok")
    assert time.monotonic() - began < 1.2
    assert slow.recv(65536).endswith(b"ok")
    for client in clients:
        client.close()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(
    ("ending", "calls", "seconds"),
    [("keep-alive", 1, 2.2), ("header", 1, 2.2), ("body", 1, 2.2), ("keep-alive", 4, 0.6), ("drain", 4, 0.6)],
)
def test_what_comes_in_time_is_served_though_calls_last_beyond_the_deadline(
    site: Site, loop: str, ending: str, calls: int, seconds: float
) -> None:
    site.write(SLEEPS)
    limits = () if ending == "drain" else (f"--{ending}" if ending == "keep-alive" else f"--{ending}-timeout", "1")
    server = site.serve("app:app", "--workers", "1", "--loop", loop, *limits)
    clients = answered(server, 1 + calls)
    waits, *slow = clients
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    if ending == "body":
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbody!"
    if ending in ("header", "body"):
        waits.sendall(request[:-3])
        request = request[-3:]
    for client in slow:  # one after another they last longer than what is waited for a request
        client.sendall(b"GET /?%g HTTP/1.1\r\nHost: a\r\n\r\n" % seconds)
    server.wait_for(f"begun {seconds:g}")
    if ending == "drain":
        server.signal(signal.SIGTERM)
        server.wait_for("stopping")
    waits.sendall(request)
    for client in clients:
        assert client.recv(65536).endswith(b"ok")
        client.close()

"""Streams that have no end of their own: a reload goes on past them, a drain tells them before it cuts them."""

from __future__ import annotations

import operator
import os
import re
import signal
import socket
import threading
import time
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from support.ports import refuses
from support.proc import alive, eventually
from support.websocket import handshake

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]

ASK = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HUP, TERM = signal.SIGHUP, signal.SIGTERM


def ask(server: Server, path: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), 10)
    client.sendall(ASK % path.encode())
    return client


def open_stream(server: Server, path: str = "/events") -> socket.socket:
    client = ask(server, path)
    assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    return client


def flows(client: socket.socket) -> bool:
    """Whether more of the stream comes."""
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
        return False
    except BlockingIOError:
        client.settimeout(5)
        return b"tick" in client.recv(65536)


def read_until(client: socket.socket, end: bytes) -> None:
    with client:
        data = b""
        while not data.endswith(end):
            more = client.recv(65536)
            assert more, data
            data += more


def rest(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


def reload(server: Server, generation: int, timeout: float = 30) -> float:
    """HUP; returns how many seconds until it is complete."""
    began = time.monotonic()
    server.signal(HUP)
    server.wait_for(f"reload complete: generation {generation} serves", timeout=timeout)
    return time.monotonic() - began


class Reader(threading.Thread):
    """A client that reads all that comes, as fast as it comes, until it is closed."""

    def __init__(self, server: Server, octets: bytes) -> None:
        super().__init__(daemon=True)
        self.got = 0
        self._client = socket.create_connection(("127.0.0.1", server.port), 10)
        self._client.sendall(octets)
        self.start()

    def run(self) -> None:
        with self._client, suppress(OSError):
            while data := self._client.recv(262144):
                self.got += len(data)


@pytest.mark.parametrize("octets", [ASK % b"/flood", handshake()], ids=["http", "websocket"])
def test_a_flood_whose_client_keeps_up_holds_up_nobody(serve: Serve, octets: bytes) -> None:
    server = serve("floods:app", "--workers", "1", "--graceful-timeout", "1")
    readers = [Reader(server, octets) for _ in range(3)]
    eventually("all are being flooded", lambda: all(reader.got > 10_000 for reader in readers), 10)
    for _ in range(20):
        assert server.get() == b"ok"
    before = [reader.got for reader in readers]
    eventually("and go on being", lambda: all(map(operator.gt, (reader.got for reader in readers), before)), 10)
    server.signal(TERM)  # which reaches the worker, and its tasks
    assert server.exit_code(20) == 0
    for reader in readers:
        reader.join(10)
        assert not reader.is_alive()


def test_a_reload_goes_on_past_streams(serve: Serve) -> None:
    server = serve("streams:app", "--workers", "4")
    old = server.workers()
    streams = [open_stream(server) for _ in range(16)]
    assert reload(server, 2) < 15  # a second and a bit for each shard, where waiting would take 30 s for each
    assert all(flows(stream) for stream in streams)
    assert server.get() == b"2"
    still = [pid for pid in old if alive(pid)]
    assert still
    for stream in streams:
        stream.close()
    eventually("the old workers have left", lambda: not any(map(alive, old)), 10)


def test_a_reload_waits_for_an_answer_that_has_not_begun(serve: Serve) -> None:
    server = serve("streams:app", "--workers", "1", "--graceful-timeout", "4")
    stream, silent = open_stream(server), ask(server, "/silent")
    assert reload(server, 2) > 3
    stream.close()
    silent.close()


def test_reload_after_reload_while_streams_live(serve: Serve) -> None:
    # Each leaves one more worker behind; a shard has room for three, so the fourth waits for the first to be cut.
    server = serve("streams:app", "--workers", "1", "--graceful-timeout", "8")
    streams = []
    for generation in (2, 3, 4):
        streams.append(open_stream(server, "/deaf"))
        assert reload(server, generation) < 6
    streams.append(open_stream(server, "/deaf"))
    assert reload(server, 5) < 20
    assert server.log.count("3 workers still leave; the next waits for one") == 1
    assert server.get() == b"5"
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_in_the_middle_of_a_reload_past_streams(serve: Serve, number: signal.Signals) -> None:
    server = serve("streams:app", "--workers", "2", "--graceful-timeout", "5")
    streams = [open_stream(server) for _ in range(8)]
    server.signal(HUP)
    first = server.wait_for(r"shard 0: worker \d+ serves", count=2)
    os.kill(int(re.findall(r"worker (\d+)", first)[0]), number)
    server.wait_for("reload complete: generation 2", timeout=20)
    eventually("both shards serve", lambda: server.get() == b"2", 10)
    for stream in streams:
        stream.close()


def test_parts_leave_while_the_application_neither_waits_nor_ends(site: Site, tmp_path: Path) -> None:
    site.write("""
    import os, time
    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("http only")
        seen = scope["query_string"].decode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in range(400):
            time.sleep(0.01)
            await send({"type": "http.response.body", "body": b"part\\n", "more_body": True})
            if os.path.exists(seen):
                break
        await send({"type": "http.response.body", "body": b"%d parts" % part})
    """)
    server = site.serve("app:app", "--workers", "1")
    seen = tmp_path / "seen"
    client = open_stream(server, f"/?{seen}")
    seen.touch()
    parts = re.search(rb"(\d+) parts", rest(client))
    assert parts is not None
    assert int(parts[1]) < 100


@pytest.mark.parametrize("workers", ["0", "1", "2"])
def test_blocks_that_came_at_once_leave_while_the_next_is_a_while_in_coming(
    site: Site, tmp_path: Path, workers: str
) -> None:
    site.write("""
    import os, time
    def app(environ, start_response):
        start_response("200 OK", [])
        for block in range(50):
            yield b"block %d\\n" % block
        for _ in range(1000):
            if os.path.exists(environ["QUERY_STRING"]):
                break
            time.sleep(0.01)
        else:
            yield b"nobody has seen them\\n"
        yield b"the last\\n"
    """)
    server = site.serve("app:app", "--workers", workers)
    seen = tmp_path / "seen"
    client = open_stream(server, f"/?{seen}")
    data = b""
    while b"block 49\n" not in data:
        data += client.recv(65536)
    seen.touch()
    data += rest(client)
    assert b"nobody" not in data
    assert data.endswith(b"the last\n\r\n0\r\n\r\n")


def test_blocks_that_come_at_once_leave_while_the_worker_leaves_too(site: Site, tmp_path: Path) -> None:
    site.write("""
    import os, time
    def app(environ, start_response):
        go, seen = environ["QUERY_STRING"].split(",")
        start_response("200 OK", [])
        while not os.path.exists(go):
            time.sleep(0.01)
            yield b"not yet\\n"
        for block in range(50):
            yield b"block %d\\n" % block
        for _ in range(1000):
            if os.path.exists(seen):
                break
            time.sleep(0.01)
        else:
            yield b"nobody has seen them\\n"
    """)
    server = site.serve("app:app", "--workers", "1")
    go, seen = tmp_path / "go", tmp_path / "seen"
    client = open_stream(server, f"/?{go},{seen}")
    server.signal(TERM)
    eventually("it takes nobody any more", lambda: refuses(server.port), 10)
    go.touch()
    data = b""
    while b"block 49\n" not in data:
        data += client.recv(65536)
    seen.touch()
    assert b"nobody" not in data + rest(client)
    assert server.exit_code(20) == 0


# The last seconds of the graceful timeout


@pytest.mark.parametrize("number", [HUP, TERM])
def test_streams_are_told_one_after_another_before_they_are_cut(serve: Serve, number: signal.Signals) -> None:
    server = serve("streams:app", "--workers", "1", "--graceful-timeout", "8")
    streams = [open_stream(server) for _ in range(20)]
    deaf, silent = open_stream(server, "/deaf"), ask(server, "/silent")
    began = time.monotonic()
    server.signal(number)
    server.wait_for("told at", count=20)
    for stream in streams:
        read_until(stream, b"bye\n\r\n0\r\n\r\n")  # ended as the application does it
    told = sorted(float(at) for at in re.findall(r"told at ([\d.]+)", server.log))
    assert told[0] - began > 5.5  # of 8 s the last quarter
    assert told[-1] - told[0] > 1  # of the 1.6 s
    assert max(later - earlier for earlier, later in pairwise(told)) < 1
    server.wait_for("cancelled")
    assert time.monotonic() - began > 7.5
    assert not rest(deaf).endswith(b"0\r\n\r\n"), "it was cut, and its client can tell"
    assert rest(silent) == b""
    server.wait_for("leaving with 2 connections and 2 requests not finished after 8 s")

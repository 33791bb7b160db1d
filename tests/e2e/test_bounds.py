"""Clients that stall, dribble or do not read: each is let go in its time, and others are served meanwhile."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.proc import eventually
from support.server import Server

Serve = Callable[..., Server]

SHORT = (
    *("--keep-alive", "3", "--header-timeout", "2", "--body-timeout", "2", "--body-min-rate", "240"),
    *("--write-timeout", "2", "--workers", "1"),
)
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


def connect(server: Server, first: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), 10)
    sock.sendall(first)
    return sock


def until_closed(sock: socket.socket, every: float = 0.0, more: bytes = b"", limit: float = 20) -> tuple[float, bytes]:
    """Read to the end, sending `more` each `every` seconds; how long that took and what came. Closes the socket."""
    began, got = time.monotonic(), b""
    sock.settimeout(every or limit)
    with sock:
        while time.monotonic() - began < limit:
            try:
                data = sock.recv(65536)
            except TimeoutError:
                sock.sendall(more)
                continue
            except ConnectionError:
                data = b""
            if not data:
                return time.monotonic() - began, got
            got += data
    raise AssertionError(f"not let go within {limit} s; got {got[:200]!r}")


@pytest.fixture(params=["asgi", "wsgi"])
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve(f"probe:{request.param}", *SHORT)


class TestStalledClients:
    def test_one_that_sends_nothing_is_closed_without_an_answer(self, server: Server) -> None:
        took, got = until_closed(connect(server))
        assert got == b""
        assert 1.5 < took < 15

    def test_half_a_head_is_408(self, server: Server) -> None:
        took, got = until_closed(connect(server, HEAD))
        assert got.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in got
        assert 1.5 < took < 10

    def test_a_head_in_dribbles_has_one_deadline(self, server: Server) -> None:
        took, got = until_closed(connect(server, HEAD), every=0.3, more=b"X-A: b\r\n")
        assert got.startswith(b"HTTP/1.1 408 ")
        assert 1.5 < took < 10

    def test_half_a_body_is_408(self, server: Server) -> None:
        took, got = until_closed(connect(server, POST + b"hello"))
        assert got.startswith(b"HTTP/1.1 408 ")
        assert 1.5 < took < 10

    def test_an_idle_keep_alive_connection_is_closed(self, server: Server) -> None:
        sock = connect(server, HEAD + b"\r\n")
        took, got = until_closed(sock)
        assert got.startswith(b"HTTP/1.1 200 ")
        assert 1.5 < took < 15


def test_a_body_in_dribbles_is_408_after_its_grace(serve: Serve) -> None:
    server = serve("probe:asgi", "--body-min-rate", "1000", "--workers", "1")
    took, got = until_closed(connect(server, POST), every=1.0, more=b"x", limit=40)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert 9 < took < 30


def test_time_stands_still_while_the_application_does_not_read(serve: Serve) -> None:
    # The application sleeps before it reads: the client must not be blamed, however large its body.
    server = serve("slow_reader:app", *SHORT, "--body-min-rate", "1000000")
    sock = connect(server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\nConnection: close\r\n\r\n")
    sock.settimeout(30)
    sock.sendall(b"x" * 3_000_000)
    _, got = until_closed(sock, limit=30)
    assert got.endswith(b"3000000")


def test_a_client_that_does_not_read_is_cut_and_its_worker_keeps_nothing(serve: Serve) -> None:
    server = serve("slow_reader:large", *SHORT)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    server.wait_for("large: the client has gone", timeout=30)
    sock.close()
    assert server.get("/ok") == b"ok"


def test_the_write_timeout_holds_after_the_answer_was_written_too(serve: Serve) -> None:
    server = serve("slow_reader:whole", *SHORT[2:], "--keep-alive", "60")
    (worker,) = server.workers()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    began = time.monotonic()
    eventually("the server lets go", lambda: not established(worker, sock.getsockname()[1]), 15)
    assert time.monotonic() - began > 1.5
    sock.close()


def established(pid: int, peer: int) -> bool:
    """Whether a process has a connection to that port of ours."""
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    cells = [row.split() for row in rows]
    return any(int(cell[2].rpartition(":")[2], 16) == peer and cell[3] == "01" for cell in cells)


def test_a_client_that_leaves_is_reported_also_after_a_body_that_came_at_once(serve: Serve) -> None:
    server = serve("slow_reader:told", "--workers", "1")
    for size in (1000, 70_000, 100_000, 150_000):
        sock = connect(server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        server.wait_for(f"has read {size}", timeout=10)
        sock.close()
        server.wait_for(f"told after {size}", timeout=10)


def test_a_slow_reader_that_reads_is_served_to_the_end(serve: Serve) -> None:
    server = serve("slow_reader:large", *SHORT)
    sock = connect(server, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    got, began = 0, time.monotonic()
    with sock:
        while data := sock.recv(131072):
            got += len(data)
            if time.monotonic() - began < 4:  # twice the write timeout
                time.sleep(0.05)
    assert got > 20_000_000


class TestLimits:
    @pytest.mark.parametrize("http", ["httptools", "h11"])
    def test_what_is_too_large_is_refused(self, serve: Serve, http: str) -> None:
        server = serve("probe:asgi", "--http", http, "--workers", "1", "--limit-request-body", "1000")

        def status(octets: bytes) -> bytes:
            sock = connect(server)
            try:
                sock.sendall(octets)
            except ConnectionError:
                pass  # refused while we still send
            _, got = until_closed(sock)
            return got[9:12]

        end = b"Connection: close\r\n\r\n"
        assert status(b"GET /" + b"a" * 8200 + b" HTTP/1.1\r\nHost: x\r\n" + end) == b"414"
        assert status(b"GET /" + b"a" * 20000) == b"414"
        assert status(HEAD + b"X: " + b"a" * 8200 + b"\r\n" + end) == b"431"
        assert status(HEAD + b"X: y\r\n" * 200 + end) == b"431"
        assert status(HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 4000) for n in range(20)) + end) == b"431"
        assert status(HEAD + b"X: " + b"a" * 5_000_000) == b"431"
        assert status(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n" + end) == b"413"
        chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert status(chunked + b"400\r\n" + b"a" * 1024 + b"\r\n0\r\n\r\n") == b"413"
        assert status(HEAD + end) == b"200"

    def test_the_section_limit_does_not_depend_on_the_cuts(self, serve: Serve) -> None:
        server = serve("probe:asgi", "--workers", "1", "--limit-request-section", "1000")
        octets = HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(20)) + b"\r\n"
        whole = until_closed(connect(server, octets))[1]
        cut = connect(server, octets[:700])
        time.sleep(0.05)  # not for a condition: only so that the octets come in two reads
        cut.sendall(octets[700:])
        assert whole[9:12] == until_closed(cut)[1][9:12] == b"431"

    def test_the_body_limit_counts_the_body_only(self, serve: Serve) -> None:
        server = serve("probe:asgi", "--workers", "1", "--limit-request-body", "1000")
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        got = until_closed(connect(server, head + b"1\r\na\r\n" * 900 + b"0\r\n\r\n"))[1]
        assert got.startswith(b"HTTP/1.1 200 ")

    def test_the_spool_of_a_wsgi_body_is_bounded(self, serve: Serve) -> None:
        server = serve("probe:wsgi", "--workers", "1", "--limit-request-spool", "2000000")
        sock = connect(server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000001\r\n\r\n")
        assert until_closed(sock)[1].startswith(b"HTTP/1.1 413 ")
        sock = connect(server, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(4):
                sock.sendall(b"100000\r\n" + b"a" * 0x100000 + b"\r\n")
        except ConnectionError:
            pass
        assert until_closed(sock)[1].startswith(b"HTTP/1.1 413 ")


def test_two_thousand_slow_connections_hold_up_nobody_and_little_memory(serve: Serve) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5000:
        pytest.skip("needs 5,000 open files: raise the hard limit (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5000), hard))
    server = serve("probe:asgi", "--workers", "1", "--header-timeout", "60")
    (worker,) = server.workers()
    server.get()
    before = resident(worker)
    slow = [connect(server, HEAD) for _ in range(2000)]
    waits = []
    for number in range(200):
        slow[number * 7].sendall(b"X-A: b\r\n")
        began = time.monotonic()
        server.get()
        waits.append(time.monotonic() - began)
    grown = resident(worker) - before
    for sock in slow:
        sock.close()
    assert sorted(waits)[100] < 0.1
    assert max(waits) < 2
    assert grown < 40_000_000


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_running_out_of_descriptors_pauses_accepting_and_goes_on(serve: Serve) -> None:
    server = serve("few_files:app", "--workers", "1")
    held = [connect(server) for _ in range(80)]
    server.wait_for("accepting pauses", timeout=15, count=8)
    assert server.log.count("does not accept; siblings do for it") <= 3, "not each time that somebody looks"
    for sock in held:
        sock.close()
    assert server.get() == b"ok"

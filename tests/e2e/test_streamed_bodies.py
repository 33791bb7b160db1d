"""Uploads to WSGI threads that read them while they come (--no-request-buffering), over real sockets."""

from __future__ import annotations

import hashlib
import random
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from support.frameworks import Peak
from support.held import Held, read_all
from support.proc import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.server import Server
    from support.site import Site

APP = """
import hashlib, json, os, pathlib, time
GATE = pathlib.Path(__file__).with_name("open")

def app(environ, start_response):
    path, given = environ["PATH_INFO"], environ["wsgi.input"]
    if path == "/echo":
        start_response("200 OK", [])
        return iter(lambda: given.read1(65536), b"")
    if path == "/drip":
        start_response("200 OK", [])
        return (time.sleep(0.3) or b"x" for _ in range(6))
    if path == "/flood":
        start_response("200 OK", [])
        return (b"x" * 65536 for _ in range(1000))
    if path == "/gate":
        print("at the gate", flush=True)
        while not GATE.exists():
            time.sleep(0.01)
    print("reads", path, flush=True)
    digest, size = hashlib.sha256(), 0
    try:
        while piece := given.read(65536):
            digest.update(piece)
            size += len(piece)
    except ConnectionError as error:
        print("cannot read", path, flush=True)
        raise
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"size": size, "sha256": digest.hexdigest(), "pid": os.getpid()}).encode()]
"""

STREAMED = ("--workers", "1", "--no-request-buffering")


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 10)


def post(path: str, size: int | None) -> bytes:
    framing = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n".encode()


def send_what_goes(sock: socket.socket, data: bytes) -> int:
    """Send until nothing more goes for as long as the socket's timeout; how many octets went."""
    sent = 0
    try:
        while sent < len(data):
            sent += sock.send(data[sent : sent + 65536])
    except TimeoutError:
        pass
    return sent


def test_an_upload_waits_for_an_application_that_reads_slowly(site: Site) -> None:
    site.write(APP)
    server = site.serve("app:app", "--threads", "2", *STREAMED)
    data = random.Random(1).randbytes(1_000_000) * 50
    peak = Peak(server.workers()[0])
    with connect(server) as sock:
        sock.sendall(post("/gate", len(data)))
        server.wait_for("at the gate")
        sock.settimeout(1)
        sent = send_what_goes(sock, data)
        assert sent < 20_000_000, "what the kernel holds for both ends, and no more"
        assert peak.growth() < 2_000_000
        assert server.get_json("/other")["size"] == 0, "the loop is free, and so is the other thread"
        (site.folder / "open").touch()
        sock.settimeout(20)
        sock.sendall(data[sent:])
        [answer] = read_all(sock)
        assert (answer["size"], answer["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert peak.growth() < 4_000_000


def test_pieces_are_echoed_as_they_come(site: Site) -> None:
    site.write(APP)
    server = site.serve("app:app", "--threads", "2", *STREAMED)
    with connect(server) as sock:
        sock.sendall(post("/echo", None))
        received = b""
        for number in range(20):
            sock.sendall(b"5\r\n%05d\r\n" % number)
            while b"%05d\r\n" % number not in received:
                piece = sock.recv(65536)
                assert piece, received
                received += piece
        sock.sendall(b"0\r\n\r\n")
        while piece := sock.recv(65536):
            received += piece
        assert received.endswith(b"0\r\n\r\n")


def test_neither_slow_uploads_nor_slow_downloads_are_hung_threads(site: Site) -> None:
    site.write(APP)
    server = site.serve("app:app", "--no-wsgi-inline", "--timeout", "1", *STREAMED)
    before = server.workers()
    with connect(server) as sock:
        sock.sendall(post("/slow", 3))
        server.wait_for("reads /slow")
        time.sleep(1.7)  # of silence; a thread in the same call for longer than --timeout
        for _ in range(3):
            sock.sendall(b"x")
            time.sleep(0.3)
        [answer] = read_all(sock)
        assert answer["size"] == 3
    with connect(server) as sock:  # an application that makes a block now and then, for 1.8 s
        sock.sendall(b"GET /drip HTTP/1.0\r\n\r\n")
        assert len(b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\r\n\r\n")[2]) == 6
    with connect(server) as sock:  # and one that waits for its client for as long
        sock.sendall(b"GET /flood HTTP/1.0\r\n\r\n")
        time.sleep(1.7)
        assert sum(map(len, iter(lambda: sock.recv(1 << 20), b""))) > 65_536_000
    assert "hung" not in server.log
    assert server.workers() == before


@pytest.mark.parametrize("finishes", [True, False])
def test_a_stop_in_the_middle_of_a_body(site: Site, finishes: bool) -> None:
    site.write(APP)
    server = site.serve("app:app", "--threads", "2", "--graceful-timeout", "10" if finishes else "0.5", *STREAMED)
    with connect(server) as sock:
        sock.sendall(post("/up", 10) + b"12345")
        server.wait_for("reads /up")
        server.signal(signal.SIGTERM)
        server.wait_for("stopping")
        if finishes:
            sock.sendall(b"67890")
            [answer] = read_all(sock)
            assert answer["size"] == 10
        else:
            assert sock.recv(65536) == b""
    assert server.exit_code() == 0
    assert ("cannot read /up" in server.log) != finishes
    assert "Traceback" not in server.log


def test_a_client_that_leaves_lets_go_of_the_thread(site: Site) -> None:
    site.write(APP)
    server = site.serve("app:app", "--no-wsgi-inline", *STREAMED)
    with connect(server) as sock:
        sock.sendall(post("/up", 10) + b"12345")
        server.wait_for("reads /up")
    server.wait_for("cannot read /up")
    server.wait_for(r"400 the request ended before it was complete")
    server.wait_for(r"POST /up: its body broke off while it was being executed")
    assert server.get_json("/other")["size"] == 0
    assert "Traceback" not in server.log


@pytest.fixture
def held(site: Site) -> Iterator[Held]:
    made = Held(site, "--workers", "2", "--no-wsgi-inline", "--no-request-buffering")
    yield made
    made.close()


def test_a_body_that_is_under_way_goes_to_a_worker_that_has_a_thread(held: Held) -> None:
    free = held.hold()
    busy = held.hold()
    assert busy != free
    socks = [connect(held.server) for _ in range(6)]
    for sock in socks:
        sock.sendall(post("/up", 10) + b"12345")
    eventually("all wait for a thread", lambda: held.accepted() == 8)
    held.release(free)
    for sock in socks:  # each when the one before it has left the thread
        sock.sendall(b"67890")
    answers = [answer for sock in socks for answer in read_all(sock)]
    assert [answer["size"] for answer in answers] == [10] * 6
    assert {answer["pid"] for answer in answers} == {free}
    digest = hashlib.sha256(b"1234567890").hexdigest()
    assert {answer["body"] for answer in answers} == {digest}
    for sock in socks:
        sock.close()

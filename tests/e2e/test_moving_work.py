"""One call at a time: a WSGI request does not wait for the worker it came to while another one is idle."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from support.proc import accepted, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]

# Says who it is; /hold waits until the named pipe of the test is opened, which is far longer than any test lasts.
APP = """
import hashlib, itertools, json, os, pathlib
CALLS = itertools.count()
RELEASE = pathlib.Path(__file__).with_name("release")
def app(environ, start_response):
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"].startswith("/hold"):
        with open(RELEASE.with_name("held"), "a") as log:
            log.write(f"{os.getpid()}\\n")
        while not RELEASE.exists():
            import time; time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "application/json")])
    answer = {"pid": os.getpid(), "path": environ["PATH_INFO"], "port": environ["REMOTE_PORT"],
              "body": hashlib.sha256(body).hexdigest(), "size": len(body), "call": next(CALLS)}
    return [json.dumps(answer).encode()]
"""


class Held:
    """A site whose workers can be kept busy, one request each."""

    def __init__(self, site: Site, *options: str) -> None:
        site.write(APP)
        self.folder = site.folder
        self.server = site.serve("app:app", *options)
        self.sockets: list[socket.socket] = []

    def hold(self, sock: socket.socket | None = None) -> int:
        """Occupy a worker; its pid."""
        before = len(self._held())
        sock = sock or socket.create_connection(("127.0.0.1", self.server.port), 10)
        self.sockets.append(sock)
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually("the request is executed", lambda: len(self._held()) > before)
        return self._held()[-1]

    def _held(self) -> list[int]:
        path = self.folder / "held"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def send(self, path: str, size: int) -> socket.socket:
        """Post so many octets on a connection of its own."""
        sock = socket.create_connection(("127.0.0.1", self.server.port), 10)
        self.sockets.append(sock)
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        sock.sendall(head.encode() + b"x" * size)
        return sock

    def release(self) -> None:
        (self.folder / "release").touch()

    def close(self) -> None:
        self.release()
        for sock in self.sockets:
            sock.close()


POOL = "--no-wsgi-inline"  # where a worker goes on to read while it executes a call


@pytest.fixture
def held(site: Site, request: pytest.FixtureRequest) -> Iterator[Held]:
    made = Held(site, "--workers", "3", *getattr(request, "param", ()))
    yield made
    made.close()


LOOPS = pytest.mark.parametrize(
    "held", [("--loop", "uvloop"), ("--loop", "asyncio"), ("--loop", "uvloop", POOL)], indirect=True
)


@LOOPS
def test_kept_connections_are_served_by_whoever_is_free(held: Held) -> None:
    clients = [http.client.HTTPConnection("127.0.0.1", held.server.port, timeout=10) for _ in range(12)]
    homes = [ask(client)["pid"] for client in clients]
    assert len(set(homes)) == 3
    busy = {held.hold(), held.hold()}
    assert len(busy) == 2, "the second request went to a worker that was free"
    [free] = set(homes) - busy
    for _ in range(3):
        assert {ask(client)["pid"] for client in clients} == {free}
    for client in clients:
        client.close()


@LOOPS
def test_new_connections_are_served_by_whoever_is_free(held: Held) -> None:
    busy = {held.hold(), held.hold()}
    answers = [held.server.get_json() for _ in range(30)]
    assert len({answer["pid"] for answer in answers}) == 1
    assert not {answer["pid"] for answer in answers} & busy


def test_the_client_is_the_same_wherever_it_is_served(held: Held) -> None:
    with socket.create_connection(("127.0.0.1", held.server.port), 10) as sock:
        port = str(sock.getsockname()[1])
        client = http.client.HTTPConnection("127.0.0.1", held.server.port)
        client.sock = sock
        first = ask(client)
        held.hold()
        held.hold()
        second = ask(client)
        assert first["port"] == second["port"] == port


@LOOPS
@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_moves_with_its_body_and_what_comes_behind_it(held: Held, chunked: bool) -> None:
    clients = [http.client.HTTPConnection("127.0.0.1", held.server.port, timeout=10) for _ in range(8)]
    homes = {id(client): ask(client)["pid"] for client in clients}
    busy = {held.hold(), held.hold()}
    mover = next(client for client in clients if homes[id(client)] in busy)
    body = b"0123456789" * 2000
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 20000"
    data = b"4e20\r\n" + body + b"\r\n0\r\n\r\n" if chunked else body
    sock = mover.sock
    sock.sendall(b"POST /a HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + data[:9000])
    sock.sendall(data[9000:] + b"GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answers = read_all(sock)
    assert [answer["path"] for answer in answers] == ["/a", "/b"]
    assert answers[0]["size"] == 20_000
    assert not {answer["pid"] for answer in answers} & busy
    for client in clients:
        client.close()


@pytest.mark.parametrize("held", [(), (POOL,)], indirect=True)
def test_what_waits_everywhere_goes_to_the_first_that_is_free(held: Held) -> None:
    for _ in range(3):
        held.hold()
    waiting = [socket.create_connection(("127.0.0.1", held.server.port), 10) for _ in range(9)]
    for sock in waiting:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    held.server.signal(signal.SIGTTIN)  # a fourth worker, which has nothing to do
    held.server.wait_for(r"shard 3: worker \d+ serves")
    answered = set()
    for sock in waiting:
        sock.settimeout(10)
        [answer] = read_all(sock)
        answered.add(answer["pid"])
        sock.close()
    assert len(answered) == 1
    assert f"shard 3: worker {answered.pop()} serves" in held.server.log


@pytest.mark.parametrize("held", [("--workers", "1", POOL)], indirect=True)
def test_what_cannot_be_moved_neither_stops_what_is_behind_it_nor_loses_its_place(held: Held) -> None:
    busy = held.hold()
    waiting = [held.send(path, size) for path, size in (("/1", 70_000), ("/2", 10), ("/3", 70_000))]
    eventually("all wait for a thread", lambda: accepted_by(held.server) == 4)
    held.server.signal(signal.SIGTTIN)  # a worker that asks for work
    [moved] = read_all(waiting[1])
    assert moved["pid"] != busy
    held.release()
    [first], [last] = read_all(waiting[0]), read_all(waiting[2])
    assert first["pid"] == last["pid"] == busy
    assert (first["call"], last["call"]) == (1, 2), "the first to come is the first to be called, after the one held"


@pytest.mark.parametrize("held", [("--workers", "1", POOL), ("--workers", "2", POOL)], indirect=True)
def test_what_waits_at_a_worker_that_is_replaced_goes_to_the_replacement(held: Held) -> None:
    for _ in held.server.workers():
        held.hold()
    waiting = [held.send("/", 10) for _ in range(6)]
    eventually("all wait for a thread", lambda: accepted_by(held.server) == len(held.sockets))
    before = held.server.workers()
    held.server.signal(signal.SIGHUP)
    for sock in waiting:
        [answer] = read_all(sock)  # while what the old ones execute goes on
        assert answer["pid"] not in before
    assert set(before) <= set(held.server.workers())
    held.release()
    held.server.wait_for("reload complete")


def accepted_by(server: Server) -> int:
    return sum(accepted(pid, server.port) for pid in server.workers())


def test_a_stop_answers_what_waits(held: Held) -> None:
    for _ in range(3):
        held.hold()
    waiting = [socket.create_connection(("127.0.0.1", held.server.port), 10) for _ in range(9)]
    for sock in waiting:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    held.server.signal(signal.SIGTERM)
    held.server.wait_for("stopping")
    held.release()
    for sock in (*waiting, *held.sockets):
        sock.settimeout(10)
        octets = b"".join(iter(lambda s=sock: s.recv(65536), b""))  # type: ignore[misc]
        assert octets.startswith(b"HTTP/1.1 200"), octets
        sock.close()
    assert held.server.exit_code() == 0


def test_a_stopped_worker_gets_no_work_for_long(held: Held) -> None:
    """What had been given to it is taken over by a sibling."""
    busy = held.hold()
    idle = next(pid for pid in held.server.workers() if pid != busy)
    os.kill(idle, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        for _ in range(20):
            held.server.get("/", timeout=10)
        assert time.monotonic() - begun < 8
    finally:
        os.kill(idle, signal.SIGCONT)


def ask(client: http.client.HTTPConnection) -> dict[str, object]:
    client.request("GET", "/")
    return dict(json.loads(client.getresponse().read()))


def read_all(sock: socket.socket) -> list[dict[str, object]]:
    octets = b"".join(iter(lambda: sock.recv(65536), b""))
    found = []
    while octets:
        head, _, octets = octets.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        found.append(json.loads(octets[:length]))
        octets = octets[length:]
    return found

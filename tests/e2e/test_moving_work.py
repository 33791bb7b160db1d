"""One call at a time: a WSGI request does not wait for the worker it came to while another one is idle."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from support.held import Held, ask, read_all
from support.proc import accepted_from, alive, eventually
from support.site import SERVES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]


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


@pytest.mark.parametrize(("held", "reads"), [((), False), ((POOL,), True)], indirect=["held"])
def test_what_waits_everywhere_goes_to_the_first_that_is_free(held: Held, reads: bool) -> None:
    for _ in range(3):
        held.hold()
    waiting = [socket.create_connection(("127.0.0.1", held.server.port), 10) for _ in range(9)]
    for sock in waiting:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    if reads:
        eventually("all wait for a thread", lambda: held.accepted() == 12)
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
    eventually("all wait for a thread", lambda: held.accepted() == 4)
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
    eventually("all wait for a thread", lambda: held.accepted() == len(held.sockets))
    before = held.server.workers()
    held.server.signal(signal.SIGHUP)
    for sock in waiting:
        [answer] = read_all(sock)  # while what the old ones execute goes on
        assert answer["pid"] not in before
    assert set(before) <= set(held.server.workers())
    held.release()
    held.server.wait_for("reload complete")


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


def test_whoever_asked_for_work_and_has_left_meanwhile_gets_none(site: Site) -> None:
    """At the end of the service a question may still lie in the inbox of a worker that stood still."""
    held = Held(site, "--workers", "2", "--timeout", "0", POOL)
    slow, asks = held.hold(), held.hold()
    waiting = [held.send("/", 10) for _ in range(8)]
    eventually("all wait for a thread", lambda: held.accepted() == 10)
    at_slow = accepted_from(slow, held.server.port)
    os.kill(slow, signal.SIGSTOP)
    try:
        held.release(asks)
        for sock in waiting:
            if sock.getsockname()[1] not in at_slow:
                assert read_all(sock)
        held.server.signal(signal.SIGTERM)  # it has nothing more to do, and has asked
        eventually("it has left", lambda: not alive(asks))
    finally:
        os.kill(slow, signal.SIGCONT)
    held.release()
    left = [sock for sock in waiting if sock.getsockname()[1] in at_slow]
    assert left
    for sock in left:
        assert read_all(sock)[0]["pid"] == slow
    held.close()
    assert held.server.exit_code() == 0


def test_a_worker_that_has_not_heard_of_a_new_shard_keeps_its_requests(site: Site) -> None:
    held = Held(site, "--workers", "1", "--timeout", "0", "--loop", "asyncio")
    [old] = held.server.workers()
    clients = [http.client.HTTPConnection("127.0.0.1", held.server.port, timeout=10) for _ in range(4)]
    for client in clients:
        ask(client)
    os.kill(old, signal.SIGSTOP)
    try:
        for client in clients:
            client.request("GET", "/")  # the first takes the thread, the next ones look for a free one
        held.server.signal(signal.SIGTTIN)
        held.server.wait_for(r"shard 1: worker \d+ serves")
    finally:
        os.kill(old, signal.SIGCONT)
    for client in clients:
        assert client.getresponse().read()
        client.close()
    held.close()


def test_a_busy_worker_is_not_taken_for_one_once_the_application_is_asgi(site: Site) -> None:
    held = Held(site, "--workers", "2")
    before = {held.hold(), held.hold()}
    site.write(SERVES)
    held.server.signal(signal.SIGHUP)
    held.server.wait_for("serves .ready", count=3)
    held.release()
    held.server.wait_for("reload complete")
    after = set(held.server.workers()) - before
    eventually("both get connections", lambda: {held.server.get_json()["pid"] for _ in range(20)} == after)
    held.close()

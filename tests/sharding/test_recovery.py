"""What puts steering's picture of the load out, and that it is right again within a second."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.holding import held, worst_share
from support.matrix import FULL
from support.netns import make_tun, private_network
from support.privileges import need_bpf
from support.proc import eventually, tcp_sockets
from support.segments import ACK, SYN, is_syn_ack, segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import Server

    Serve = Callable[..., Server]

HERE, ELSEWHERE = "10.9.0.1", "10.9.0.77"
RECOVERY = 1.0  # seconds: what is promised, so the tests wait for so long and no longer
SEGMENTS = 2000
SYN_RECEIVED = "03"  # /proc/net/tcp
TRIALS = 5 if FULL else 1


@pytest.fixture
def wire() -> Iterator[int]:
    """A network of our own, and a wire into it behind which nobody is."""
    with private_network():
        tun = make_tun("wire", HERE)
        yield tun
        os.close(tun)


def start(serve: Serve) -> Server:
    """Four workers with exact steering."""
    need_bpf()
    return serve("echo:asgi", "--workers", "4", "--steering", "ebpf", bind="0.0.0.0:0")


def assert_exact(server: Server) -> None:
    """32 connections go to the four workers evenly."""
    with held(server, ("127.0.0.1", server.port), 32, 0.002) as holders:
        assert worst_share(holders) == 25.0, holders


def send(wire: int, server: Server, flags: int) -> None:
    """Segments from a host that does not answer, each from another port."""
    for number in range(SEGMENTS):
        os.write(wire, segment((ELSEWHERE, 2000 + number), (HERE, server.port), flags))


def syn_acks(wire: int) -> int:
    """How many SYN-ACKs have come back so far; reads them away."""
    found = 0
    while True:
        try:
            found += is_syn_ack(os.read(wire, 65536))
        except BlockingIOError:
            return found


def test_a_scan_that_leaves_connections_half_open(wire: int, serve: Serve) -> None:
    server = start(serve)
    assert_exact(server)
    for _ in range(TRIALS):
        send(wire, server, SYN)
        eventually("the scan is half open", lambda: half_open(server.port) > SEGMENTS * 0.9, 5)
        assert syn_acks(wire) > SEGMENTS * 0.9
        begun = time.monotonic()
        server.get("/now")
        assert time.monotonic() - begun < RECOVERY
        time.sleep(RECOVERY)
        assert_exact(server)


def half_open(port: int) -> int:
    return sum(one.state == SYN_RECEIVED for one in tcp_sockets(port))


def test_stray_acknowledgements(wire: int, serve: Serve) -> None:
    server = start(serve)
    for _ in range(TRIALS):
        send(wire, server, ACK)
        time.sleep(RECOVERY)
        assert_exact(server)


def test_a_worker_that_stood_still(serve: Serve) -> None:
    server = start(serve)
    for trial in range(TRIALS):
        victim = server.workers()[trial % 4]
        os.kill(victim, signal.SIGSTOP)
        try:
            for _ in range(100):
                server.get("/meanwhile")
            time.sleep(RECOVERY)
        finally:
            os.kill(victim, signal.SIGCONT)
        time.sleep(RECOVERY)
        assert_exact(server)

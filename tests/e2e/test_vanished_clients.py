"""Clients that vanish without a word, no FIN and no reset, while they wait: the kernel asks after them."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.delaylink import NEAR, delay_link

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    Serve = Callable[..., Server]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, needs network namespaces: Linux's")

KEEP_ALIVE_TIMER = 2  # proc_pid_net(5), "tr": the timer that is set for a connection is that of keep-alive
TICKS = 100  # of those in a second
ASK = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

# The command, with a patience that a test has.
IMPATIENT = """
import sys
from shardserve.net import keepalive
keepalive.IDLE = keepalive.INTERVAL = keepalive.COUNT = 1
from shardserve.cli import main
sys.exit(main())
"""


ESTABLISHED = "01"  # the same, "st"


def timer(port: int, peer: int) -> tuple[int, float]:
    """Which timer a server's end of a connection has set, and in how many seconds it goes off."""
    for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        cells = row.split()
        ends = [int(end.rpartition(":")[2], 16) for end in cells[1:3]]
        if ends == [port, peer] and cells[3] == ESTABLISHED:
            kind, _, ticks = cells[5].partition(":")
            return int(kind, 16), int(ticks, 16) / TICKS
    raise AssertionError("no such connection")


@pytest.mark.parametrize("steering", ["auto", "shared"])
def test_each_accepted_connection_is_probed_after_a_minute(serve: Serve, steering: str) -> None:
    server = serve("probe:asgi", "--workers", "2", "--steering", steering)
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            kind, seconds = timer(server.port, client.getsockname()[1])
            assert kind == KEEP_ALIVE_TIMER
            assert 50 < seconds <= 60


def test_an_application_that_waits_is_told_of_a_client_that_has_vanished(serve: Serve) -> None:
    with delay_link(0.0) as link:
        server = serve("slow_reader:told", "--workers", "1", bind=f"{NEAR}:0", launcher=("-c", IMPATIENT))
        with link.connect(server.port) as client:
            client.sendall(ASK)
            server.wait_for("has read 0")
            link.break_off()
            server.wait_for("told after 0: http.disconnect", timeout=10)

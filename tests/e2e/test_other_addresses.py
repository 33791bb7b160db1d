"""A reload to other addresses, and what becomes of both the old and the new ones when it does not go to its end."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.ports import free_ports, refuses
from support.proc import eventually
from support.site import SERVES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]

# The worker that starts as the fourth does not start.
FOURTH_FAILS = """
    from pathlib import Path

    boots = Path(__file__).with_name("boots")
    with boots.open("a") as file:
        file.write(".")
    if boots.stat().st_size == 4:
        raise RuntimeError("broken on purpose")
"""


def rewrite(settings: Path, *ports: int, rest: str = "") -> None:
    settings.write_text(f"bind = {[f'127.0.0.1:{port}' for port in ports]}\n{rest}")


@pytest.mark.parametrize("steering", ["auto", "cbpf"])
def test_a_reload_that_fails_on_a_later_shard_leaves_every_address_served(site: Site, steering: str) -> None:
    old, new = free_ports(2)
    settings = site.folder / "shardserve.toml"
    rest = f'workers = 2\nsteering = "{steering}"\n'
    rewrite(settings, old, rest=rest)
    site.write(FOURTH_FAILS, SERVES)
    server = site.serve("app:app", "-c", str(settings), bind=None)
    rewrite(settings, new, rest=rest)
    with Load(old, clients=4, timeout=5) as load:
        load.wait_for(20)
        server.signal(signal.SIGHUP)
        server.wait_for("generation 2 serves on 1 shards, the one before on the rest")
        assert generations(server, old) == generations(server, new) == {1, 2}
        load.wait_for(20)
        server.signal(signal.SIGHUP)
        server.wait_for(f"no longer listening on http://127.0.0.1:{old}")
        assert generations(server, new) == {3}
        eventually("nobody listens there any more", lambda: refuses(old))
        tally = load.stop()
    assert set(tally.lost) <= {"refused"}, tally
    assert "steering is off" not in server.log


def generations(server: Server, port: int) -> set[object]:
    """Who answers 40 connections; none waits."""
    server.port = port
    began = time.monotonic()
    found = {server.get_json()["generation"] for _ in range(40)}
    assert time.monotonic() - began < 5
    return found


def test_what_waits_at_a_given_up_address_outlives_the_worker_that_answers_it(serve: Serve, tmp_path: Path) -> None:
    old, new = free_ports(2)
    settings = tmp_path / "shardserve.toml"
    rewrite(settings, old, rest="workers = 1\n")
    server = serve("probe:asgi", "-c", str(settings), bind=None)
    rewrite(settings, new)
    slow = ask(old, "/sleep?1")  # until it is answered, the reload is not complete
    server.signal(signal.SIGHUP)
    server.wait_for("serves .ready", count=2)
    blocked = ask(new, "/block?2")
    server.port = new
    waits = [ask(old, "/") for _ in range(4)]  # with the worker that is blocked
    server.signal(signal.SIGHUP)  # which is told to answer these, and then that it is replaced
    server.wait_for("serves .ready", count=3)
    for sock in (slow, blocked, *waits):
        assert answer(sock).startswith(b"HTTP/1.1 200 ")
    server.wait_for("reload complete: generation 3")


def ask(port: int, path: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    return sock


def answer(sock: socket.socket) -> bytes:
    with sock:
        return b"".join(iter(lambda: sock.recv(65536), b""))

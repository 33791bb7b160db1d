"""While a shard has no worker: what comes goes to its siblings, and they take what is queued on it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from support.proc import eventually
from support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

Serve = Callable[..., Server]


def start(serve: Serve, tmp_path: Path, **env: str) -> Server:
    return serve(
        "slow_boot:app", "--workers", "4", "--log-level", "debug", env={"BOOTS": str(tmp_path / "boots"), **env}
    )


def ask(server: Server, times: int) -> tuple[set[object], float]:
    """The shards that answer, and the longest wait in seconds."""
    shards, longest = set(), 0.0
    for _ in range(times):
        began = time.monotonic()
        shards.add(server.get_json()["shard"])
        longest = max(longest, time.monotonic() - began)
    return shards, longest


def test_nobody_waits_for_the_replacement_of_a_dead_worker(serve: Serve, tmp_path: Path) -> None:
    server = start(serve, tmp_path)
    ready = server.log.count("serves (ready")
    victim = int(server.get_json()["pid"])  # type: ignore[call-overload]
    shard = next(shard for shard in range(4) if f"shard {shard}: worker {victim} serves" in server.log)
    os.kill(victim, signal.SIGKILL)
    server.wait_for(f"shard {shard}: worker {victim} died")
    shards, longest = ask(server, 200)  # all while the replacement imports for two seconds
    assert server.log.count("serves (ready") == ready, "the replacement must not have been ready yet"
    assert shards == {0, 1, 2, 3} - {shard}
    assert longest < 1
    server.wait_for("serves .ready", count=ready + 1)
    eventually("the shard serves again", lambda: shard in ask(server, 20)[0], 10)


def test_what_is_queued_on_a_dead_workers_shard_is_answered_by_a_sibling(serve: Serve, tmp_path: Path) -> None:
    server = start(serve, tmp_path)
    victims = {int(server.get_json()["pid"]) for _ in range(40)}  # type: ignore[call-overload]
    victim = victims.pop()
    os.kill(victim, signal.SIGSTOP)  # so that its queue fills; none of these is accepted by it
    clients = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(80)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    answers = []
    for client in clients:
        with client:
            answers.append(client.recv(65536))
    assert time.monotonic() - began < 1.5, "answered before the replacement was ready"
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert not [answer for answer in answers if f'"pid": {victim}'.encode() in answer]


def test_the_adopter_may_die_as_well(serve: Serve, tmp_path: Path) -> None:
    server = start(serve, tmp_path)
    for left in (3, 2, 1):
        adopter = server.workers()[0]
        os.kill(adopter, signal.SIGKILL)
        server.wait_for(r"worker \d+ died", count=4 - left)
        shards, longest = ask(server, 40)
        assert len(shards) <= left
        assert longest < 1
    server.wait_for("serves .ready", count=7)
    eventually("all four shards serve", lambda: len(ask(server, 40)[0]) == 4, 10)


def test_a_slow_start_of_one_shard_holds_up_nobody(serve: Serve, tmp_path: Path) -> None:
    server = serve(
        *("slow_boot:app", "--workers", "4"), ready=False, env={"BOOTS": str(tmp_path / "boots"), "QUICK": "1"}
    )
    server.wait_for("serves .ready")
    port = int(server.wait_for("listening on").split("127.0.0.1:")[1].split(" ")[0])
    server.port = port
    shards, longest = ask(server, 40)
    assert len(shards) == 1
    assert longest < 1
    server.ready()
    eventually("all four shards serve", lambda: len(ask(server, 40)[0]) == 4, 10)


def test_a_reload_of_the_adopter_hands_the_shard_on(serve: Serve, tmp_path: Path) -> None:
    server = start(serve, tmp_path)
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_for(r"worker \d+ died")
    server.signal(signal.SIGHUP)
    while "reload complete" not in server.log:
        _, longest = ask(server, 20)
        assert longest < 1
        server.pause()
    assert len(ask(server, 60)[0]) == 4

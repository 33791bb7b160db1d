"""More and fewer workers, other addresses: by signal, and by a changed configuration on HUP."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.ports import free_ports, refuses
from support.proc import alive, eventually, queued, tcp_listeners

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server

    Serve = Callable[..., Server]


def shards_that_answer(server: Server, requests: int) -> set[int]:
    return {int(str(server.get_json()["shard"])) for _ in range(requests)}


@pytest.mark.parametrize("steering", ["auto", "cbpf", "hash", "shared"])
def test_a_worker_more_and_a_worker_less(serve: Serve, steering: str) -> None:
    server = serve("probe:asgi", "--workers", "2", "--steering", steering)
    server.signal(signal.SIGTTIN)
    server.wait_for(r"shard 2: worker \d+ serves")
    assert len(server.workers()) == 3
    eventually("all three answer", lambda: shards_that_answer(server, 20) == {0, 1, 2})
    leaves = [pid for pid in server.workers() if f"shard 2: worker {pid} serves" in server.log]
    server.signal(signal.SIGTTOU)
    server.wait_for("shard 2: a worker less, 2 now")
    eventually("it has left", lambda: not any(map(alive, leaves)))
    assert shards_that_answer(server, 40) <= {0, 1}
    assert queued(server.port) == 0
    server.signal(signal.SIGTTIN)
    server.wait_for(r"shard 2: worker \d+ serves", count=2)
    eventually("all three answer again", lambda: shards_that_answer(server, 20) == {0, 1, 2})


def test_a_parked_shards_listener_is_kept_and_a_sibling_accepts_from_it(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "3", "--steering", "hash")
    listeners = tcp_listeners(server.pid, server.port)
    server.signal(signal.SIGTTOU)
    server.wait_for("shard 2: a worker less, 2 now")
    eventually("it has left", lambda: len(server.workers()) == 2)
    # The hash still gives the parked shard its third.
    with Load(server.port, clients=8, requests=300) as load:
        tally = load.finish()
    assert tally.ok == 300, tally
    assert tcp_listeners(server.pid, server.port) == listeners


def test_the_last_worker_stays(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "1")
    server.signal(signal.SIGTTOU)
    server.wait_for("there are 1 workers; not fewer than 1")
    assert server.get_json()["shard"] == 0


def test_a_kept_connection_of_a_parked_worker_goes_on(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2")
    clients = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=10) for _ in range(8)]
    assert {json.loads(ask(client))["shard"] for client in clients} == {0, 1}
    server.signal(signal.SIGTTOU)
    server.wait_for("shard 1: a worker less, 1 now")
    eventually("it has left", lambda: len(server.workers()) == 1)
    assert {json.loads(ask(client))["shard"] for client in clients} == {0}
    for client in clients:
        client.close()


def ask(client: http.client.HTTPConnection) -> bytes:
    client.request("GET", "/")
    return client.getresponse().read()


def test_a_scale_down_while_a_worker_boots_does_without_it(serve: Serve, tmp_path: Path) -> None:
    server = serve("slow_boot:app", "--workers", "1", env={"BOOTS": str(tmp_path / "boots"), "QUICK": "1"})
    server.signal(signal.SIGTTIN)
    server.wait_for("shard 1: a worker more, 2 now")
    server.signal(signal.SIGTTOU)
    server.wait_for("shard 1: a worker less, 1 now")
    eventually("one is left", lambda: len(server.workers()) == 1)
    server.signal(signal.SIGTTIN)
    server.wait_for(r"shard 1: worker \d+ serves")


def test_changed_workers_and_addresses_take_effect_on_hup(serve: Serve, tmp_path: Path) -> None:
    first, second = free_ports(2)
    settings = tmp_path / "shardserve.toml"

    def write(workers: int, *ports: int) -> None:
        settings.write_text(f"workers = {workers}\nbind = {[f'127.0.0.1:{port}' for port in ports]}\n")

    write(2, first)
    server = serve("probe:asgi", "-c", str(settings), bind=None)
    write(3, first, second)
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete: generation 2")
    server.wait_for(r"shard 2: worker \d+ serves")
    for port in (first, second):
        server.port = port
        assert len(tcp_listeners(server.pid, port)) == 3
        eventually("all workers answer there", lambda: shards_that_answer(server, 20) == {0, 1, 2})
    write(2, second)
    with Load(second, clients=8) as load:
        load.wait_for(100)
        server.signal(signal.SIGHUP)
        server.wait_for("reload complete: generation 3")
        server.wait_for(f"no longer listening on http://127.0.0.1:{first}")
        server.wait_for("shard 2: a worker less, 2 now")
        load.wait_for(200)
        tally = load.stop()
    assert not tally.lost, tally
    eventually("nobody listens there any more", lambda: refuses(first))
    assert shards_that_answer(server, 40) <= {0, 1}


def test_what_waits_at_an_address_that_is_given_up_is_answered(serve: Serve, tmp_path: Path) -> None:
    first, second = free_ports(2)
    settings = tmp_path / "shardserve.toml"
    settings.write_text(f'bind = ["127.0.0.1:{first}"]\nworkers = 2\n')
    server = serve("probe:asgi", "-c", str(settings), bind=None)
    settings.write_text(f'bind = ["127.0.0.1:{second}"]\n')
    with Load(first, clients=16) as load:
        load.wait_for(100)
        server.signal(signal.SIGHUP)
        server.wait_for(f"no longer listening on http://127.0.0.1:{first}")
        eventually("nobody listens there any more", lambda: load.tally.lost["refused"] >= 16)
        tally = load.stop()
    assert set(tally.lost) <= {"refused"}, tally


def test_an_address_that_is_taken_refuses_the_reload(serve: Serve, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        [port] = free_ports(1)
        settings = tmp_path / "shardserve.toml"
        settings.write_text(f'bind = ["127.0.0.1:{port}"]\nworkers = 2\n')
        server = serve("probe:asgi", "-c", str(settings), bind=None)
        settings.write_text(f'bind = ["127.0.0.1:{port}", "127.0.0.1:{taken.getsockname()[1]}"]\n')
        before = server.workers()
        server.signal(signal.SIGHUP)
        line = server.wait_for("reload refused")
        assert re.search(r"generation 1 goes on serving: cannot bind 127.0.0.1:\d+: the port is taken", line)
        assert server.workers() == before
        assert server.get_json()["generation"] == 1


def test_a_reload_that_fails_gives_new_addresses_back(serve: Serve, tmp_path: Path) -> None:
    first, second = free_ports(2)
    settings = tmp_path / "shardserve.toml"
    app = tmp_path / "app.py"
    app.write_text("from probe import asgi as app\n")
    settings.write_text(f'bind = ["127.0.0.1:{first}"]\nworkers = 2\npythonpath = ["{tmp_path}"]\n')
    server = serve("app:app", "-c", str(settings), bind=None)
    app.write_text("raise RuntimeError('broken on purpose')\n")
    settings.write_text(f'bind = ["127.0.0.1:{second}"]\npythonpath = ["{tmp_path}"]\n')
    server.signal(signal.SIGHUP)
    server.wait_for("generation 1 goes on serving")
    assert refuses(second)
    server.port = first
    assert server.get_json()["generation"] == 1
    app.write_text("from probe import asgi as app\n")
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete")
    server.port = second
    assert server.get_json()["generation"] == 3


def test_more_workers_than_can_be_steered(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "66")
    assert "steering: hash (the kernel's, which knows no load); there are more than 64 shards" in server.log
    with Load(server.port, clients=32, requests=600) as load:
        load.wait_for(100)
        server.signal(signal.SIGHUP)
        server.wait_for(r"shard 0: worker \d+ serves", count=2)
        os.kill(server.workers()[-2], signal.SIGKILL)
        server.wait_for(r"worker \d+ died")
        tally = load.finish()
    assert sum(tally.lost.values()) <= 32, tally


def test_a_worker_more_during_a_reload_is_of_the_new_generation(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "3")
    server.signal(signal.SIGHUP)
    server.wait_for("reload: generation 2")
    server.signal(signal.SIGTTIN)
    server.wait_for("reload complete: generation 2")
    server.wait_for(r"shard 3: worker \d+ serves")
    assert {server.get_json()["generation"] for _ in range(40)} == {2}


def test_a_parked_shard_follows_a_changed_address(serve: Serve, tmp_path: Path) -> None:
    """By hash it goes on getting its share of the new address, and must not keep the old one open."""
    first, second = free_ports(2)
    settings = tmp_path / "shardserve.toml"
    settings.write_text(f'bind = ["127.0.0.1:{first}"]\nworkers = 3\nsteering = "hash"\n')
    server = serve("probe:asgi", "-c", str(settings), bind=None)
    server.signal(signal.SIGTTOU)
    server.wait_for("shard 2: a worker less, 2 now")
    settings.write_text(f'bind = ["127.0.0.1:{second}"]\nworkers = 3\nsteering = "hash"\n')
    server.signal(signal.SIGHUP)
    server.wait_for(f"no longer listening on http://127.0.0.1:{first}")
    with Load(second, clients=8, requests=200) as load:
        tally = load.finish()
    assert tally.ok == 200, tally
    eventually("nobody listens there any more", lambda: refuses(first))


@pytest.mark.parametrize("steering", ["auto", "cbpf", "hash"])
def test_nobody_waits_for_a_new_worker_to_boot(serve: Serve, tmp_path: Path, steering: str) -> None:
    env = {"BOOTS": str(tmp_path / "boots"), "QUICK": "2"}  # the third one takes two seconds
    server = serve("slow_boot:app", "--workers", "2", "--steering", steering, env=env)
    server.signal(signal.SIGTTIN)
    server.wait_for("shard 2: a worker more, 3 now")
    with Load(server.port, clients=8, requests=100) as load:
        tally = load.finish()
    assert tally.ok == 100, tally
    assert tally.longest < 1, tally
    server.wait_for(r"shard 2: worker \d+ serves")

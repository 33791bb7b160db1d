"""SIGHUP replaces every worker, ready first, on the same listeners; nothing is lost, whatever the new one does."""

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
from support.proc import alive, eventually, tcp_listeners
from support.site import SERVES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]
    Note = Callable[[object], None]

BROKEN = "raise RuntimeError('version 2 is broken')\n"


def old_ones_left(pids: list[int]) -> None:
    """Wait until the workers of an old generation have left."""
    eventually(f"all of {pids} have left", lambda: not any(map(alive, pids)), 30)


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_five_reloads_at_saturation_lose_nothing(serve: Serve, note: Note, app: str) -> None:
    server = serve(app, "--workers", "4")
    owned = {inode for pid in server.workers() for inode in tcp_listeners(pid, server.port)}
    with Load(server.port, "/block?0.004", clients=32) as load:
        load.wait_for(200)
        for generation in range(2, 7):
            before = server.workers()
            server.signal(signal.SIGHUP)
            server.wait_for(f"reload complete: generation {generation} serves")
            old_ones_left(before)
        load.wait_for(max(200, 2000 - load.tally.ok))
        tally = load.stop()
    note(tally)
    assert not tally.lost, tally
    assert tally.ok >= 2000, tally
    assert {inode for pid in server.workers() for inode in tcp_listeners(pid, server.port)} == owned
    assert server.get_json()["generation"] == 6
    assert "ERROR" not in server.log


def test_a_reload_on_a_shared_listener_loses_nothing(serve: Serve, note: Note, tmp_path: Path) -> None:
    path = f"{tmp_path}/app.sock"
    server = serve("probe:asgi", "--workers", "2", bind=f"unix:{path}")
    with Load(path, "/block?0.004", clients=16) as load:
        load.wait_for(100)
        server.signal(signal.SIGHUP)
        server.wait_for("reload complete: generation 2 serves")
        load.wait_for(100)
        tally = load.stop()
    note(tally)
    assert not tally.lost, tally


def test_a_broken_application_leaves_the_old_generation_serving_until_it_is_mended(site: Site, note: Note) -> None:
    site.write(SERVES)
    server = site.serve("app:app", "--workers", "3")
    before = server.workers()
    with Load(server.port, clients=16) as load:
        load.wait_for(100)
        site.write(BROKEN)
        server.signal(signal.SIGHUP)
        server.wait_for("generation 1 goes on serving")
        load.wait_for(100)
        assert server.workers() == before
        assert "reload failed: generation 2 did not start on shard 0" in server.log
        assert "RuntimeError: version 2 is broken" in server.log
        assert server.log.count("Traceback") == 1, server.log
        site.write(SERVES)
        server.signal(signal.SIGHUP)
        server.wait_for(r"reload complete: generation \d serves")
        load.wait_for(100)
        tally = load.stop()
    note(tally)
    assert not tally.lost, tally
    old_ones_left(before)


def test_an_application_that_cannot_be_found_any_more_leaves_the_old_generation_serving(site: Site) -> None:
    file = site.write(SERVES)
    server = site.serve("app:app", "--workers", "2")
    file.unlink()
    server.signal(signal.SIGHUP)
    server.wait_for("generation 1 goes on serving")
    assert server.get_json()["generation"] == 1


def test_a_generation_that_misses_the_boot_timeout_leaves_the_old_one_serving(site: Site) -> None:
    site.write(SERVES)
    server = site.serve("app:app", "--workers", "2", "--boot-timeout", "2")
    site.write("import time; time.sleep(60)\n")
    server.signal(signal.SIGHUP)
    server.wait_for("boot timeout of 2 s")
    server.wait_for("generation 1 goes on serving")
    assert server.get_json()["generation"] == 1


@pytest.mark.parametrize("bad", ["keep_alive = 'for ever'\n", "no_such_setting = 1\n", "this is not TOML\n"])
def test_a_bad_configuration_file_keeps_the_old_configuration(site: Site, bad: str) -> None:
    site.write(SERVES)
    file = site.write("graceful_timeout = 7\n", name="settings.toml")
    server = site.serve("app:app", "--workers", "2", "-c", str(file))
    before = server.workers()
    site.write(bad, name="settings.toml")
    server.signal(signal.SIGHUP)
    server.wait_for("reload refused, generation 1 goes on serving")
    assert server.workers() == before
    assert server.get_json()["generation"] == 1


def test_a_changed_configuration_file_is_in_force_after_a_reload(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('root_path = "/old"\n')
    server = serve("probe:asgi", "--workers", "2", "-c", str(file))
    assert server.get_json()["root_path"] == "/old"
    file.write_text('root_path = "/new"\n')
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete")
    assert {server.get_json()["root_path"] for _ in range(8)} == {"/new"}


def test_reloads_asked_for_during_a_reload_become_one_more(site: Site) -> None:
    site.write("import time; time.sleep(0.3)\n", SERVES)
    server = site.serve("app:app", "--workers", "2")
    server.signal(signal.SIGHUP)
    server.wait_for("reload: generation 2")
    server.signal(signal.SIGHUP)
    server.wait_for(r"shard 0: worker \d+ serves", count=2)
    server.signal(signal.SIGHUP)  # shard 1 is still to come
    server.wait_for("reload complete: generation 3 serves")
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    assert "generation 4" not in server.log


def test_a_reload_asked_for_during_boot_is_done_after_it(site: Site) -> None:
    site.write("import time; print('importing', flush=True); time.sleep(0.3)\n", SERVES)
    server = site.serve("app:app", "--workers", "2", ready=False)
    server.wait_for("importing")
    server.signal(signal.SIGHUP)
    server.ready()
    server.wait_for("reload complete: generation 2 serves")
    assert server.get_json()["generation"] == 2


@pytest.mark.parametrize("app", ["staged:asgi", "staged:wsgi"])
def test_a_slow_request_over_a_reload_is_answered_by_the_old_worker(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "2")
    before = server.workers()
    with Load(server.port, "/slow?1", clients=1, requests=1) as load:
        server.wait_for("begun /slow")
        server.signal(signal.SIGHUP)
        tally = load.finish()
    assert tally.ok == 1, tally
    assert set(tally.pids) <= set(before)
    server.wait_for("reload complete")
    old_ones_left(before)


def test_a_reload_that_meets_the_graceful_timeout_goes_on(serve: Serve) -> None:
    server = serve("staged:asgi", "--workers", "2", "--graceful-timeout", "0.5")
    with Load(server.port, "/stuck?60", clients=1, requests=1) as load:
        server.wait_for("begun /stuck")
        server.signal(signal.SIGHUP)
        server.wait_for("reload complete", timeout=15)
        tally = load.finish()
    assert not tally.ok, tally
    assert "not finished after 0.5 s" in server.log


def test_keep_alive_clients_lose_nothing_over_a_reload(serve: Serve, note: Note) -> None:
    server = serve("probe:asgi", "--workers", "3")
    with Load(server.port, clients=24, keep_alive=True) as load:
        load.wait_for(200)
        for generation in (2, 3):
            server.signal(signal.SIGHUP)
            server.wait_for(f"reload complete: generation {generation} serves")
        load.wait_for(200)
        tally = load.stop()
    note(tally)
    assert not tally.lost, tally
    assert len(tally.pids) >= 6, tally


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_kept_connections_go_over_to_the_replacement(serve: Serve, app: str, loop: str) -> None:
    server = serve(app, "--workers", "1", "--loop", loop)
    before = server.workers()
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    active = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for client in (idle, active):
        client.request("GET", "/")
        assert json.loads(client.getresponse().read())["pid"] == before[0]
    active.request("GET", "/sleep?0.5")
    server.signal(signal.SIGHUP)
    server.wait_for(r"shard 0: worker \d+ serves", count=2)
    answer = active.getresponse()
    assert answer.getheader("Connection") is None
    assert json.loads(answer.read())["pid"] == before[0]
    server.wait_for("reload complete")
    old_ones_left(before)
    for client in (idle, active):
        for _ in range(2):
            client.request("GET", "/")
            assert json.loads(client.getresponse().read())["pid"] == server.workers()[0]
        client.close()


def test_a_worker_killed_during_a_reload_does_not_stop_it(serve: Serve) -> None:
    server = serve("staged:asgi", "--workers", "3")
    before = server.workers()
    with Load(server.port, "/hold?1.5", clients=12, requests=12):
        server.wait_for("begun /hold", count=12)
        server.signal(signal.SIGHUP)  # the old worker of shard 0 drains for a second and more
        server.wait_for(r"shard 0: worker \d+ serves", count=2)
        last = next(pid for pid in reversed(before) if alive(pid))
        os.kill(last, signal.SIGKILL)
        server.wait_for("reload complete: generation 2 serves")
    old_ones_left(before)
    assert {server.get_json()["generation"] for _ in range(12)} == {2}


def test_a_reload_completes_although_many_workers_still_leave(serve: Serve) -> None:
    # Four workers alive on one shard: the fifth has to wait until one has left, and is still the reload's.
    server = serve("probe:asgi", "--workers", "1")
    held = []
    for number in range(3):
        sock = socket.create_connection(("127.0.0.1", server.port), 20)
        sock.sendall(b"GET /sleep?4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        held.append(sock)
        eventually("it is being served", lambda: server.get_json()["generation"] == 1, 5)
        os.kill(int(re.findall(r"worker (\d+) serves", server.log)[-1]), signal.SIGTERM)
        server.wait_for("serves .ready", count=number + 2)
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete: generation 2", timeout=20)
    for sock in held:
        with sock:
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert server.get_json()["generation"] == 2
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete: generation 3", timeout=20)


def test_a_reload_takes_the_place_of_a_replacement_that_boots(site: Site) -> None:
    site.write("import time\ntime.sleep(0.7)\n", SERVES)
    server = site.serve("app:app", "--workers", "2", "--lifespan", "off")
    os.kill(server.workers()[0], signal.SIGTERM)
    server.wait_for("got SIGTERM and is replaced")
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete: generation 2", timeout=20)
    assert server.get_json()["generation"] == 2
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete: generation 3", timeout=20)


def test_a_stop_while_a_replaced_worker_still_answers(serve: Serve) -> None:
    """Who would take its kept connections leaves too: it closes them itself, after their answers."""
    server = serve("staged:wsgi", "--workers", "1", "--threads", "2")
    with (
        socket.create_connection(("127.0.0.1", server.port), 10) as kept,
        socket.create_connection(("127.0.0.1", server.port), 10) as late,
    ):
        for client, seconds in ((kept, b"1"), (late, b"2")):
            client.sendall(b"GET /slow?%b HTTP/1.1\r\nHost: a\r\n\r\n" % seconds)
        server.wait_for("begun /slow", count=2)
        server.signal(signal.SIGHUP)
        server.wait_for(r"shard 0: worker \d+ serves", count=2)
        server.signal(signal.SIGTERM)
        for client in (kept, late):
            octets = b"".join(iter(lambda sock=client: sock.recv(65536), b""))  # type: ignore[misc]
            assert octets.startswith(b"HTTP/1.1 200 "), octets
            assert b"connection: close" in octets
    assert server.exit_code() == 0

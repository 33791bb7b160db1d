"""The supervisor is killed: what its workers do then is not in the way of the next start, whatever they are doing."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.proc import LISTEN, alive, eventually, queued, tcp_sockets
from support.site import SERVES

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]

KILL = signal.SIGKILL
SOON = 2.0  # seconds; measured: a few milliseconds


def kill(server: Server) -> None:
    server.signal(KILL)
    server.exit_code()
    eventually("nobody listens", lambda: not any(one.state == LISTEN for one in tcp_sockets(server.port)), SOON)


@pytest.mark.parametrize("app", ["staged:asgi", "staged:wsgi"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_idle_workers(serve: Serve, app: str, loop: str) -> None:
    server = serve(app, "--workers", "2", "--loop", loop)
    workers = server.workers()
    kill(server)
    again = serve(app, "--workers", "2", bind=f"127.0.0.1:{server.port}")
    assert again.get_json("/who")["generation"] == 1
    eventually("the workers have left", lambda: not any(map(alive, workers)), 10)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_worker_whose_loop_is_blocked_answers_what_it_has_and_what_was_queued(serve: Serve, loop: str) -> None:
    server = serve("staged:asgi", "--workers", "1", "--loop", loop)
    workers = server.workers()
    with Load(server.port, "/block?4", clients=1, requests=1) as busy:
        server.wait_for("begun /block")
        with Load(server.port, "/late", clients=10, requests=10) as late:
            eventually("10 connections wait", lambda: queued(server.port) == 10)
            kill(server)
            again = serve("staged:asgi", "--workers", "1", bind=f"127.0.0.1:{server.port}")
            assert again.get_json("/who")["generation"] == 1
            assert not busy.tally.ok
            tally = late.finish()
        assert busy.finish().ok == 1
    assert tally.ok == 10, tally
    assert set(tally.pids) == set(workers)
    eventually("the worker has left", lambda: not any(map(alive, workers)), 10)


def test_a_worker_whose_loop_stays_blocked_is_ended(serve: Serve) -> None:
    server = serve("staged:asgi", "--workers", "1", "--graceful-timeout", "1")
    workers = server.workers()
    with Load(server.port, "/block?60", clients=1, requests=1):
        server.wait_for("begun /block")
        kill(server)
        began = time.monotonic()
        eventually("the worker has left", lambda: not any(map(alive, workers)), 20)
        assert time.monotonic() - began > 5


def test_workers_that_boot(site: Site) -> None:
    site.write(SERVES)
    server = site.serve("app:app", "--workers", "2", "--lifespan", "off")
    site.write("import time\nprint('booting', flush=True)\ntime.sleep(60)\n", SERVES)
    server.signal(signal.SIGHUP)
    server.wait_for("booting")
    workers = server.workers()
    assert len(workers) == 3
    kill(server)
    eventually("the workers have left", lambda: not any(map(alive, workers)), 10)
    site.write(SERVES)
    again = site.serve("app:app", "--workers", "2", "--lifespan", "off", bind=f"127.0.0.1:{server.port}")
    assert again.get_json()["generation"] == 1


def test_a_worker_whose_lifespan_startup_hangs(site: Site) -> None:
    site.write("""
        import asyncio

        async def app(scope, receive, send):
            await receive()
            print("starting", flush=True)
            await asyncio.sleep(60)
    """)
    server = site.serve("app:app", "--workers", "1", ready=False)
    server.wait_for("starting")
    line = server.wait_for("listening on")
    server.port = int(line.split("127.0.0.1:")[1].split(" ")[0])
    kill(server)


def test_a_worker_that_has_changed_its_user(serve: Serve) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give workers another user: run as root")
    server = serve("staged:asgi", "--workers", "1", "--user", "65534", "--group", "65534")
    with Load(server.port, "/block?3", clients=1, requests=1) as busy:
        server.wait_for("begun /block")
        kill(server)
        assert busy.finish().ok == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), 5)

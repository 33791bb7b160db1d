"""A worker that dies takes only what it had accepted, and is replaced on the same listener."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.proc import accepted, alive, eventually, own_listener, queued
from support.site import SERVES

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]
    Note = Callable[[object], None]

DEATHS = {"reset", "empty"}  # how a client sees the death of the process that had accepted it


def replacement(server: Server, before: list[int]) -> int:
    """The pid of the worker that has replaced another since `before`."""
    eventually("a replacement runs", lambda: len(set(server.workers()) - set(before)) == 1)
    return (set(server.workers()) - set(before)).pop()


def answerer(server: Server) -> object:
    """Who answers a new connection; None if its shard has no worker, so that it waits."""
    try:
        return json.loads(server.get(timeout=0.1))["pid"]
    except OSError:
        return None


def test_sigkill_under_load_loses_only_what_the_worker_had_accepted(serve: Serve, note: Note) -> None:
    # By hash, so that its queue fills: any other way of steering gives it no more than its share.
    server = serve("probe:asgi", "--workers", "4", "--steering", "hash")
    with Load(server.port, "/block?0.004", clients=32) as load:
        load.wait_for(500)
        before = server.workers()
        victim = before[1]
        listener = own_listener(victim, server.port)
        # Stopped first, so that what it has accepted stays as it is while connections gather in its queue.
        os.kill(victim, signal.SIGSTOP)
        waiting: list[int] = []  # at each look: those at other workers are gone by the next
        eventually(
            "clients wait in the queue",
            lambda: waiting.append(queued(server.port)) or (len(waiting) > 3 and all(waiting[-3:])),
        )
        had_accepted, waited = accepted(victim, server.port), waiting[-1]
        os.kill(victim, signal.SIGKILL)
        server.wait_for(r"shard \d: worker \d+ serves", count=5)
        load.wait_for(1500)
        tally = load.stop()
    note(f"accepted {had_accepted}, queued {waited}: {tally}")
    assert waited > 0
    assert set(tally.lost) <= DEATHS, tally
    assert sum(tally.lost.values()) == had_accepted, tally
    assert tally.ok >= 2000, tally
    assert own_listener(replacement(server, before), server.port) == listener
    assert f"worker {victim} died (SIGKILL)" in server.log


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_sigkill_at_full_speed(serve: Serve, app: str, note: Note) -> None:
    server = serve(app, "--workers", "4")
    with Load(server.port, "/block?0.004", clients=32) as load:
        for deaths in (1, 2):
            load.wait_for(150)
            os.kill(server.workers()[0], signal.SIGKILL)
            server.wait_for(r"shard \d: worker \d+ serves", count=4 + deaths)
        load.wait_for(150)
        tally = load.stop()
    note(tally)
    assert set(tally.lost) <= DEATHS, tally
    assert sum(tally.lost.values()) <= 2 * 32, (
        tally
    )  # a WSGI worker accepts all that come, and has them wait for a thread


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_a_request_that_ends_the_process_costs_that_worker_alone(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "2")
    before = server.workers()
    with Load(server.port, "/die", clients=1, requests=1) as load:
        tally = load.finish()
    assert set(tally.lost) <= DEATHS, tally
    server.wait_for(r"worker \d+ died \(exit code 9\)")
    server.wait_for(r"shard \d: worker \d+ serves", count=3)
    assert len(set(before) & set(server.workers())) == 1
    with Load(server.port, clients=4, requests=100) as load:
        assert load.finish().ok == 100


def test_a_worker_that_keeps_dying_at_boot_backs_off_while_the_others_serve(site: Site, note: Note) -> None:
    site.write(
        """
        import pathlib

        if pathlib.Path("broken").exists():
            raise RuntimeError("the disk is full")
        """,
        SERVES,
    )
    server = site.serve("app:app", "--workers", "3")
    before = server.workers()
    with Load(server.port, clients=16) as load:
        load.wait_for(100)
        site.write("", name="broken")
        os.kill(before[0], signal.SIGKILL)
        delays = [float(server.wait_for("trying again in", count=count).split()[-2]) for count in (1, 2)]
        assert delays[0] < delays[1]
        eventually("both others answer a new client", lambda: set(before[1:]) <= {answerer(server) for _ in range(30)})
        (site.folder / "broken").unlink()
        server.wait_for(r"shard \d: worker \d+ serves", count=4)
        load.wait_for(100)
        tally = load.stop()
    note(tally)
    assert set(tally.lost) <= DEATHS, tally
    assert sum(tally.lost.values()) <= 16, tally  # at the kill; nothing that came while the shard was away
    assert server.log.count("the disk is full") >= 2
    assert server.log.count("Traceback") == 1, server.log


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_sigterm_to_a_worker_replaces_it_and_loses_nothing(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "4")
    with Load(server.port, "/block?0.004", clients=32) as load:
        load.wait_for(200)
        victim = server.workers()[2]
        listener = own_listener(victim, server.port)
        before = server.workers()
        os.kill(victim, signal.SIGTERM)
        server.wait_for(f"worker {victim} got SIGTERM and is replaced")
        eventually("the worker has left", lambda: not alive(victim), 20)
        load.wait_for(200)
        tally = load.stop()
    assert not tally.lost, tally
    assert own_listener(replacement(server, before), server.port) == listener
    assert "died" not in server.log


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
@pytest.mark.parametrize(("path", "error"), [("/crash", "ValueError: crash on purpose"), ("/exit", "SystemExit: 7")])
def test_an_exception_in_a_request_is_a_500_with_a_traceback(serve: Serve, app: str, path: str, error: str) -> None:
    server = serve(app, "--workers", "1")
    before = server.workers()
    with pytest.raises(urllib.error.HTTPError, match="500") as caught:
        server.get(path)
    assert b"Internal Server Error" in caught.value.read()
    caught.value.close()
    assert server.get_json()["pid"] == before[0]
    assert server.workers() == before
    assert f"GET {path}: the application failed\nTraceback (most recent call last):\n" in server.log
    assert error in server.log
    assert "probe.py" in server.log

"""Events in a server's life that no client may notice: under load at saturation nothing fails and nothing is cut."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.matrix import EVENTS, REQUESTS, Link, Row
from support.proc import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server

    Serve = Callable[..., Server]

APPS = pytest.mark.parametrize("app", ["echo:asgi", "echo:wsgi"])
WORKERS = 4


@APPS
def test_reload(serve: Serve, link: Link, row: Row, app: str) -> None:
    row.name = f"HUP, {app[5:]}{link.name}"
    server = serve(app, "--workers", str(WORKERS), bind=link.bind)
    load = link.load(server)
    with row.under(load):
        for event in range(EVENTS):
            since = load.wait_for(REQUESTS // 10)
            server.signal(signal.SIGHUP)
            server.wait_for(f"reload complete: generation {event + 2} serves")
            load.wait_for(REQUESTS, since)
            row.events += 1
    row.assert_nothing_lost()
    assert {one.generation for one in row.outcome.records} == set(range(1, EVENTS + 2))


@APPS
def test_reload_under_keep_alive(serve: Serve, link: Link, row: Row, app: str) -> None:
    """Some connections never rest, most hardly do anything: none is closed, told to close, or fails."""
    row.name = f"HUP, keep-alive, {app[5:]}{link.name}"
    server = serve(app, "--workers", str(WORKERS), bind=link.bind)
    busy = link.load(server, clients=24, keep_alive=True)
    idle = link.load(server, clients=200, keep_alive=True, think=8.0, seed=2)
    with row.under(busy, idle):
        idle.wait_for(200, since=0)
        warm = time.monotonic()
        row.waits_that_count = lambda one: one.began > warm  # not those of 224 that came at once
        for event in range(EVENTS):
            since = busy.wait_for(REQUESTS // 10)
            server.signal(signal.SIGHUP)
            server.wait_for(f"reload complete: generation {event + 2} serves")
            busy.wait_for(REQUESTS, since)
            row.events += 1
    row.assert_nothing_lost()
    row.assert_none_closed()
    assert {one.generation for one in row.outcome.records} == set(range(1, EVENTS + 2))


@APPS
def test_reload_of_a_broken_application(serve: Serve, link: Link, row: Row, app: str, tmp_path: Path) -> None:
    row.name = f"HUP to a broken app, {app[5:]}{link.name}"
    broken = tmp_path / "broken"
    server = serve(app, "--workers", str(WORKERS), bind=link.bind, env={"BROKEN": str(broken)})
    before = server.workers()
    load = link.load(server)
    with row.under(load):
        for event in range(EVENTS):
            since = load.wait_for(REQUESTS // 10)
            broken.touch()
            server.signal(signal.SIGHUP)
            server.wait_for("generation 1 goes on serving", count=event + 1)
            load.wait_for(REQUESTS, since)
            row.events += 1
        assert server.workers() == before
    row.assert_nothing_lost()
    broken.unlink()
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete")


@APPS
def test_more_and_fewer_workers(serve: Serve, link: Link, row: Row, app: str) -> None:
    row.name = f"TTIN x2 TTOU x3, {app[5:]}{link.name}"
    server = serve(app, "--workers", str(WORKERS), bind=link.bind)
    load = link.load(server)

    def more(workers: int) -> None:
        ready = server.log.count("serves (ready")
        server.signal(signal.SIGTTIN)
        server.wait_for("serves .ready", count=ready + 1)
        assert len(server.workers()) == workers
        load.wait_for(REQUESTS // 10)

    def fewer(workers: int) -> None:
        server.signal(signal.SIGTTOU)
        eventually(f"{workers} workers are left", lambda: len(server.workers()) == workers)
        load.wait_for(REQUESTS // 10)

    with row.under(load):
        for event in range(EVENTS):
            since = load.wait_for(REQUESTS // 10)
            if event:
                more(4)
            more(5)
            more(6)
            for workers in (5, 4, 3):
                fewer(workers)
            load.wait_for(REQUESTS, since)
            row.events += 1
    row.assert_nothing_lost()
    assert len(row.outcome.pids) >= 6, row.outcome


@APPS
@pytest.mark.parametrize("limit", ["max-requests", "max-rss"])
def test_recycling(serve: Serve, link: Link, row: Row, app: str, limit: str) -> None:
    row.name = f"--{limit}, {app[5:]}{link.name}"
    # About half of the row's requests make a worker of four reach its limit once.
    limits = {"max-requests": ("--max-requests", f"{REQUESTS // 4}"), "max-rss": ("--max-rss", "64M")}
    server = serve(app, "--workers", str(WORKERS), *limits[limit], bind=link.bind)
    load = link.load(server, grow=0 if limit == "max-requests" else 64_000 // REQUESTS)
    with row.under(load):
        server.wait_for(rf"\(--{limit}\) and is replaced", count=EVENTS, timeout=90)
        server.wait_for("serves .ready", count=WORKERS + EVENTS)
        load.wait_for(EVENTS * REQUESTS, since=0)
        row.events = server.log.count(f"(--{limit}) and is replaced")
    assert not row.outcome.failed, row.outcome
    assert row.outcome.answered >= EVENTS * REQUESTS
    assert "died" not in server.log

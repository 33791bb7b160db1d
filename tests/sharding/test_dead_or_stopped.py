"""A worker that dies or stands still costs the connections it had accepted, nothing else, and nobody else waits."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.matrix import EVENTS, REQUESTS, Link, Row
from support.proc import accepted_from, queued

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server
    from support.strict import Record

    Serve = Callable[..., Server]
    Hit = tuple[float, float, set[int]]  # from when to when a worker did not serve, and whom it had accepted

APPS = pytest.mark.parametrize("app", ["echo:asgi", "echo:wsgi"])
LONGEST_WAIT = 1.0  # seconds, of whoever it had not accepted
QUEUE_FOR = 0.2  # seconds that a worker stands still before it is killed, if nothing comes into its queue


def was_accepted(record: Record, hits: list[Hit]) -> bool:
    """Whether it was the connection of a worker that was hit, at that time."""
    return any(record.port in ports and record.connected < to and record.ended > since for since, to, ports in hits)


@APPS
def test_killed(serve: Serve, row: Row, app: str) -> None:
    row.name = f"SIGKILL of a worker, {app[5:]}"
    server = serve(app, "--workers", "4")
    hits: list[Hit] = []
    row.waits_that_count = lambda one: not was_accepted(one, hits)
    waited = 0
    load = Link().load(server)
    with row.under(load):
        for event in range(EVENTS):
            since = load.wait_for(REQUESTS // 10)
            victim = server.workers()[event % 4]
            # Stopped first, so that what it has accepted stays as it is while connections gather in its queue
            # (unless steering sees at once that it has more than the others, and sends it none).
            os.kill(victim, signal.SIGSTOP)
            stopped = time.monotonic()
            while not (waiting := queued(server.port)) and time.monotonic() < stopped + QUEUE_FOR:
                time.sleep(0.01)
            accepted = accepted_from(victim, server.port)
            waited += waiting
            os.kill(victim, signal.SIGKILL)
            hits.append((stopped, time.monotonic() + 0.1, accepted))
            server.wait_for("serves .ready", count=5 + event)
            load.wait_for(REQUESTS, since)
            row.events += 1
    lost = row.outcome.only(lambda one: one.kind != "ok")
    not_its_own = lost.only(lambda one: not was_accepted(one, hits))
    had = sum(len(accepted) for *_, accepted in hits)
    row.beside = f"the dead had accepted {had}; {waited} were queued, of these {len(not_its_own.records)} failed"
    assert len(not_its_own.records) == 0, not_its_own
    assert row.outcome.only(row.waits_that_count).worst < LONGEST_WAIT, row.outcome


@APPS
def test_stopped(serve: Serve, row: Row, app: str) -> None:
    row.name = f"SIGSTOP of a worker, {app[5:]}"
    server = serve(app, "--workers", "4")
    hits: list[Hit] = []
    row.waits_that_count = lambda one: not was_accepted(one, hits)
    load = Link().load(server, clients=48)
    with row.under(load):
        for event in range(EVENTS):
            since = load.wait_for(REQUESTS // 10)
            victim = server.workers()[event % 4]
            os.kill(victim, signal.SIGSTOP)
            stopped = time.monotonic()
            try:
                accepted = accepted_from(victim, server.port)
                load.wait_for(REQUESTS, since)
            finally:
                os.kill(victim, signal.SIGCONT)
            hits.append((stopped, time.monotonic(), accepted))
            load.wait_for(REQUESTS // 10)
            row.events += 1
    had = sum(len(accepted) for *_, accepted in hits)
    row.beside = f"the stopped had accepted {had}, answered when they went on"
    row.assert_nothing_lost()
    others = row.outcome.only(row.waits_that_count)
    assert others.worst < LONGEST_WAIT, others

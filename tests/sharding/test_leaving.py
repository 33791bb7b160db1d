"""SIGTERM, or an address given up: whoever was connected is answered, whoever comes later is answered or refused.

What a client can know: that connect() had returned before the signal was sent (on a link half a round trip before, the
time of its handshake's last packet: until then the server has no connection). Refused is connect() failing with
ECONNREFUSED, at which no request has left the client; anything that breaks after connect() is a failure.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.matrix import EVENTS, REQUESTS, Link, Row
from support.ports import free_ports, refuses
from support.proc import eventually, queued

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server

    Serve = Callable[..., Server]


LINGER = 1.0  # seconds that a worker waits for the first request of a connection, once it has been told to leave


@pytest.mark.parametrize("app", ["echo:asgi", "echo:wsgi"])
def test_stop(serve: Serve, link: Link, row: Row, app: str) -> None:
    row.name = f"SIGTERM, {app[5:]}{link.name}"
    early = late = refused = waited = 0
    for _ in range(EVENTS):
        server = serve(app, "--workers", "4", bind=link.bind)
        of_others = len(row.outcome.records)
        load = link.load(server)
        unread = link.load(server, clients=16, silent=True, once=True)
        with row.under(load, unread):
            load.wait_for(REQUESTS)
            eventually("the silent ones are connected", lambda one=unread: one.connected == 16)
            blocked = link.load(server, clients=12, once=True, ms=300)  # with them, four loops stand still
            burst = link.load(server, clients=32, once=True)
            with row.under(blocked, burst):
                eventually("the burst is connected", lambda one=burst: one.connected + one.answered >= 32)
                waiting = queued(server.port)
                signalled = time.monotonic()
                server.signal(signal.SIGTERM)
                server.wait_for("stopping")
                time.sleep(LINGER / 2)
                unread.speak()  # on a connection that was open when the signal came
            assert server.exit_code() == 0
        waited += waiting
        row.events += 1
        known = signalled - link.rtt / 2
        started = row.outcome.records[of_others:]
        before = [one for one in started if 0 < one.connected <= known]
        after = [one for one in started if not 0 < one.connected <= known]
        early += sum(one.kind != "ok" for one in before)
        late += sum(one.kind not in ("ok", "refused") for one in after)
        refused += sum(one.kind == "refused" for one in after)
    row.beside = f"{waited} were queued, {refused} later ones refused"
    row.outcome = row.outcome.only(lambda one: one.kind != "refused")
    assert (early, late) == (0, 0), row.outcome


def test_stop_at_the_door(serve: Serve, link: Link, row: Row) -> None:
    """Nothing is slow, so all that can be lost are handshakes under way when a listener closes (decision 7)."""
    row.name = f"SIGTERM, nothing slow{link.name}"
    lost = refused = 0
    for _ in range(EVENTS):
        server = serve("echo:asgi", "--workers", "2", bind=link.bind)
        of_others = len(row.outcome.records)
        load = link.load(server, clients=64)
        with row.under(load):
            load.wait_for(REQUESTS)
            server.signal(signal.SIGTERM)
            assert server.exit_code() == 0
        row.events += 1
        started = row.outcome.records[of_others:]
        lost += sum(one.kind not in ("ok", "refused") for one in started)
        refused += sum(one.kind == "refused" for one in started)
    row.beside = f"{refused} later ones refused"
    row.outcome = row.outcome.only(lambda one: one.kind != "refused")
    assert lost == 0, row.outcome


def test_an_address_that_is_given_up(serve: Serve, link: Link, row: Row, tmp_path: Path) -> None:
    """HUP to another address: the old one is served until all workers are new, and then refuses as after a stop."""
    row.name = f"HUP to another address{link.name}"
    lost = refused = 0
    for event in range(EVENTS):
        settings = tmp_path / f"{event}.toml"
        settings.write_text(f'bind = ["{link.bind}"]\n')
        server = serve("echo:asgi", "--workers", "4", "-c", str(settings), bind=None)
        of_others = len(row.outcome.records)
        load = link.load(server)
        with row.under(load):
            load.wait_for(REQUESTS)
            settings.write_text(f'bind = ["{link.host}:{free_ports(1)[0]}"]\n')
            server.signal(signal.SIGHUP)
            server.wait_for(f"no longer listening on http://{link.host}:{server.port}")
            eventually("it refuses", lambda port=server.port: refuses(port, link.host))
        row.events += 1
        started = row.outcome.records[of_others:]
        lost += sum(one.kind not in ("ok", "refused") for one in started)
        refused += sum(one.kind == "refused" for one in started)
    row.beside = f"{refused} later ones refused"
    row.outcome = row.outcome.only(lambda one: one.kind != "refused")
    assert lost == 0, row.outcome

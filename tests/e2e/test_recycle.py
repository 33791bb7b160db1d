"""Workers that have served enough are replaced, ready first, and nobody notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.load import Load
from support.server import Server

Serve = Callable[..., Server]


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_recycling_by_requests_loses_none(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "4", "--max-requests", "100", "--max-requests-jitter", "50")
    before = set(server.workers())
    with Load(server.port, clients=16, requests=6000) as load:
        server.wait_for(r"has begun \d+ requests \(--max-requests\) and is replaced", count=4)
        tally = load.finish()
    assert tally.ok == 6000, tally
    server.wait_for("serves .ready", count=8)
    assert not before <= set(server.workers())
    assert "died" not in server.log


def test_recycling_by_time(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2", "--max-lifetime", "1")
    server.wait_for(r"has served its time \(--max-lifetime\) and is replaced", count=2)
    with Load(server.port, clients=8, requests=1500) as load:
        assert load.finish().ok == 1500
    assert "died" not in server.log


def test_recycling_by_memory(serve: Serve) -> None:
    server = serve("grows:app", "--workers", "1", "--max-rss", "150M")
    first = server.workers()[0]
    with Load(server.port, clients=4, requests=400, path="/grow") as load:
        server.wait_for(rf"worker {first} uses \d+ MB of memory \(--max-rss\) and is replaced")
        assert load.finish().ok == 400
    server.wait_for("serves .ready", count=2)

"""--request-timeout on real connections; a WSGI worker that has lost a thread is replaced, ready first."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Callable

import pytest
from support.proc import alive, eventually
from support.server import Server

from shardserve.http.overdue import GRACE

Serve = Callable[..., Server]


def refused(server: Server, path: str) -> float:
    """Ask for what is answered with 504; for how long it took."""
    began = time.monotonic()
    with pytest.raises(urllib.error.HTTPError, match="504") as caught:
        server.get(path, timeout=30)
    assert caught.value.headers["connection"] == "close"
    caught.value.close()
    return time.monotonic() - began


def test_a_slow_asgi_request_is_answered_and_cancelled(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "1", "--request-timeout", "1")
    before = server.workers()
    assert 1 <= refused(server, "/sleep?600") < 10
    server.wait_for(r"GET /sleep: not complete within 1 s \(--request-timeout\); answered with 504")
    server.wait_for("CancelledError")
    assert server.get_json()["pid"] == before[0]
    assert server.workers() == before


def test_a_wsgi_worker_that_has_lost_its_thread_is_replaced_ready_first(serve: Serve) -> None:
    server = serve(
        "probe:wsgi", "--workers", "1", "--request-timeout", "1", "--timeout", "0", "--graceful-timeout", "1"
    )
    (stuck,) = server.workers()
    assert 1 <= refused(server, "/sleep?600") < 10
    server.wait_for(
        rf"worker {stuck} has lost a thread to GET /sleep \(--request-timeout\) and is replaced", timeout=40
    )
    server.wait_for("serves .ready", count=2)
    assert server.get_json()["pid"] != stuck
    eventually("the stuck worker has left", lambda: not alive(stuck), 30)
    assert "died" not in server.log


def test_a_wsgi_call_that_ends_soon_costs_nothing_more(serve: Serve) -> None:
    server = serve("probe:wsgi", "--workers", "1", "--request-timeout", "1")
    before = server.workers()
    assert refused(server, "/sleep?3") < 10

    def answers() -> bool:
        try:
            return bool(server.get())
        except urllib.error.HTTPError as error:
            error.close()
            return False

    eventually("its thread is free again", answers)
    time.sleep(GRACE + 2)  # by then it would have been replaced
    assert server.workers() == before
    assert "still runs" not in server.log
    assert "is replaced" not in server.log

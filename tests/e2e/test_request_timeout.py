"""--request-timeout on real connections; a WSGI worker that has lost a thread is replaced, ready first."""

from __future__ import annotations

import signal
import time
import urllib.error
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from support.held import Held
from support.proc import alive, eventually
from support.server import Server

from shardserve.http.overdue import GRACE

if TYPE_CHECKING:
    from support.site import Site

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


def test_a_request_that_goes_to_another_worker_does_not_get_its_time_again(site: Site) -> None:
    """It waits for a thread for most of its time, and is then executed elsewhere for longer than is left."""
    held = Held(site, "--workers", "1", "--request-timeout", "4", "--timeout", "0", "--graceful-timeout", "1")
    busy = held.hold()
    began = time.monotonic()
    waits = held.send("/hold", 10)
    time.sleep(1.3)
    held.server.signal(signal.SIGTTIN)  # this one asks for it, once it serves
    waits.settimeout(20)
    assert waits.recv(65536).startswith(b"HTTP/1.1 504 ")
    took = time.monotonic() - began
    assert 4 <= took < 5.3 + 0.4, "four seconds, and a tick"
    called = [int(line) for line in (site.folder / "held").read_text().split()]
    assert len(set(called) - {busy}) == 1
    held.close()

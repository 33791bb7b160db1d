"""`--reload`: a changed file brings a new generation, a broken one changes nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

Serve = Callable[..., Server]

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"{0}"}})
"""


def test_a_change_is_served_and_a_broken_one_keeps_the_last_good(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("watchfiles", reason="--reload needs it: pip install 'shardserve[reload]'")
    folder = tmp_path / "site"
    folder.mkdir()
    source = folder / "changing.py"
    source.write_text(APP.format("one"))
    server = serve("changing:app", "--workers", "1", "--reload", cwd=folder)
    assert server.get() == b"one"

    while "changed: " not in server.log:  # the watcher may still be starting
        # Of another length: within the second, Python would take what it has compiled of the first for current.
        source.write_text(APP.format("second"))
        server.pause()
    server.wait_for(r"reload complete: generation \d")
    assert server.get() == b"second"

    source.write_text("def app(:\n")
    server.wait_for("reload failed: .*SyntaxError")
    assert server.get() == b"second"

    source.write_text(APP.format("three"))
    while server.get() != b"three":
        server.pause()

    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    assert not server.workers_left()

"""The bundled demo, by client and in a browser."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable

import pytest
from support.browser import CHROMIUM, QUIET
from support.server import Server

Serve = Callable[..., Server]


def test_it_says_who_answered(serve: Serve) -> None:
    server = serve("shardserve.demo:app", "--workers", "4")
    answers = [json.loads(server.get("/who?close")) for _ in range(60)]
    assert {answer["shard"] for answer in answers} == {0, 1, 2, 3}
    assert {answer["pid"] for answer in answers} == set(server.workers())
    assert b"<title>shardserve" in server.get("/")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_the_page_draws_the_shards_in_a_browser(serve: Serve) -> None:
    server = serve("shardserve.demo:app", "--workers", "4")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=10000", "--dump-dom"]
        page = subprocess.run([*command, server.url()], capture_output=True, text=True, timeout=90, check=True).stdout
    assert 'data-done="yes"' in page
    assert "40 connections, 41 requests over 4 shards; 0 failed." in page
    assert page.count('class="bar conn"') == 4

"""Chromium, as it is: tests/apps/mirror.html runs all checks and says what it found."""

from __future__ import annotations

import json
import subprocess
import tempfile
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from support.browser import CHROMIUM, QUIET

if TYPE_CHECKING:
    from support.server import Server

CHECKS = {"kept", "many", "head", "moved", "packed", "large", "upload", "form", "stream", "events"}


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_a_page_that_uses_all_a_browser_has(mirror: Server) -> None:
    is_asgi = "(asgi)" in mirror.log
    left = mirror.log.count("the client left /endless")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        page = mirror.url("/page") + ("#websocket" if is_asgi else "")
        command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", "--remote-debugging-port=0", page]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            line = mirror.wait_for("verdict: ", timeout=60)
        finally:
            browser.terminate()
            browser.wait(20)
    found = json.loads(unquote(line.partition("verdict: ")[2]))
    assert found == dict.fromkeys(found, True)
    assert set(found) == (CHECKS | {"websocket"} if is_asgi else CHECKS)
    mirror.wait_for("the client left /endless", count=left + 2)
    if is_asgi:
        mirror.wait_for("the client left its socket with 4001")

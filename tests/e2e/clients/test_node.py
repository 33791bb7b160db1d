"""Node's own fetch and its ws package, as they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.server import Server

NODE = shutil.which("node")
# `npm install --prefix .node ws` in the repository puts it here (git ignores the folder).
MODULES = Path(__file__).parents[3] / ".node" / "node_modules"
HAS_FETCH = NODE is not None and not subprocess.run([NODE, "-e", "fetch"], capture_output=True, check=False).returncode


@pytest.mark.skipif(not HAS_FETCH, reason="needs Node.js 18 or newer: apt-get install nodejs, or nodejs.org")
def test_fetch(mirror: Server) -> None:
    left = mirror.log.count("the client left /endless")
    command = [str(NODE), str(Path(__file__).with_name("fetch.mjs")), mirror.url("")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("head") == [200, 0, True]
    assert found.pop("moved") == [True, True]
    assert found.pop("aborted") == "AbortError"
    assert set(found) == {"reused", "packed", "large", "upload", "chunked", "form", "endless", "many"}
    assert all(found.values()), found
    mirror.wait_for("the client left /endless", count=left + 1)


@pytest.mark.skipif(NODE is None or not (MODULES / "ws").is_dir(), reason="needs ws: npm install --prefix .node ws")
def test_ws(mirror: Server) -> None:
    if "(wsgi)" in mirror.log:
        pytest.skip("WebSocket is for ASGI applications")
    command = [str(NODE), str(Path(__file__).with_name("socket.mjs")), mirror.url("").replace("http:", "ws:")]
    environment = {**os.environ, "NODE_PATH": str(MODULES)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == dict.fromkeys(found, True)
    assert len(found) == 15
    mirror.wait_for("the client left its socket with 4002", count=2)
    mirror.wait_for("the client left its socket with 1006", count=50)

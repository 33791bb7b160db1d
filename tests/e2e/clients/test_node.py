"""Node's own fetch, as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.server import Server

NODE = shutil.which("node")
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

"""Process 1 of a PID namespace, as the entry point of a container: signals work, orphans are collected."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

MAY_UNSHARE = (
    shutil.which("unshare") is not None
    and subprocess.run(["unshare", "-fp", "--mount-proc", "true"], capture_output=True, check=False).returncode == 0
)

# Leaves an orphan behind at each request: a grandchild whose parent ends at once.
APP = """
import subprocess
async def app(scope, receive, send):
    assert scope["type"] == "http"
    subprocess.run(["sh", "-c", "sleep 0.1 &"], check=True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"orphaned"})
"""


@pytest.mark.skipif(not MAY_UNSHARE, reason="needs the right to make a PID namespace: run as root (util-linux)")
def test_process_one_collects_orphans_and_stops_on_term(tmp_path: Path) -> None:
    (tmp_path / "leaves_orphans.py").write_text(APP)
    env = {**os.environ, "PORT": "0", "WEB_CONCURRENCY": "2"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        outer = subprocess.Popen(
            ["unshare", "-fp", "--mount-proc", sys.executable, "-m", "shardserve", "leaves_orphans:app"],
            cwd=tmp_path,
            env=env,
            stderr=output,
        )
    try:
        port = _port(log)
        (inner,) = _children(outer.pid)
        for _ in range(5):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
                assert response.read() == b"orphaned"
        end = time.monotonic() + 10
        while len(_children(inner)) != 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(_children(inner)) == 2, "only the two workers are left: the orphans have been collected"
        os.kill(inner, signal.SIGTERM)
        assert outer.wait(15) == 0
    finally:
        if outer.poll() is None:
            outer.kill()
            outer.wait(5)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _port(log: Path) -> int:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if "ready: " in line:
                return int(line.rpartition(":")[2])
        time.sleep(0.02)
    raise AssertionError(log.read_text())

"""Workers that have served enough are replaced, ready first, and nobody notices."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.load import Load
from support.proc import alive, eventually
from support.server import Server

Serve = Callable[..., Server]


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_recycling_by_requests_loses_none(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "4", "--max-requests", "100", "--max-requests-jitter", "50")
    before = set(server.workers())
    with Load(server.port, clients=16, requests=1500) as load:
        server.wait_for(r"has begun \d+ requests \(--max-requests\) and is replaced", count=4)
        tally = load.finish()
    assert tally.ok == 1500, tally
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


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A control group of its own with 380 MB, for a server that is started later."""
    for mount, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(mount) / f"shardserve-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text("380000000")
            yield group
            return
        except OSError:
            continue
        finally:
            eventually("the group is empty", lambda group=group: not (group / "cgroup.procs").read_text(), 20)
            group.rmdir()
    pytest.skip("no control group for memory can be made here: needs root and a writable /sys/fs/cgroup")


def launch_in(group: Path) -> tuple[str, str]:
    script = f"import os, pathlib, runpy; pathlib.Path({str(group / 'cgroup.procs')!r}).write_text(str(os.getpid()))"
    return "-c", f"{script}; runpy.run_module('shardserve', run_name='__main__')"


def grow_until(server: Server, logged: str) -> None:
    """Ask for a megabyte more up to fifty times a second: workers look at their size once a second."""
    for _ in range(1000):
        server.get("/grow")
        if logged in server.log:
            return
        time.sleep(0.02)
    raise AssertionError(server.log)


def test_without_memory_for_one_more_a_worker_leaves_before_its_replacement(memory_group: Path, serve: Serve) -> None:
    server = serve("grows:app", "--workers", "2", "--max-rss", "150M", launcher=launch_in(memory_group))
    grow_until(server, "it leaves first")
    shard = re.findall(r"shard (\d): it leaves first", server.log)[0]
    old = int(re.findall(rf"shard {shard}: worker (\d+) .* is replaced", server.log)[-1])
    while alive(old):
        # Of what came after the line (a first replacement may still have found room).
        since = server.log.rpartition("it leaves first")[2]
        assert f"shard {shard}: worker" not in since or not alive(old), server.log
        server.get("/")  # the sibling serves meanwhile
    eventually(
        "the shard serves",
        lambda: bool(re.search(rf"(?s)it leaves first.*shard {shard}: worker \d+ serves", server.log)),
    )
    assert "died" not in server.log


def test_the_only_worker_is_replaced_ready_first_whatever_memory_is_left(memory_group: Path, serve: Serve) -> None:
    server = serve("grows:app", "--workers", "1", "--max-rss", "250M", launcher=launch_in(memory_group))
    first = server.workers()[0]
    grow_until(server, "is replaced")
    server.wait_for("serves .ready", count=2)
    assert "leaves first" not in server.log
    eventually("the first has left", lambda: not alive(first))

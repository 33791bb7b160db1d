"""Machines that lack something: uvloop, httptools, compiled modules, a process to fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.server import Server

from shardserve.build import PURE

Serve = Callable[..., Server]


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which neither uvloop nor httptools can be imported."""
    hide = "import sys\nfor name in ('uvloop', 'httptools'):\n    sys.modules[name] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_auto_takes_what_is_there(serve: Serve, bare: dict[str, str], workers: str) -> None:
    server = serve("probe:asgi", "--workers", workers, env=bare)
    assert str(server.get_json()["loop"]).startswith("asyncio")
    assert workers == "0" or "loop asyncio, parser builtin" in server.log


@pytest.mark.parametrize(
    ("option", "hint"),
    [("--loop=uvloop", "pip install uvloop, or use --loop asyncio"), ("--http=httptools", "or use --http builtin")],
)
def test_what_was_asked_for_and_is_not_there_is_a_wrong_option(
    serve: Serve, bare: dict[str, str], tmp_path: Path, option: str, hint: str
) -> None:
    server = serve("probe:asgi", "--workers", "1", option, env=bare, bind=f"unix:{tmp_path}/s", ready=False)
    assert server.exit_code() == 2
    assert hint in server.log
    assert "Traceback" not in server.log
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("application", ["probe:asgi", "probe:wsgi"])
def test_the_uncompiled_build_serves_where_the_tests_ask_for_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, application: str
) -> None:
    monkeypatch.setenv(PURE, "1")
    server = serve(application, "--workers", "1")
    assert f"(pure Python: {PURE} is set; " in server.log
    (worker,) = server.workers()
    assert server.get_json()["pid"] == worker
    mapped = {line.split()[-1] for line in Path(f"/proc/{worker}/maps").read_text().splitlines()}
    assert [name for name in mapped if "/shardserve/" in name and name.endswith(".so")] == []


def test_a_failed_fork_is_tried_again_and_ends_nobody(serve: Serve, tmp_path: Path) -> None:
    # os.fork fails in the supervisor while a file exists, as where the container has no process left.
    full = tmp_path / "full"
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nfork = os.fork\n"
        f"def maybe():\n    if os.path.exists({str(full)!r}):\n        raise BlockingIOError(11, 'no process left')\n"
        "    return fork()\nos.fork = maybe\n"
    )
    server = serve("probe:asgi", "--workers", "2", env={"PYTHONPATH": str(tmp_path)})
    victim, survivor = server.workers()
    full.touch()
    os.kill(victim, 9)
    server.wait_for("cannot start a worker: no process left; trying again")
    assert {server.get_json()["pid"] for _ in range(20)} == {survivor}
    full.unlink()
    server.wait_for("serves .ready", count=3)
    assert len(server.workers()) == 2

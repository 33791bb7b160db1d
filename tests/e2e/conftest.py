"""What every process test has: applications written for it, and the proof that nothing it started is left."""

from __future__ import annotations

import re
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.proc import eventually, marked
from support.site import Site

import shardserve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import Server

HERE = Path(__file__).parent
PACKAGE = Path(shardserve.__file__).parent
# A fault of the server's own: a traceback that begins with its frames, or loose ends that the interpreter reports.
# (Not faulthandler's "Fatal Python error": the stacks of a crash or a hang that the test itself caused.)
FAULT = re.compile(
    rf'Traceback \(most recent call last\):\n  File "{re.escape(str(PACKAGE))}/'
    r"|never retrieved|never awaited|was destroyed but|Exception ignored"
)


@pytest.fixture
def site(tmp_path: Path, serve: Callable[..., Server]) -> Site:
    """`site.write(source)` makes app.py, `site.serve("app:app")` serves it."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder, serve)


@pytest.fixture
def note() -> Callable[[object], None]:
    """Say a figure that is worth reading even when the test passes: `pytest -rP` shows it."""

    def say(figure: object) -> None:
        sys.stdout.write(f"{figure}\n")

    return say


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test of this folder every process that descends from it must have ended."""
    if request.path.parent != HERE:
        yield  # a folder below may keep its servers from one test to the next
        return
    mark = uuid.uuid4().hex
    monkeypatch.setenv("STARTED_BY_TEST", mark)
    yield
    eventually("every process of the test has ended", lambda: not marked("STARTED_BY_TEST", mark))


@pytest.fixture(autouse=True)
def no_fault_logged(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test of this folder no server may have logged a fault of its own."""
    yield
    for log in tmp_path.glob("server-*.log") if request.path.parent == HERE else ():
        text = log.read_text(errors="replace")
        assert not FAULT.search(text), text

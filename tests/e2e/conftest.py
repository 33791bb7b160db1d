"""What every process test has: applications written for it, and the proof that nothing it started is left."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.aftermath import assert_no_fault, nothing_left_after
from support.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import Server

HERE = Path(__file__).parent


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
    with nothing_left_after(monkeypatch):
        yield


@pytest.fixture(autouse=True)
def no_fault_logged(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test of this folder no server may have logged a fault of its own."""
    yield
    if request.path.parent == HERE:
        assert_no_fault(tmp_path)

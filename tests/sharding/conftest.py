"""What the matrix has in common: links, rows, the tables at the end, and the proof that nothing is left behind."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from support.aftermath import assert_no_fault, nothing_left_after
from support.delaylink import NEAR, delay_link
from support.matrix import FULL, HEADS, Link, Row, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_lines: dict[str, list[tuple[str, ...]]] = defaultdict(list)
_failed: set[str] = set()


ACROSS = (
    "test_reload",
    "test_stop_at_the_door",
    "test_an_address",
)  # the rows that a round-trip time makes a difference to


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test every process that descends from it must have ended."""
    with nothing_left_after(monkeypatch):
        yield


@pytest.fixture(autouse=True)
def no_fault_logged(tmp_path: Path) -> Iterator[None]:
    """After each test no server may have logged a fault of its own."""
    yield
    assert_no_fault(tmp_path)


@pytest.fixture(params=[0.0, 0.02], ids=["loopback", "20ms"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    """Loopback, and a link with 20 ms of round-trip time."""
    if not request.param:
        yield Link()
        return
    with delay_link(request.param) as enter:
        yield Link(request.param, NEAR, enter)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the reduced pass, only some rows run across the link as well."""
    if not FULL:
        items[:] = [one for one in items if "20ms" not in one.name or one.name.startswith(ACROSS)]


@pytest.fixture
def row(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[Row]:
    """A row of the table, printed whatever becomes of the test."""
    made = Row()
    yield made
    record_property("row", made.cells())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the lines that a test has added to a table (record_property goes the way of the reports, xdist's too)."""
    if report.failed:
        _failed.add(report.nodeid)
    if report.when == "teardown":
        for table, cells in report.user_properties:
            first, *others = map(str, cells)
            _lines[table].append((first + (" (FAILED)" if report.nodeid in _failed else ""), *others))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables."""
    if FULL:
        for table, head in HEADS.items():
            if _lines[table]:
                terminalreporter.section(f"{table}", sep="=")
                terminalreporter.write_line(draw(head, _lines[table]))

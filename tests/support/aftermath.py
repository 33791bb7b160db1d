"""What must hold after every test that started servers: nothing is left running, and no server logged its own fault."""

from __future__ import annotations

import re
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import shardserve
from support.proc import eventually, marked

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

_PACKAGE = Path(shardserve.__file__).parent
# A fault of the server's own: a traceback that begins with its frames, or loose ends that the interpreter reports.
# (Not faulthandler's "Fatal Python error": the stacks of a crash or a hang that the test itself caused.)
_FAULT = re.compile(
    rf'Traceback \(most recent call last\):\n  File "{re.escape(str(_PACKAGE))}/'
    r"|never retrieved|never awaited|was destroyed but|Exception ignored"
)


@contextmanager
def nothing_left_after(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every process that descends from what runs inside must have ended."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("STARTED_BY_TEST", mark)
    yield
    eventually("every process of the test has ended", lambda: not marked("STARTED_BY_TEST", mark))


def assert_no_fault(logs: Path) -> None:
    """No server that logged into the directory `logs` may have logged a fault of its own."""
    for log in logs.glob("server-*.log"):
        text = log.read_text(errors="replace")
        assert not _FAULT.search(text), text

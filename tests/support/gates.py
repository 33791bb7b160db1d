"""Gates: a test holds an application at a point of its choice, without sleeping and hoping. See also apps/gates.py.

A gate is a named pipe. `pass_gate` in the application reads an octet from it; `open` writes one.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Gate:
    """One gate, shut until `open`; `name` is what the application is told."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # with a writer from the start, no reader sees an end

    def open(self, times: int = 1) -> None:
        """Let `times` passages through, those that wait or those to come."""
        os.write(self._pipe, b"!" * times)

    def close(self) -> None:
        """Leave it open for whoever still waits: a failed test must not leave the application stuck."""
        os.write(self._pipe, b"!" * 64)
        os.close(self._pipe)


class Gates:
    """Makes gates in a directory of their own; `environment` tells an application where that is."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count(1)
        self.environment = {"TEST_GATES": str(directory)}

    def new(self) -> Gate:
        """Make a gate."""
        return Gate(self._directory / f"gate-{next(self._numbers)}")

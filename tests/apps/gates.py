"""Gates: named pipes by which a test decides when an application goes on. See support.gates for the test's side."""

from __future__ import annotations

import os
from pathlib import Path


def pass_gate(name: str) -> None:
    """Block this thread until the test opens the gate."""
    with Path(os.environ["TEST_GATES"], name).open("rb", buffering=0) as gate:
        gate.read(1)

"""The request cases of shared/http1cases (outside this repository): none may be read as another request than it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

CASES = Path(__file__).parents[3] / "shared" / "http1cases"


@pytest.mark.skipif(not (CASES / "visible.jsonl").is_file(), reason=f"{CASES} is not here")
@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_no_case_is_smuggled_and_none_fails(
    serve: Callable[..., Server], note: Callable[[object], None], parser: str
) -> None:
    server = serve("echo_app:app", "--workers", "1", "--http", parser, "--chdir", str(CASES))
    command = [sys.executable, "run.py", "127.0.0.1", str(server.port), "--cases", "visible.jsonl", "--fail-on", "fail"]
    done = subprocess.run(command, cwd=CASES, capture_output=True, text=True, timeout=60, check=False)
    note("\n".join(done.stdout.splitlines()[-3:]))
    assert done.returncode == 0, done.stdout + done.stderr

"""The request cases of shared/http1cases (outside this repository), over sockets; in pieces: tests/rfc."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

CASES = Path(__file__).parents[3] / "shared" / "http1cases"


# Judged FAIL or SOFT by the runner although they are right, or can be nothing else; see tests/rfc/test_http1cases.py.
KNOWN = 5
KNOWN_WSGI = ["own-expect-100-noread"]


@pytest.mark.skipif(not (CASES / "visible.jsonl").is_file(), reason=f"{CASES} is not here")
@pytest.mark.parametrize(
    ("parser", "app", "options"),
    [
        *((parser, app, ()) for parser in ("builtin", "httptools", "h11") for app in ("app", "wsgi_app")),
        ("builtin", "wsgi_app", ("--no-request-buffering",)),
    ],
)
def test_no_case_is_smuggled_and_none_of_ours_fails(
    serve: Callable[..., Server],
    note: Callable[[object], None],
    tmp_path: Path,
    parser: str,
    app: str,
    options: tuple[str, ...],
) -> None:
    usual = ("--workers", "1", "--threads", "16", "--http", parser, "--chdir", str(CASES))
    server = serve(f"echo_app:{app}", *usual, *options)
    verdicts = tmp_path / "verdicts.json"
    command = [sys.executable, "run.py", "127.0.0.1", str(server.port), "--cases", "visible.jsonl", "public.jsonl"]
    done = subprocess.run(
        [*command, "--json", str(verdicts)], cwd=CASES, capture_output=True, text=True, timeout=120, check=False
    )
    note("\n".join(done.stdout.splitlines()[-3:]))
    assert done.returncode == 0, done.stdout + done.stderr  # 1: smuggled
    not_passed = {name: why for name, why in json.loads(verdicts.read_text())["cases"].items() if why[0] != "PASS"}
    ours = [name for name in not_passed if name.startswith("own-")]
    assert ours == ([] if app == "app" or options else KNOWN_WSGI), not_passed
    assert len(not_passed) - len(ours) <= KNOWN, not_passed

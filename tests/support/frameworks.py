"""What the framework tests share: the combinations of parser and loop, a large upload, and looks into a worker."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support.server import Server

if TYPE_CHECKING:
    from support.gates import Gate

Launch = Callable[..., Server]
Browse = Callable[[Server], httpx.Client]

COMBINATIONS = [
    pytest.param(("--http", parser, "--loop", loop), id=f"{parser}-{loop}")
    for parser, loop in (("httptools", "uvloop"), ("h11", "asyncio"))
]
"""Options for a server: each parser once, and each loop once. What a framework sees of either does not depend on the
other (every pair: tests/e2e/test_http_basics.py); the default parser is that of all other tests."""


class Payload:
    """A file of `size` octets that do not repeat, and its digest."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        data = random.Random(size).randbytes(size)
        path.write_bytes(data)
        self.sha256 = hashlib.sha256(data).hexdigest()


class Peak:
    """The most memory that a process held since this was made, above what it held then."""

    def __init__(self, pid: int) -> None:
        self._directory = Path(f"/proc/{pid}")
        (self._directory / "clear_refs").write_text("5")  # the high-water mark starts again from here
        self._before = self._read("VmRSS")

    def growth(self) -> int:
        """Octets."""
        return self._read("VmHWM") - self._before

    def _read(self, field: str) -> int:
        found = re.search(rf"^{field}:\s+(\d+) kB$", (self._directory / "status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


def curl(*arguments: str) -> str:
    """Run curl and return what it prints; skips the test where there is no curl."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed (apt-get install curl)")
    done = subprocess.run(
        [program, "--silent", "--show-error", "--fail-with-body", "--max-time", "60", "--noproxy", "*", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"curl ended with {done.returncode}: {done.stderr}{done.stdout}"
    return done.stdout


def together(number: int, call: Callable[[], Any]) -> list[Any]:
    """Call `call` in `number` threads at once; their results. An exception in one is raised here."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def meet_all_workers(server: Server, ask: Callable[[], int], most: int = 300) -> set[int]:
    """Ask for a pid, on a new connection each time, until each worker has answered; at most `most` times."""
    workers = set(server.workers())
    seen: set[int] = set()
    for _ in range(most):
        seen.add(ask())
        if seen == workers:
            break
    assert seen == workers
    return seen


def check_streaming(client: httpx.Client, url: str, gate: Gate) -> str:
    """The first block of a response arrives while its application is held at `gate`; return what comes after it."""
    with client.stream("GET", url, params={"gate": gate.name}) as response:
        assert response.status_code == 200
        assert response.headers["transfer-encoding"] == "chunked"
        blocks = response.iter_text()
        assert next(blocks) == "first\n"
        gate.open()
        return "".join(blocks)

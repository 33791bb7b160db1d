"""A shardserve process of its own, on a free port, with its log: started, watched and always ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Self

from shardserve.build import PURE

TESTS = Path(__file__).parent.parent
APPS = TESTS / "apps"


class Server:
    """`Server("probe:asgi", "--workers", "4")` with tests/apps importable; use as a context manager.

    `port` is the kernel's choice; `log` is what it has written so far; `wait_for(text)` blocks until that is logged.
    """

    def __init__(
        self,
        app: str,
        *options: str,
        cwd: Path = APPS,
        env: dict[str, str] | None = None,
        bind: str | None = "127.0.0.1:0",
        launcher: tuple[str, ...] = ("-m", "shardserve"),
        pass_fds: tuple[int, ...] = (),
        log_path: Path,
    ) -> None:
        """`launcher` is what Python runs, with the arguments of the command: a script can stand in for the command.

        Without `bind`, the options or a file say where to listen.
        """
        self.log_path = log_path
        self._log = log_path.open("wb")
        command = [sys.executable, *launcher, app, *(() if bind is None else ("--bind", bind)), *options]
        # None of our own settings, but the build that the tests themselves run.
        clean = {key: value for key, value in os.environ.items() if key == PURE or not key.startswith("SHARDSERVE_")}
        for name in ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
            clean.pop(name, None)
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**clean, **(env or {})},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self.port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)  # a session of its own: nobody else is in the group
                self.process.wait(5)
        self._log.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def ready(self, timeout: float = 30) -> Server:
        """Wait until it serves; finds the port."""
        line = self.wait_for(r"(?:ready: \d+ of \d+ workers serve|serving) .* on (\S+)$", timeout)
        found = re.search(r"http://\S+:(\d+)", line)
        self.port = int(found[1]) if found else 0
        return self

    def wait_for(self, pattern: str, timeout: float = 30, count: int = 1) -> str:
        """Block until `pattern` (a regular expression) has been logged `count` times; return its last line."""
        end = time.monotonic() + timeout
        while True:
            lines = [line for line in self.log.splitlines() if re.search(pattern, line)]
            if len(lines) >= count:
                return lines[count - 1]
            if self.process.poll() is not None:
                lines = [line for line in self.log.splitlines() if re.search(pattern, line)]
                if len(lines) >= count:
                    return lines[count - 1]
                raise AssertionError(f"ended with {self.process.returncode} before {pattern!r}:\n{self.log}")
            if time.monotonic() > end:
                raise AssertionError(f"{pattern!r} was not logged in {timeout} s:\n{self.log}")
            time.sleep(0.01)

    def pause(self) -> None:
        """A tenth of a second, for a loop that looks for a change; fails if the server has ended."""
        assert self.process.poll() is None, self.log
        time.sleep(0.1)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def exit_code(self, timeout: float = 30) -> int:
        """Wait for the end."""
        return self.process.wait(timeout)

    def workers(self) -> list[int]:
        """The pids of its children."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def workers_left(self) -> list[int]:
        """Processes of the server's session that are still there after its end."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    cells = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(cells[3]) == self.pid and cells[0] != "Z":  # session; not a zombie
                    found.append(int(entry.name))
        return found

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str = "/", timeout: float = 10) -> bytes:
        """GET a path on a connection of its own; raises for anything but success."""
        with urllib.request.urlopen(self.url(path), timeout=timeout) as response:
            return bytes(response.read())

    def get_json(self, path: str = "/") -> dict[str, object]:
        """GET a path that answers with a JSON object."""
        return dict(json.loads(self.get(path)))

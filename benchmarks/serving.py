"""A server as a process of its own on one CPU: started, asked, measured by /proc, and always ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from environments import HERE, UnavailableError, program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = CPUS[0], CPUS[-1]
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 30  # seconds for a server to start
PATIENCE_FOR_ONE = 10  # seconds for one answer


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """A process and all below it; children may be of any of its threads."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it: every thread, and what has ended meanwhile.

    The clock of a process counts its ended threads too, in nanoseconds (clock_gettime(2)); children that have ended
    and were waited for are in cutime and cstime, in ticks (proc_pid_stat(5)).
    """
    total = 0.0
    for one in descendants(pid):
        try:
            cells = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += time.clock_gettime((~one << 3) | 2)  # the process's CPU clock, as clock_getcpuclockid(3) makes it
        except OSError:
            continue
        total += (int(cells[13]) + int(cells[14])) / TICKS
    return total


def busy_seconds() -> float:
    """What the server's CPU has worked so far, for whomever, and what the host has taken of it (proc_stat(5))."""
    row = next(row for row in Path("/proc/stat").read_text().splitlines() if row.startswith(f"cpu{SERVER_CPU} "))
    user, nice, system, _, _, irq, softirq, steal = map(int, row.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def pss(pid: int) -> list[int]:
    """Octets of a process, first, and of each below it; what they share is divided among those that share it."""
    found = []
    for one in descendants(pid):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            found.append(int(rollup.partition("\nPss:")[2].split()[0]) * 1024)
    return found


def anonymous(pid: int) -> int:
    """Octets of `pss` that are of no file: nobody but these processes shares them, whatever else runs."""
    found = 0
    for one in descendants(pid):
        with contextlib.suppress(OSError):
            rows = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            found += sum(int(row.split()[1]) * 1024 for row in rows if row.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return found


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server listens. Raises UnavailableError."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None:
                raise UnavailableError(f"ended with {process.returncode}") from None
            time.sleep(0.05)
        else:
            return
    raise UnavailableError(f"does not listen after {PATIENCE} s")


class Server:
    """A command that serves on `port`, pinned to SERVER_CPU; a context manager. `process.pid` is its first process."""

    def __init__(
        self, command: Sequence[str], port: int, *, environ: Mapping[str, str] | None = None, discard: bool = False
    ) -> None:
        """What it prints is kept for the reason of its end, unless it is to `discard` it (an access log)."""
        self.port = port
        self._folder = tempfile.TemporaryDirectory(prefix="shardserve-bench-")
        self._printed = Path(self._folder.name) / "printed"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SHARDSERVE_")}
        for name in ("VIRTUAL_ENV", "PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
            clean.pop(name, None)
        self.began = time.monotonic()
        self._printed.touch()
        with Path(os.devnull if discard else self._printed).open("wb") as output:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(SERVER_CPU), *command],
                cwd=HERE,
                env={**clean, "PYTHONPATH": str(HERE), "TMPDIR": self._folder.name, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):  # the session is ours: what it has left behind
            os.killpg(self.process.pid, signal.SIGKILL)
        self._folder.cleanup()

    def reason(self) -> str:
        """Why it ended, or does not answer: its last line that is not empty."""
        state = self.process.poll()
        if state is not None and state < 0:  # what it said last has nothing to do with it
            return f"was ended by {signal.Signals(-state).name}"
        lines = [line for line in self._printed.read_text(errors="replace").splitlines() if line.strip()]
        said = f": {lines[-1].strip()[:200]}" if lines else ""
        return (f"ended with {state}" if state is not None else f"does not answer after {PATIENCE} s") + said

    def wait(self, path: str) -> float:
        """Wait until a GET is answered with success; returns the seconds since the start. Raises UnavailableError."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", path)[0] == 200:
                    return time.monotonic() - self.began
            time.sleep(0.005)
        raise UnavailableError(self.reason())

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One request: the status and the body of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_FOR_ONE)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()


@contextmanager
def serving(command: Sequence[str], port: int) -> Iterator[int]:
    """A server from listening to its end: its process id. `command` begins with the name of a server's program."""
    with Server([program(command[0]), *command[1:]], port) as server:
        wait_for(port, server.process)
        yield server.process.pid

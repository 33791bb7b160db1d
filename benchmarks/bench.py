"""Measure shardserve beside its peers: one run, interleaved rounds, requests per CPU second of the server.

    python bench.py [--rounds 5] [--seconds 3] [--only NAME ...]

Every server runs alone with one worker on CPU 0 while wrk loads it from CPU 1. What counts is requests divided by the
CPU seconds (user and system, all processes and threads) that the server used meanwhile: on a noisy machine that is
much steadier than requests a second. Prints a table, writes results.json and the table in README.md. Loopback only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
CONNECTIONS = 64
TICKS = os.sysconf("SC_CLK_TCK")
BEGIN, END = "<!-- table begins -->", "<!-- table ends -->"

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Connection": "keep-alive",
    "Cookie": "session=0123456789abcdefghijklmnopqrstuvwxyz; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}
WORKLOADS = {
    "plain GET": ("/", {}),
    "GET, 11 headers": ("/items/42?page=1&sort=name", BROWSER),
    "connection per request": ("/", {"Connection": "close"}),
}


@dataclass(frozen=True)
class Contender:
    """One server: its name in the table, the package whose version is printed, its command ({port} is filled in)."""

    name: str
    package: str
    interface: str
    command: tuple[str, ...]


CONTENDERS = (
    Contender("shardserve", "shardserve", "asgi", ("shardserve", "apps:asgi", "-w", "1", "-b", "127.0.0.1:{port}")),
    Contender(
        "uvicorn (uvloop, httptools)",
        "uvicorn",
        "asgi",
        ("uvicorn", "apps:asgi", "--port", "{port}", "--no-access-log", "--loop", "uvloop", "--http", "httptools"),
    ),
    Contender(
        "granian",
        "granian",
        "asgi",
        ("granian", "--interface", "asgi", "--port", "{port}", "--workers", "1", "--no-log", "apps:asgi"),
    ),
    Contender("gunicorn asgi", "gunicorn", "asgi", ("gunicorn", "-k", "asgi", "-b", "127.0.0.1:{port}", "apps:asgi")),
    Contender("shardserve", "shardserve", "wsgi", ("shardserve", "apps:wsgi", "-w", "1", "-b", "127.0.0.1:{port}")),
    Contender(
        "granian",
        "granian",
        "wsgi",
        ("granian", "--interface", "wsgi", "--port", "{port}", "--workers", "1", "--no-log", "apps:wsgi"),
    ),
    Contender(
        "gunicorn gthread",
        "gunicorn",
        "wsgi",
        ("gunicorn", "-k", "gthread", "--threads", "4", "-b", "127.0.0.1:{port}", "apps:wsgi"),
    ),
)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            found += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except OSError:
            continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it, every thread included (proc_pid_stat(5))."""
    total = 0
    for one in descendants(pid):
        try:
            cells = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(cells[11]) + int(cells[12])
    return total / TICKS


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}") from None
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server does not listen")


@contextmanager
def serving(command: Sequence[str], port: int) -> Iterator[int]:
    """A server alone on CPU 0, from listening to its end: its process id. `command` begins with a program beside us."""
    process = subprocess.Popen(
        ["taskset", "-c", "0", str(BIN / command[0]), *command[1:]],
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def load(port: int, workload: str, seconds: int) -> tuple[int, int]:
    """Run wrk; returns (requests answered with success, anything else)."""
    path, headers = WORKLOADS[workload]
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    out = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True, timeout=seconds + 30
    ).stdout
    requests = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    wrong = (int(bad[1]) if bad else 0) + (sum(map(int, errors.groups())) if errors else 0)
    return requests, wrong


def measure(contender: Contender, seconds: int) -> dict[str, float]:
    """Requests per CPU second for each workload, one fresh server for all of them."""
    port = free_port()
    results = {}
    with serving([word.format(port=port) for word in contender.command], port) as pid:
        load(port, "plain GET", 1)  # warm up
        for workload in WORKLOADS:
            before = cpu_seconds(pid)
            requests, wrong = load(port, workload, seconds)
            used = cpu_seconds(pid) - before
            if wrong and workload != "connection per request":  # wrk counts each close as a read error
                print(f"   {contender.name}, {workload}: {wrong} failed", file=sys.stderr)
            results[workload] = requests / used
    return results


def package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def table(figures: dict[str, dict[str, list[float]]], contenders: list[Contender], rounds: int) -> str:
    """The medians, in thousands, each with its ratio to shardserve's; the spread of the rounds in brackets."""
    lines = [
        f"Medians of {rounds} interleaved rounds, thousand requests per CPU second; in brackets the spread of the",
        "rounds, then shardserve's figure divided by it.",
        "",
        "| server | " + " | ".join(WORKLOADS) + " |",
        "|---|" + "---|" * len(WORKLOADS),
    ]
    for contender in contenders:
        cells = []
        for workload in WORKLOADS:
            values = figures[f"{contender.interface} {contender.name}"][workload]
            ours = statistics.median(figures[f"{contender.interface} shardserve"][workload])
            median = statistics.median(values)
            ratio = "" if contender.name == "shardserve" else f", **{ours / median:.2f}x**"
            cells.append(f"{median / 1000:.1f} ({min(values) / 1000:.1f}-{max(values) / 1000:.1f}){ratio}")
        name = f"{contender.interface.upper()}: {contender.name} {package_version(contender.package)}"
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            print(f"{tool} is missing: apt-get install wrk util-linux", file=sys.stderr)
            return 1
    contenders = [
        one
        for one in CONTENDERS
        if not options.only or one.name == "shardserve" or any(word in one.name for word in options.only)
    ]
    for one in list(contenders):
        if not package_version(one.package):
            print(f"{one.name}: skipped, {one.package} is not installed", file=sys.stderr)
            contenders.remove(one)
    figures: dict[str, dict[str, list[float]]] = {}
    for number in range(options.rounds):
        for one in contenders:
            print(f"round {number + 1}: {one.interface} {one.name}", file=sys.stderr)
            for workload, value in measure(one, options.seconds).items():
                figures.setdefault(f"{one.interface} {one.name}", {}).setdefault(workload, []).append(value)
    machine = f"CPython {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} CPUs, "
    machine += f"{time.strftime('%Y-%m-%d')}, `make bench`"
    text = f"{machine}\n\n{table(figures, contenders, options.rounds)}\n"
    print(text)
    (HERE / "results.json").write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")
    readme = HERE / "README.md"
    old = readme.read_text()
    readme.write_text(old[: old.index(BEGIN) + len(BEGIN)] + "\n" + text + old[old.index(END) :])
    return 0


if __name__ == "__main__":
    sys.exit(main())

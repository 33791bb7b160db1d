"""Runs the load tools, and reads what they print: wrk as fast as it goes, h2load at a fixed rate."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from environments import HERE
from serving import LOAD_CPU

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads import Workload

PERCENTILES = (50, 90, 99)
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_SIZES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


@dataclass
class Load:
    """`errors`: refused, reset, timed out, not 2xx, or shorter than right; `percentiles` of the latency in ms."""

    requests: int
    errors: int
    seconds: float
    percentiles: dict[int, float]


class LoadError(Exception):
    """The tool failed, or what it printed cannot be read."""


def fast(port: int, workload: Workload, path: str, seconds: float) -> Load:
    """wrk: each connection asks again as soon as it has its answer."""
    command = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds:g}s", "--latency", "--timeout", "10s"]
    for name, value in workload.headers.items():
        command += ["-H", f"{name}: {value}"]
    if workload.script:
        command += ["-s", str(HERE / "wrk" / f"{workload.script}.lua")]
    command.append(f"http://127.0.0.1:{port}{path}")
    if workload.script:
        command += ["--", str(workload.argument)]
    return read_wrk(_run(command, seconds), workload)


def read_wrk(text: str, workload: Workload) -> Load:
    """What wrk has printed."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m), ([\d.]+)([KMGT]?B) read", text)
    if total is None:
        raise LoadError(f"wrk printed {text.strip()[-200:]!r}")
    requests = int(total[1])
    if not requests:
        raise LoadError("no request was answered")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    wrong = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = int(bad[1]) if bad else 0
    if wrong:
        # Where each answer ends its connection, wrk counts some ends it asked for as failed reads.
        errors += sum(int(wrong[number]) for number in (1, 3, 4)) + (0 if workload.closes else int(wrong[2]))
    octets = float(total[4]) * _SIZES[total[5]]
    if octets < 0.99 * requests * workload.size:
        errors += requests  # answers shorter than the right one
    took = dict(re.findall(r"^ +(\d+)%\s+([\d.]+(?:us|ms|s|m)) *$", text, re.MULTILINE))
    percentiles = {one: _milliseconds(took[str(one)]) for one in PERCENTILES}
    return Load(requests, errors, float(total[2]) * _UNITS[total[3]] / 1000, percentiles)


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


def paced(port: int, workload: Workload, path: str, seconds: float, rate: float) -> Load:
    """h2load: so many requests a second in all, spread evenly over the connections, over HTTP/1.1."""
    with tempfile.NamedTemporaryFile(prefix="shardserve-bench-", suffix=".tsv") as log:
        command = ["h2load", "--h1", "-t1", f"-c{workload.connections}", f"-D{max(1, round(seconds))}"]
        command += ["--warm-up-time=1", f"--rps={rate / workload.connections:.3f}", f"--log-file={log.name}"]
        text = _run([*command, f"http://127.0.0.1:{port}{path}"], seconds)
        return read_h2load(text, Path(log.name).read_text(), seconds)


def read_h2load(text: str, log: str, seconds: float) -> Load:
    """What h2load has printed and, a line for each request, logged: when it began in us, status, how long in us."""
    failed = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    if failed is None:
        raise LoadError(f"h2load printed {text.strip()[-200:]!r}")
    rows = [row.split("\t") for row in log.splitlines()]
    took = sorted(int(row[2]) for row in rows if row[1] == "200")
    if not took:
        raise LoadError("no request was answered with 200")
    errors = sum(row[1] != "200" for row in rows) + int(failed[4])
    percentiles = {one: took[min(len(took) - 1, len(took) * one // 100)] / 1000 for one in PERCENTILES}
    return Load(len(took), errors, max(1, round(seconds)), percentiles)


@contextmanager
def idle(port: int, number: int, path: str) -> Iterator[None]:
    """So many connections that have had an answer each, and are kept open without a further request."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(number):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            sock.sendall(request)
            if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
                raise LoadError("an idle connection was not answered")
        yield


def _run(command: list[str], seconds: float) -> str:
    """Run a tool on the load's CPU. Raises LoadError."""
    done = subprocess.run(
        ["taskset", "-c", str(LOAD_CPU), *command], capture_output=True, text=True, timeout=seconds + 60
    )
    if done.returncode:
        raise LoadError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout

"""The benchmark itself: a tiny run makes JSON and a table, and what its tools print is read right."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

WRK = """\
Running 2s test @ http://127.0.0.1:8000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.33ms  700.10us  11.20ms   75.00%
    Req/Sec    44.00k     1.10k   46.00k    90.00%
  Latency Distribution
     50%    1.25ms
     75%    1.60ms
     90%  980.00us
     99%    1.10s 
  2000 requests in 2.01s, 4.00MB read
{more}Requests/sec:  43781.09
Transfer/sec:      4.05MB
"""  # noqa: W291 (wrk ends its lines so)
FAULTS = "  Socket errors: connect 1, read 20, write 3, timeout 5\n  Non-2xx or 3xx responses: 7\n"


@pytest.fixture
def load_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of benchmarks/ by its name."""

    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module(name)

    return load


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is missing: apt-get install wrk")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU is for the server, one for the load")
def test_slices_compare_what_they_are_told_to() -> None:
    command = [sys.executable, str(BENCHMARKS / "slices.py"), "plain", "wsgi shardserve", "asgi shardserve", "--here"]
    done = subprocess.run([*command, "--rounds", "2", "--processes", "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    _, base, other = done.stdout.splitlines()
    assert base.startswith("wsgi shardserve")
    assert base.endswith(" 1.000 +- 0.000")
    assert other.startswith("asgi shardserve")
    assert 0 < float(other.split()[-3]) < 100


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is missing: apt-get install wrk")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU is for the server, one for the load")
def test_a_tiny_run_makes_json_and_a_table(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    command = [sys.executable, str(BENCHMARKS / "bench.py"), "--here", "--quick", "--only", "asgi shardserve"]
    command += ["--workload", "plain", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(output.read_text())["workloads"]["plain"]
    figures = one["figures"]["asgi shardserve"]
    assert figures["requests"] > 0
    assert figures["errors"] == 0
    assert figures["per_cpu_second"] > 0
    assert 0 < figures["p50"] <= figures["p99"]
    assert "| requests per CPU second | plain GET |" in done.stdout
    assert "| **ASGI: shardserve" in done.stdout


def test_what_wrk_prints_is_read(load_module: Any) -> None:
    load, workloads = load_module("load"), load_module("workloads")
    got = load.read_wrk(WRK.format(more=""), workloads.BY_NAME["plain"])
    assert (got.requests, got.errors, got.seconds) == (2000, 0, 2.01)
    assert got.percentiles == {50: 1.25, 90: 0.98, 99: 1100}


def test_every_kind_of_failure_is_counted(load_module: Any) -> None:
    load, workloads = load_module("load"), load_module("workloads")
    assert load.read_wrk(WRK.format(more=FAULTS), workloads.BY_NAME["plain"]).errors == 1 + 20 + 3 + 5 + 7
    assert load.read_wrk(WRK.format(more=FAULTS), workloads.BY_NAME["close"]).errors == 1 + 3 + 5 + 7
    short = load.read_wrk(WRK.format(more=""), workloads.BY_NAME["body-64k"])
    assert short.errors == 2000, "answers shorter than the right one are no successes"


def test_what_h2load_prints_and_logs_is_read(load_module: Any) -> None:
    load = load_module("load")
    printed = "requests: 101 total, 101 started, 101 done, 100 succeeded, 1 failed, 0 errored, 2 timeout\n"
    log = "".join(f"{1000 + number}\t200\t{number * 10}\n" for number in range(100)) + "2000\t503\t7\n"
    got = load.read_h2load(printed, log, 2.0)
    assert (got.requests, got.errors, got.seconds) == (100, 1 + 2, 2)
    assert got.percentiles == {50: 0.5, 90: 0.9, 99: 0.99}


def _round(**figures: int) -> dict[str, Any]:
    return {"commit": "c", "date": "d", "seconds": 1, "figures": {name: {"p50": p50} for name, p50 in figures.items()}}


def test_a_run_replaces_what_it_measured_and_no_more(load_module: Any, tmp_path: Path) -> None:
    results = load_module("results")
    old = results.read(tmp_path / "none.json")
    old["workloads"] = {"plain": [_round(a=1, b=2)], "close": [_round(a=3)]}
    new = {"versions": {}, "skipped": {}, "workloads": {"plain": [_round(b=5)]}}
    merged = results.merge(old, new, add=False)["workloads"]
    assert merged == {"plain": [_round(a=1), _round(b=5)], "close": [_round(a=3)]}
    added = results.merge(old, new, add=True)["workloads"]
    assert added["plain"] == [_round(a=1, b=2), _round(b=5)]

"""What was measured, as JSON: every figure of every round, and of each round when and at which commit.

workloads: NAME: [round, ...], each {commit, date, seconds, figures: {CONTENDER: {...}}} in the order measured
footprint, help: {commit, date, figures: {...}}
versions, skipped: by contender
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from environments import REPOSITORY

Results = dict[str, Any]

_INNERMOST = re.compile(r"\{[^{}]*\}")


def machine() -> str:
    """CPU, number of CPUs, kernel."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, {platform.machine()}"


def stamp() -> dict[str, str]:
    """When, and at which commit; a + behind it says that files of shardserve differ from it."""
    git = ["git", "-C", str(REPOSITORY)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "shardserve"], capture_output=True, text=True).stdout
    return {"commit": commit + ("+" if changed else ""), "date": time.strftime("%Y-%m-%d %H:%M")}


def read(path: Path) -> Results:
    """Results of before, or none."""
    found: Results = json.loads(path.read_text()) if path.exists() else {}
    for part in ("workloads", "versions", "skipped"):
        found.setdefault(part, {})
    return found


def write(path: Path, results: Results) -> None:
    """A line for each contender in each round, so that a difference of two runs can be read."""
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1)
    path.write_text(_INNERMOST.sub(lambda found: " ".join(found[0].split()), text) + "\n")


def merge(old: Results, new: Results, *, add: bool) -> Results:
    """What `new` measured replaces the same workload and contender of `old`, or is `add`ed as more rounds."""
    merged = {**old, **{part: value for part, value in new.items() if part not in ("workloads", "versions", "skipped")}}
    merged["versions"] = {**old["versions"], **new["versions"]}
    tried = {*new["versions"], *new["skipped"]}
    merged["skipped"] = {key: why for key, why in old["skipped"].items() if key not in tried} | new["skipped"]
    merged["workloads"] = dict(old["workloads"])
    for name, rounds in new["workloads"].items():
        kept = old["workloads"].get(name, [])
        if not add:
            measured = {key for one in rounds for key in one["figures"]}
            kept = [_without(one, measured) for one in kept]
        merged["workloads"][name] = [one for one in kept if one["figures"]] + rounds
    return merged


def _without(one: dict[str, Any], measured: set[str]) -> dict[str, Any]:
    return {**one, "figures": {key: figures for key, figures in one["figures"].items() if key not in measured}}


def values(results: Results, workload: str, key: str, figure: str) -> list[float]:
    """A figure of a contender in each round that it has one in."""
    rounds = results["workloads"].get(workload, [])
    return [one["figures"][key][figure] for one in rounds if figure in one["figures"].get(key, {})]


def median(results: Results, workload: str, key: str, figure: str) -> float | None:
    found = values(results, workload, key, figure)
    return statistics.median(found) if found else None


def times(results: Results, workload: str, key: str, other: str, figure: str) -> float | None:
    """How many times the median of `key` is that of `other`, over the rounds that have both; None where none has."""
    rounds = [one["figures"] for one in results["workloads"].get(workload, [])]
    both = [one for one in rounds if all(figure in one.get(each, {}) for each in (key, other))]
    if not both:
        return None
    return statistics.median(one[key][figure] for one in both) / statistics.median(one[other][figure] for one in both)


def faults(results: Results, workload: str, key: str) -> tuple[int, str]:
    """Failed requests in all rounds, and why there was no figure in one of them."""
    errors, why = 0, ""
    for one in results["workloads"].get(workload, []):
        figures = one["figures"].get(key, {})
        errors += figures.get("errors", 0)
        why = why or figures.get("failed", "")
    return errors, why

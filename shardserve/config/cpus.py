"""How many workers `--workers auto` means: the CPUs this process may really use. Reads /proc and /sys, nothing else."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Literal

from shardserve.config.cgroups import find_groups, read


def choose_workers(workers: int | Literal["auto"], *, root: Path = Path("/")) -> tuple[int, str]:
    """The number of workers to run and, in words for the start lines, the reason.

    "auto" is the number of CPUs in this process's affinity mask, or its cgroup's CPU quota rounded up where that is
    smaller; never less than 1. `root` is where proc and sys are looked for. Raises nothing: what cannot be read
    sets no limit.
    """
    if workers != "auto":
        return workers, "as configured"
    cpus = len(os.sched_getaffinity(0))
    quota = _quota(root)
    if quota is not None and math.ceil(quota) < cpus:
        return max(1, math.ceil(quota)), f"cgroup quota of {_cpus(quota)}"
    return cpus, f"{_cpus(cpus)} by affinity"


def _cpus(number: float) -> str:
    return f"{number:.3g} CPU{'' if number == 1 else 's'}"


def _quota(root: Path) -> float | None:
    """The smallest CPU quota that binds this process, in CPUs; None if there is none."""
    read_quota = {1: _quota_v1, 2: _quota_v2}
    found = (read_quota[version](group) for version, group in find_groups("cpu", root))
    return min((quota for quota in found if quota is not None), default=None)


def _quota_v2(group: Path) -> float | None:
    quota, _, period = read(group / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_v1(group: Path) -> float | None:
    return _ratio(read(group / "cpu.cfs_quota_us"), read(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """CPUs from two numbers of microseconds; None for "max", -1 and whatever is no number."""
    try:
        used, of = int(quota), int(period)
    except ValueError:
        return None
    return used / of if used > 0 and of > 0 else None

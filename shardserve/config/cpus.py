"""How many workers `--workers auto` means: the CPUs this process may really use. Reads /proc and /sys, nothing else."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    found = (read(group) for read, group in _groups(root))
    return min((quota for quota in found if quota is not None), default=None)


def _groups(root: Path) -> Iterator[tuple[Callable[[Path], float | None], Path]]:
    """Each cgroup directory that may limit this process, with the function that reads its quota."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            for group in _upwards(mount, path):
                yield _quota_v2, group
        elif "cpu" in controllers.split(","):
            # The directory carries the list of controllers as its name, and usually a link for each of them.
            for name in {controllers, "cpu"}:
                for group in _upwards(mount / name, path):
                    yield _quota_v1, group


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group at `path` and its ancestors up to the mount: a limit on any of them binds.

    In a container `path` may be the host's and lead nowhere under `mount`; the mount itself is then the group.
    """
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # a group outside this cgroup namespace, out of sight
        parts = []
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _quota_v2(group: Path) -> float | None:
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_v1(group: Path) -> float | None:
    return _ratio(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """CPUs from two numbers of microseconds; None for "max", -1 and whatever is no number."""
    try:
        used, of = int(quota), int(period)
    except ValueError:
        return None
    return used / of if used > 0 and of > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""

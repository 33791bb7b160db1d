"""How much memory is left, by machines and control groups like real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shardserve.config.memory import free_memory

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = "MemTotal:       8000 kB\nMemFree:         100 kB\nMemAvailable:   4000 kB"


def machine(root: Path, membership: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": membership, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def test_the_machine_alone(tmp_path: Path) -> None:
    assert free_memory(root=machine(tmp_path, "0::/", {"proc/meminfo": MACHINE})) == 4096000


def test_nobody_says(tmp_path: Path) -> None:
    assert free_memory(root=tmp_path) is None


@pytest.mark.parametrize(("limit", "free"), [("1000000", 400000), ("max", 4096000), ("50000000", 4096000)])
def test_version_2_counts_what_can_be_dropped_as_free(tmp_path: Path, limit: str, free: int) -> None:
    group = "sys/fs/cgroup/pod/app"
    files = {
        "proc/meminfo": MACHINE,
        f"{group}/memory.max": limit,
        f"{group}/memory.current": "900000",
        f"{group}/memory.stat": "anon 5\ninactive_file 300000\nactive_file 7",
    }
    assert free_memory(root=machine(tmp_path, "0::/pod/app", files)) == free


def test_an_ancestor_may_be_tighter(tmp_path: Path) -> None:
    files = {}
    for group, usage in (("sys/fs/cgroup/pod/app", 100), ("sys/fs/cgroup/pod", 900)):
        files |= {f"{group}/memory.max": "1000", f"{group}/memory.current": str(usage)}
    assert free_memory(root=machine(tmp_path, "0::/pod/app", files)) == 100


def test_version_1(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/docker/x"
    files = {
        "proc/meminfo": MACHINE,
        f"{group}/memory.limit_in_bytes": "1000000",
        f"{group}/memory.usage_in_bytes": "900000",
        f"{group}/memory.stat": "cache 9\ninactive_file 1\ntotal_inactive_file 50000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "5000000",
    }
    assert free_memory(root=machine(tmp_path, "4:memory:/docker/x\n0::/", files)) == 150000


def test_on_this_machine() -> None:
    free = free_memory()
    assert free is None or free > 0

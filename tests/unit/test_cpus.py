"""How many workers "auto" makes of affinity masks and cgroup trees like those of real machines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from shardserve.config.cpus import choose_workers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def machine(root: Path, membership: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": membership, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def test_a_number_is_taken_as_it_is(tmp_path: Path) -> None:
    assert choose_workers(4, root=tmp_path) == (4, "as configured")
    assert choose_workers(0, root=tmp_path) == (0, "as configured")


def test_affinity_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_workers("auto", root=tmp_path) == (8, "8 CPUs by affinity")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5})
    assert choose_workers("auto", root=tmp_path) == (1, "1 CPU by affinity")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("50000 100000", (1, "cgroup quota of 0.5 CPUs")),
        ("100000 100000", (1, "cgroup quota of 1 CPU")),
        ("150000 100000", (2, "cgroup quota of 1.5 CPUs")),
        ("400000 100000", (4, "cgroup quota of 4 CPUs")),
        ("800000 100000", (8, "8 CPUs by affinity")),
        ("9900000 100000", (8, "8 CPUs by affinity")),
        ("max 100000", (8, "8 CPUs by affinity")),
        ("what is this", (8, "8 CPUs by affinity")),
        ("", (8, "8 CPUs by affinity")),
        ("100000 0", (8, "8 CPUs by affinity")),
    ],
)
def test_version_2(tmp_path: Path, limit: str, expected: tuple[int, str]) -> None:
    root = machine(tmp_path, "0::/app", {"sys/fs/cgroup/app/cpu.max": limit})
    assert choose_workers("auto", root=root) == expected


def test_the_smallest_limit_of_all_ancestors_binds(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/slice/pod/app",
        {
            "sys/fs/cgroup/slice/cpu.max": "600000 100000",
            "sys/fs/cgroup/slice/pod/cpu.max": "300000 100000",
            "sys/fs/cgroup/slice/pod/app/cpu.max": "max 100000",
        },
    )
    assert choose_workers("auto", root=root) == (3, "cgroup quota of 3 CPUs")


def test_a_sibling_does_not_bind(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/a", {"sys/fs/cgroup/b/cpu.max": "100000 100000"})
    assert choose_workers("auto", root=root) == (8, "8 CPUs by affinity")


@pytest.mark.parametrize("path", ["/", "/docker/of-the-host", "/../../elsewhere"])
def test_in_a_container_the_mount_is_the_group(tmp_path: Path, path: str) -> None:
    root = machine(tmp_path, f"0::{path}", {"sys/fs/cgroup/cpu.max": "200000 100000"})
    assert choose_workers("auto", root=root) == (2, "cgroup quota of 2 CPUs")


@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
def test_version_1(tmp_path: Path, folder: str) -> None:
    at = f"sys/fs/cgroup/{folder}/docker/x"
    root = machine(
        tmp_path,
        "9:name=systemd:/\n4:cpu,cpuacct:/docker/x\n3:cpuset:/\n0::/",
        {f"{at}/cpu.cfs_quota_us": "250000", f"{at}/cpu.cfs_period_us": "100000"},
    )
    assert choose_workers("auto", root=root) == (3, "cgroup quota of 2.5 CPUs")


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    at = "sys/fs/cgroup/cpu"
    root = machine(tmp_path, "1:cpu:/", {f"{at}/cpu.cfs_quota_us": "-1", f"{at}/cpu.cfs_period_us": "100000"})
    assert choose_workers("auto", root=root) == (8, "8 CPUs by affinity")


def test_on_this_machine() -> None:
    number, reason = choose_workers("auto")
    assert number >= 1
    assert "CPU" in reason

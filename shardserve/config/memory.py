"""How much memory is left for one process more: what the machine has, or the control groups allow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shardserve.config.cgroups import find_groups, read

if TYPE_CHECKING:
    from collections.abc import Iterator

# The files of each version: limit, usage, and in memory.stat what of the usage is files' pages that can be dropped.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def free_memory(*, root: Path = Path("/")) -> int | None:
    """Octets this process and its siblings may still take before something is killed; None where nobody says.

    The least of MemAvailable (proc_meminfo(5)) and what each control group leaves. `root` is where proc and sys are
    looked for.
    """
    return min(_found(root), default=None)


def _found(root: Path) -> Iterator[int]:
    available = _fields(root / "proc/meminfo").get("MemAvailable:", "")
    if available.isdecimal():
        yield int(available) * 1024
    for version, group in find_groups("memory", root):
        limit, usage, droppable = _FILES[version]
        most, used = read(group / limit), read(group / usage)
        if most.isdecimal() and used.isdecimal():  # not "max"; version 1 says a number no machine has
            yield int(most) - int(used) + int(_fields(group / "memory.stat").get(droppable, "0"))


def _fields(path: Path) -> dict[str, str]:
    """Lines of a name and a number."""
    lines = (line.split() for line in read(path).splitlines())
    return {cells[0]: cells[1] for cells in lines if len(cells) > 1}

"""The control groups that may limit this process, of either version (cgroups(7)): where their files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def find_groups(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    """Each directory that may hold a limit of `controller` on this process, with the version of its files, 1 or 2.

    `root` is where proc and sys are looked for.
    """
    mount = root / "sys/fs/cgroup"
    for line in read(root / "proc/self/cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            for group in _upwards(mount, path):
                yield 2, group
        elif controller in controllers.split(","):
            # The directory carries the list of controllers as its name, and usually a link for each of them.
            for name in {controllers, controller}:
                for group in _upwards(mount / name, path):
                    yield 1, group


def read(path: Path) -> str:
    """The text of a small file; "" where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group at `path` and its ancestors up to the mount: a limit on any of them binds.

    In a container `path` may be the host's and lead nowhere under `mount`; the mount itself is then the group.
    """
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # a group outside this cgroup namespace, out of sight
        parts = []
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])

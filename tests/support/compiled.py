"""Whether the compiled modules of this source tree are those of its sources."""

from __future__ import annotations

from pathlib import Path
from sysconfig import get_config_var

from shardserve import build

TREE = Path(__file__).parents[2]


def stale_modules(tree: Path = TREE, modules: tuple[str, ...] = build.COMPILED) -> list[str]:
    """Modules whose extension for this Python is older than its source, or than the types of any module.

    None where what is tested is another, installed shardserve.
    """
    if tree == TREE and not Path(build.__file__).is_relative_to(tree):
        return []
    types = [path.stat().st_mtime for path in tree.glob("shardserve/**/*.pxd")]
    stale = []
    for name in modules:
        source = tree / f"{name.replace('.', '/')}.py"
        extension = source.with_suffix(get_config_var("EXT_SUFFIX"))
        if extension.exists() and extension.stat().st_mtime < max([source.stat().st_mtime, *types]):
            stale.append(name)
    return stale

"""Whether the compiled modules of this source tree are those of its sources."""

from __future__ import annotations

from pathlib import Path
from sysconfig import get_config_var

import shardserve
from shardserve.build import COMPILED

TREE = Path(shardserve.__file__).parent.parent


def stale_modules(tree: Path = TREE, modules: tuple[str, ...] = COMPILED) -> list[str]:
    """Modules whose extension for this Python is older than its source, or than the types of any module."""
    types = [path.stat().st_mtime for path in tree.glob("shardserve/**/*.pxd")]
    stale = []
    for name in modules:
        source = tree / f"{name.replace('.', '/')}.py"
        extension = source.with_suffix(get_config_var("EXT_SUFFIX"))
        if extension.exists() and extension.stat().st_mtime < max([source.stat().st_mtime, *types]):
            stale.append(name)
    return stale

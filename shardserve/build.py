"""Which build runs: what of the hot path is compiled, and how to run it as Python all the same (docs/building.md).

`COMPILED` is the one list of modules that setup.py compiles. Each is plain Python, with types in a .pxd file beside it,
and runs uncompiled as well. Open to every layer; imports nothing of shardserve, because setup.py reads it.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPILED = (
    "shardserve.native",
    "shardserve.net.blackbox",
    "shardserve.net.loads",
    "shardserve.net.poller",
    "shardserve.net.transport",
    "shardserve.http.access",
    "shardserve.http.chunked",
    "shardserve.http.connection",
    "shardserve.http.exchange",
    "shardserve.http.grammar",
    "shardserve.http.h1",
    "shardserve.http.h1_files",
    "shardserve.http.h1_reading",
    "shardserve.http.h1_writing",
    "shardserve.http.head",
    "shardserve.http.parsers.builtin_parser",
    "shardserve.http.parsers.scanner",
    "shardserve.http.request",
    "shardserve.http.request_line",
    "shardserve.http.service",
    "shardserve.gateway.asgi",
    "shardserve.gateway.asgi_extensions",
    "shardserve.gateway.environ",
    "shardserve.gateway.fair",
    "shardserve.gateway.inside",
    "shardserve.gateway.spool",
    "shardserve.gateway.target",
    "shardserve.gateway.wsgi",
    "shardserve.gateway.threads",
    "shardserve.gateway.turns",
    "shardserve.gateway.wsgi_inline",
    "shardserve.gateway.wsgi_pool",
    "shardserve.worker.accept",
    "shardserve.worker.loop",
    "shardserve.worker.opening",
    "shardserve.worker.registry",
    "shardserve.http.last_head",
    "shardserve.http.line_writer",
    "shardserve.http.pace",
)
PURE = "SHARDSERVE_PURE"  # the variable: 1 = compile nothing (when installed), import nothing compiled (when run)
REQUIRE = "SHARDSERVE_COMPILED"  # 1 = an installation fails where a module cannot be compiled


class _SourceFinder:
    """Finds the Python source of our modules, even where a compiled one stands beside it."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if name not in COMPILED:
            return None
        finders = (FileFinder(folder, (SourceFileLoader, [".py"])) for folder in path or ())
        return next((spec for finder in finders if (spec := finder.find_spec(name)) is not None), None)


def choose() -> None:
    """Obey SHARDSERVE_PURE; must be called before any module of COMPILED is imported."""
    if is_pure_wanted() and not any(isinstance(finder, _SourceFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _SourceFinder())


def is_pure_wanted() -> bool:
    """Whether SHARDSERVE_PURE asks for the Python sources."""
    return os.environ.get(PURE, "0") not in ("", "0")


def uncompiled() -> list[str]:
    """Those of COMPILED that are, or would be, imported from their source."""
    return [name for name in COMPILED if not _is_compiled(name)]


def _is_compiled(name: str) -> bool:
    module = sys.modules.get(name)
    spec = module.__spec__ if module is not None else find_spec(name)
    return spec is not None and (spec.origin or "").endswith(tuple(EXTENSION_SUFFIXES))


def describe() -> str:
    """The build that runs, in a few words: "compiled", "partly compiled: ..." or "pure Python: ..."."""
    lacking = uncompiled()
    if not lacking:
        return "compiled"
    if is_pure_wanted():
        return f"pure Python: {PURE} is set"
    if len(lacking) == len(COMPILED):
        return "pure Python: nothing was compiled when it was installed"
    return f"partly compiled: not {', '.join(name.removeprefix('shardserve.') for name in lacking)}"

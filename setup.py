"""Compiles the modules that shardserve/build.py lists, where that is possible (docs/building.md).

Everything else about the package stands in pyproject.toml. Environment variables:
SHARDSERVE_PURE=1      compile nothing: a wheel for every platform
SHARDSERVE_COMPILED=1  fail if a module cannot be compiled, instead of leaving all as Python (for wheels)
OPTIMIZE=0             how far the C compiler optimizes; 2 unless that is said, whatever CFLAGS says
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

LISTED = runpy.run_path("shardserve/build.py")
REQUIRED = os.environ.get(LISTED["REQUIRE"], "0") not in ("", "0")
OPTIMIZE = os.environ.get("OPTIMIZE") or "2"
# What Cython puts beside a module that has to do with typed memoryviews, once instead of in each: half of all the C.
SHARED = "shardserve._cyutility"
DIRECTIVES = {
    "language_level": "3",
    "annotation_typing": False,  # an annotation stays a hint, as it is uncompiled; types stand in .pxd files
    "binding": False,  # methods are called as those of built-in types are
}


class BuildExtensions(build_ext):
    """Translates each module to C when its turn comes, so that one that fails leaves the others alone."""

    translating = threading.Lock()  # --parallel makes threads; Cython is not made for them, the C compilers run beside

    def build_extensions(self) -> None:
        """Compile what the others need first."""
        every = self.extensions
        for part in (every[:1], every[1:]):
            self.extensions = part
            super().build_extensions()
        self.extensions = every

    def build_extension(self, ext: Any) -> None:
        """Compile one module. Raises CompileError, which setuptools passes over where the extension is optional."""
        built = Path(self.get_ext_fullpath(ext.name))
        made_of = [Path(path) for path in (*ext.sources, *ext.depends)]
        if self.force or not built.exists() or any(_changed(path) >= _changed(built) for path in made_of):
            beside = Path(self.get_ext_filename(ext.name))  # the source, where an editable installation has it
            for old in (built, beside):
                old.unlink(missing_ok=True)  # if this fails, what runs must not be of another source
            self._compile(ext)

    def _compile(self, ext: Any) -> None:
        try:
            from Cython.Build import cythonize
            from Cython.Compiler.Errors import CompileError as CythonError
        except ImportError:
            raise CompileError("Cython is not installed") from None
        if ext.name != SHARED and not Path(self.get_ext_fullpath(SHARED)).exists():
            raise CompileError(f"{SHARED} has not been compiled")
        plain = Extension(ext.name, list(ext.sources))
        try:
            # Line numbers of the Python source in the debug information: for py-spy, gdb, perf.
            with self.translating:
                (made,) = cythonize(
                    [plain],
                    build_dir=f"build/cython/{sys.implementation.cache_tag}",  # two Pythons may compile at once
                    compiler_directives=DIRECTIVES,
                    emit_linenums=True,
                    force=True,
                    quiet=True,
                    shared_utility_qualified_name=SHARED,
                )
        except CythonError as error:
            raise CompileError(f"Cython: {error}") from None
        ext.sources = made.sources
        super().build_extension(ext)

    def run(self) -> None:
        """Compile everything or, where something fails, leave all of it as Python and say on stderr what has failed.

        A compiled module knows the classes of others as C structures: without them it could not be imported.
        """
        super().run()
        # In the end files are what counts: setuptools does not tell which of the optional extensions have failed.
        built = {ext.name: Path(self.get_ext_fullpath(ext.name)) for ext in self.extensions}
        lacking = [name for name, path in built.items() if not path.exists()]
        if lacking and not self.dry_run:
            for path in built.values():
                path.unlink(missing_ok=True)
            sys.stderr.write(f"shardserve: runs as Python, for these could not be compiled: {', '.join(lacking)}\n")


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def extensions() -> list[Extension]:
    """One for what all need, and one for each listed module; none where pure Python is asked for."""
    if LISTED["is_pure_wanted"]():
        return []
    types = sorted(str(path) for path in Path("shardserve").rglob("*.pxd"))
    modules = (_extension(name, [name.replace(".", "/") + ".py"], types) for name in LISTED["COMPILED"])
    return [_extension(SHARED, [], []), *modules]


def _extension(name: str, sources: list[str], types: list[str]) -> Extension:
    return Extension(
        name,
        sources,
        depends=["setup.py", *types],
        optional=not REQUIRED,
        # Debug information for line numbers; no warnings about C that nobody wrote.
        extra_compile_args=[f"-O{OPTIMIZE}", "-g1", "-w"],
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})

"""Compiles the modules that shardserve/build.py lists, where that is possible (docs/building.md).

Everything else about the package stands in pyproject.toml. Environment variables:
SHARDSERVE_PURE=1      compile nothing: a wheel for every platform
SHARDSERVE_COMPILED=1  fail if a module cannot be compiled, instead of leaving it as Python (for wheels and for CI)
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
DIRECTIVES = {
    "language_level": "3",
    "annotation_typing": False,  # an annotation stays a hint, as it is uncompiled; types stand in .pxd files
    "binding": False,  # methods are called as those of built-in types are
}


class BuildExtensions(build_ext):
    """Translates each module to C when its turn comes, so that one that fails leaves the others alone."""

    translating = threading.Lock()  # --parallel makes threads; Cython is not made for them, the C compilers run beside

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
        plain = Extension(ext.name, list(ext.sources))
        try:
            # Line numbers of the Python source in the debug information: for py-spy, gdb, perf.
            with self.translating:
                (made,) = cythonize(
                    [plain],
                    build_dir="build/cython",
                    compiler_directives=DIRECTIVES,
                    emit_linenums=True,
                    force=True,
                    quiet=True,
                )
        except CythonError as error:
            raise CompileError(f"Cython: {error}") from None
        ext.sources = made.sources
        super().build_extension(ext)

    def run(self) -> None:
        """Compile what can be, and say on stderr what could not."""
        super().run()
        # In the end files are what counts: setuptools does not tell which of the optional extensions have failed.
        lacking = [ext.name for ext in self.extensions if not Path(self.get_ext_fullpath(ext.name)).exists()]
        if lacking and not self.dry_run:
            sys.stderr.write(f"shardserve: NOT compiled, and run as Python: {', '.join(lacking)}\n")


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def extensions() -> list[Extension]:
    """One for each listed module; none where pure Python is asked for."""
    if LISTED["is_pure_wanted"]():
        return []
    types = sorted(str(path) for path in Path("shardserve").rglob("*.pxd"))
    return [
        Extension(
            name,
            [name.replace(".", "/") + ".py"],
            depends=["setup.py", *types],
            optional=not REQUIRED,
            # -O2 whatever CFLAGS says; debug information for line numbers; no warnings about C that nobody wrote.
            extra_compile_args=["-O2", "-g1", "-w"],
        )
        for name in LISTED["COMPILED"]
    ]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})

"""Which build runs: compiled modules, their Python sources, and what is said about it."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_config_var
from typing import Any

import pytest
from support.compiled import TREE, stale_modules

from shardserve import build

SETUP = TREE / "setup.py"
CAN_COMPILE = SETUP.exists() and find_spec("Cython") is not None and shutil.which("cc") is not None

IMPORT_ALL = "import importlib, sys, shardserve; [importlib.import_module(name) for name in {names!r}]; "
FILES = IMPORT_ALL + "print(*(sys.modules[name].__file__ for name in {names!r}))"


def run(code: str, **variables: str) -> str:
    env = {**{key: value for key, value in os.environ.items() if key != build.PURE}, **variables}
    done = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("value", ["1", "yes"])
def test_pure_imports_sources_even_where_there_are_compiled_modules(value: str) -> None:
    files = run(FILES.format(names=build.COMPILED), SHARDSERVE_PURE=value).split()
    assert all(file.endswith(".py") for file in files)
    assert run("from shardserve.build import describe; print(describe())", SHARDSERVE_PURE=value).startswith(
        "pure Python: SHARDSERVE_PURE is set"
    )


@pytest.mark.skipif(build.is_pure_wanted(), reason="SHARDSERVE_PURE is set: unset it to test the compiled build")
@pytest.mark.parametrize("value", [{}, {build.PURE: "0"}, {build.PURE: ""}], ids=["unset", "0", "empty"])
def test_compiled_modules_run_where_there_are_some(value: dict[str, str]) -> None:
    if len(build.uncompiled()) == len(build.COMPILED):
        pytest.skip("nothing is compiled here: `make compile` (needs a C compiler)")
    files = run(FILES.format(names=build.COMPILED), **value).split()
    assert not any(file.endswith(".py") for file in files)
    assert run("from shardserve.build import describe; print(describe())", **value) == "compiled"


def test_what_is_said_without_compiled_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(build.PURE, raising=False)
    names = ("shardserve.http.lifetime", "shardserve.http.overdue")
    monkeypatch.setattr(build, "COMPILED", names)
    assert build.describe() == "pure Python: nothing was compiled when it was installed"
    monkeypatch.setattr(build, "COMPILED", (*names, "uvloop.loop"))
    assert build.describe() == "partly compiled: not http.lifetime, http.overdue"
    monkeypatch.setattr(build, "COMPILED", ("uvloop.loop",))
    assert build.describe() == "compiled"


def test_the_version_says_it(tmp_path: Path) -> None:
    env = {**os.environ, build.PURE: "1"}
    command = [sys.executable, "-m", "shardserve", "--version"]
    said = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "(pure Python: SHARDSERVE_PURE is set; CPython " in said


def test_the_variable_is_no_unknown_setting(tmp_path: Path) -> None:
    env = {**os.environ, build.PURE: "1"}
    command = [sys.executable, "-m", "shardserve", "--print-config"]
    subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, check=True)


def test_every_listed_module_is_there_and_is_compiled_by_setup() -> None:
    package = Path(build.__file__).parent  # may be an installed one: there is no source tree where wheels are tested
    for name in build.COMPILED:
        assert (package.parent / f"{name.replace('.', '/')}.py").exists(), name
    listed = runpy.run_path(str(package / "build.py"))["COMPILED"]
    assert listed == build.COMPILED  # setup.py reads the file without importing the package


def test_a_module_older_than_its_source_or_types_is_stale(tmp_path: Path) -> None:
    folder = tmp_path / "shardserve"
    folder.mkdir()
    suffixes = (".py", ".pxd", get_config_var("EXT_SUFFIX"))
    source, types, extension = (folder / f"one{suffix}" for suffix in suffixes)
    for moment, path in enumerate((source, types, extension)):
        path.touch()
        os.utime(path, (moment, moment))
    names = ("shardserve.one", "shardserve.not_there")
    assert stale_modules(tmp_path, names) == []
    for path in (source, types):
        before = path.stat().st_mtime
        os.utime(path, (9, 9))
        assert stale_modules(tmp_path, names) == ["shardserve.one"]
        os.utime(path, (before, before))


@pytest.mark.skipif(not CAN_COMPILE, reason="needs the source tree, Cython (pip install -e '.[dev]') and a C compiler")
def test_a_module_that_does_not_compile_leaves_all_of_them_as_python(tmp_path: Path) -> None:
    # The others would want its C structures, and could not be imported.
    shutil.copy(SETUP, tmp_path)
    project = '[project]\nname = "shardserve"\nversion = "0"\n[tool.setuptools]\npackages = ["shardserve"]\n'
    (tmp_path / "pyproject.toml").write_text(project)
    folder = tmp_path / "shardserve"
    folder.mkdir()
    modules = ("shardserve.one", "shardserve.other")
    (folder / "build.py").write_text(f"{Path(build.__file__).read_text()}\nCOMPILED = {modules}\n")
    compiled = tmp_path / "compiled" / "shardserve"
    compiled.mkdir(parents=True)
    for name in ("__init__", "one", "other"):
        (folder / f"{name}.py").write_text("")
    for name in ("_cyutility", "one"):  # as if this had been done before: it takes seconds
        path = compiled / f"{name}{get_config_var('EXT_SUFFIX')}"
        path.touch()
        os.utime(path, (2**31 - 1, 2**31 - 1))
    env = {key: value for key, value in os.environ.items() if key not in (build.PURE, build.REQUIRE)}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--build-lib", "compiled"]

    def compile_with(other: str) -> tuple[str, list[str]]:
        (folder / "other.py").write_text(other)
        options: dict[str, Any] = {"env": {**env, "OPTIMIZE": "0"}, "cwd": tmp_path}
        done = subprocess.run(command, **options, capture_output=True, text=True, check=True)
        return done.stderr, sorted(path.name.partition(".")[0] for path in folder.glob("*.so"))

    said, built = compile_with("this is not Python")
    assert built == []
    assert "shardserve: runs as Python, for these could not be compiled: shardserve.other\n" in said
    assert compile_with("") == ("", ["_cyutility", "one", "other"])
    assert compile_with("this is not Python")[1] == []

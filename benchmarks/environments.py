"""An environment for each server, so that what they depend on does not mix; made when it is first needed.

They are in `.venv-bench/NAME`, each with the frameworks that the workloads use. shardserve is installed there as a
user gets it (built from a copy of this tree), and again whenever its files have changed. One that cannot be made is
remembered with the reason until its requirements change, or `.venv-bench/NAME` is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
FOLDER = REPOSITORY / ".venv-bench"
BESIDE = Path(sys.executable).parent  # the environment that runs us

FRAMEWORKS = ("django", "fastapi", "flask")
# What each server's own documents advise for speed is there: uvloop, httptools, a parser in C.
REQUIREMENTS = {
    "shardserve": (),  # this tree
    "uvicorn": ("uvicorn[standard]", "wsproto"),
    "granian": ("granian[uvloop]",),
    "gunicorn": ("gunicorn", "uvloop"),
    "gunicorn-fast": ("gunicorn[fast]>=27", "uvloop"),
    "hypercorn": ("hypercorn[uvloop]",),
    "peregrine-server": ("peregrine-server[uvloop]",),
    "h2corn": ("h2corn[uvloop]",),
    "fastpysgi": ("fastpysgi", "uvloop"),
    "bjoern": ("bjoern",),
    "fastwsgi": ("fastwsgi", "setuptools<81"),  # it imports pkg_resources
}
HINTS = {"bjoern": " (bjoern is built here: apt-get install gcc libev-dev)"}
PROGRAMS = {"uvicorn": "uvicorn", "granian": "granian", "gunicorn": "gunicorn", "shardserve": "shardserve"}
LOOKED_AT = ("uvloop", "httptools", "h11", "gunicorn_h1c", *FRAMEWORKS)

_VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try: found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError: pass
print(json.dumps(found))
"""


class UnavailableError(Exception):
    """A server cannot be had on this machine; the text says why."""


@cache
def environment(name: str, *, here: bool = False) -> Path:
    """The folder of the environment's programs; it is made first where it is not there, or `here` is ours.

    Looked at once in a run, so that nothing changes under it. Raises UnavailableError.
    """
    if here:
        return BESIDE
    folder = FOLDER / name
    stamp = folder / ".installed.json"
    wanted = _wanted(name)
    try:
        state = json.loads(stamp.read_text())
    except (OSError, ValueError):
        state = {}
    if state.get("wanted") != wanted:
        print(f"installing {name} into {folder.relative_to(REPOSITORY)}", file=sys.stderr, flush=True)
        state = {"wanted": wanted, "failed": _make(name, folder)}
        stamp.write_text(json.dumps(state, indent=1) + "\n")
    if state["failed"]:
        raise UnavailableError(state["failed"])
    return folder / "bin"


def versions(programs: Path, package: str) -> dict[str, str]:
    """The versions of a server's package, of Python and of what it may run on."""
    command = [str(programs / "python"), "-c", _VERSIONS, package.removesuffix("-fast"), *LOOKED_AT]
    found: dict[str, str] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return found


def program(name: str) -> str:
    """The path of a server's command: beside the Python that runs us, else in the server's environment."""
    beside = BESIDE / name
    return str(beside if beside.exists() else environment(PROGRAMS[name]) / name)


def _tree() -> list[Path]:
    """The files of this repository that git knows or would take, but those that are no part of the package."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True, text=True).stdout
    skipped = ("docs/", "tests/", "benchmarks/", ".", "CHANGELOG", "Dockerfile", "Makefile")
    names = sorted(name for name in out.split("\0") if name and not name.startswith(skipped))
    return [Path(name) for name in names if (REPOSITORY / name).is_file()]


def _wanted(name: str) -> str:
    """What the environment is made of, as a text that changes with it."""
    words = [sys.version, *REQUIREMENTS[name], *FRAMEWORKS]
    if name == "shardserve":
        digest = hashlib.sha256()
        for path in _tree():
            digest.update(str(path).encode() + b"\0" + (REPOSITORY / path).read_bytes())
        words.append(digest.hexdigest())
    return " ".join(words)


def _make(name: str, folder: Path) -> str:
    """Make or renew the environment; returns why that failed, or nothing."""
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--prefer-binary"]
    with tempfile.TemporaryDirectory() as copy:
        commands = [] if folder.exists() else [[sys.executable, "-m", "venv", str(folder)]]
        commands.append([*pip, *REQUIREMENTS[name], *FRAMEWORKS])
        if name == "shardserve":
            for path in _tree():
                (Path(copy) / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / path, Path(copy) / path)
            commands += [[*pip, copy], [*pip, "--force-reinstall", "--no-deps", copy]]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["no reason given"]
                folder.mkdir(parents=True, exist_ok=True)
                return f"cannot be installed: {lines[0].strip()[:200]}{HINTS.get(name, '')}"
    return ""

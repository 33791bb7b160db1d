"""Runs the framework compatibility suite of gunicorn's source distribution against shardserve: `make compat`.

    python tests/compat/run.py FOLDER [OPTION OF SHARDSERVE ...] [-- ARGUMENT OF PYTEST ...]

About 74 tests for each of Django with Channels, FastAPI, Starlette, Quart, Litestar and BlackSheep: HTTP, WebSocket,
lifespan, streams. The suite is downloaded into FOLDER and is no part of this repository. It means to find the
applications on fixed ports of a container; here each has a free one, which a pytest plugin tells it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.server import Server

SUITE = "gunicorn==27.0.1"
APPS = {name: "asgi:application" if name == "django" else "app:app" for name in ("django", "fastapi", "starlette")}
APPS |= {"quart": "app:app", "litestar": "app:app", "blacksheep": "app:app"}


class Ports:
    """A pytest plugin that puts the ports of our servers into the table of the suite's conftest."""

    def __init__(self, ports: dict[str, int]) -> None:
        self._ports = ports

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        plugins = session.config.pluginmanager.get_plugins()
        (table,) = (plugin.FRAMEWORKS for plugin in plugins if hasattr(plugin, "FRAMEWORKS"))
        assert set(table) == set(self._ports), "the suite has other frameworks than are served"
        for name, port in self._ports.items():
            table[name]["port"] = port


def suite(folder: Path) -> Path:
    """Download and unpack what is not there yet; returns the suite's own directory."""
    name = SUITE.replace("==", "-")
    archive = folder / f"{name}.tar.gz"
    if not archive.exists():
        download = ["-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder), SUITE]
        subprocess.run([sys.executable, *download], check=True)
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    return folder / name / "tests" / "docker" / "asgi_framework_compat"


def serve(stack: ExitStack, home: Path, logs: Path, framework: str, options: list[str]) -> Server:
    """Start one of the suite's applications; `stack` ends it."""
    folder = home / "frameworks" / f"{framework}_app"
    path = os.pathsep.join(map(str, (folder, folder.parent)))
    settings: dict[str, Any] = {"PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "settings"}
    # A handler of the suite sleeps for half a minute although its client has left: do not wait for it at the end.
    options = ["--workers", "1", "--graceful-timeout", "2", *options]
    log = logs / f"{framework}.log"
    return stack.enter_context(Server(APPS[framework], *options, cwd=folder, env=settings, log_path=log))


def main(folder: Path, arguments: list[str]) -> int:
    """Returns pytest's exit code."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    home = suite(folder)
    with ExitStack() as stack:
        servers = {name: serve(stack, home, folder, name, arguments[:cut]) for name in APPS}
        ports = {name: server.ready().port for name, server in servers.items()}
        os.chdir(home)
        options = ["--skip-docker-check", "-q", "-p", "no:cacheprovider", "--tb=short", *arguments[cut + 1 :]]
        return int(pytest.main(["tests", *options], plugins=[Ports(ports)]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))

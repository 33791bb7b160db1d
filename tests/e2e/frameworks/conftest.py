"""Fixtures for the framework tests: servers that live as long as a module and must end clean."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.frameworks import Payload
from support.gates import Gate, Gates
from support.proc import eventually, marked
from support.server import APPS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.frameworks import Browse, Launch

# What no server may log unless a test makes it: a test that does starts a server of its own, by `serve`.
_TROUBLE = re.compile(r"Traceback|Exception ignored|Warning|\[(?:WARNING|ERROR|CRITICAL)\]|never retrieved")


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture
def gate(gates: Gates) -> Iterator[Gate]:
    """A gate in the applications' way, for one test."""
    made = gates.new()
    yield made
    made.close()


@pytest.fixture(scope="session")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Payload:
    """A file of 50 MB to upload."""
    return Payload(tmp_path_factory.mktemp("payload") / "payload.bin", 50_000_000)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as `manage.py migrate` and `createsuperuser` leave it."""
    path = tmp_path_factory.mktemp("database") / "migrated.sqlite3"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "djangosite.settings",
        "DJANGOSITE_DATABASE": str(path),
        "DJANGO_SUPERUSER_PASSWORD": "correct horse",
        "PYTHONPATH": str(APPS),
    }
    for command in (
        ["migrate", "--verbosity", "0"],
        ["createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com", "--verbosity", "0"],
    ):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "django", *command], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def settings(gates: Gates, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that the applications need, with a database of the module's own."""
    database = tmp_path_factory.mktemp("database") / "module.sqlite3"
    database.write_bytes(migrated.read_bytes())
    return {**gates.environment, "DJANGOSITE_DATABASE": str(database), "PYTHONWARNINGS": "default"}


@contextmanager
def _clean_servers(directory: Path, settings: dict[str, str]) -> Iterator[Launch]:
    """Start servers that end with the context, and end clean: with exit code 0 and no trouble logged."""
    numbers = count(1)
    with ExitStack() as stack:

        def end(server: Server) -> None:
            if server.process.poll() is None:
                server.signal(signal.SIGTERM)
            code = server.exit_code(15)
            assert code == 0, f"ended with {code}:\n{server.log}"
            assert not _TROUBLE.search(server.log), server.log

        def start(app: str, *options: str, **extra: Any) -> Server:
            environment = {**settings, **extra.pop("env", {})}
            log_path = directory / f"server-{next(numbers)}.log"
            server = stack.enter_context(Server(app, *options, env=environment, log_path=log_path, **extra))
            stack.callback(end, server)
            return server.ready()

        yield start


@pytest.fixture(scope="module")
def launch_for_module(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """`launch`, for a server that all tests of a module share."""
    with _clean_servers(tmp_path_factory.mktemp("logs"), settings) as start:
        yield start


@pytest.fixture
def launch(settings: dict[str, str], tmp_path: Path) -> Iterator[Launch]:
    """`launch("flasksite:app", "--workers", "4")`: a server that ends with the test, and must end clean."""
    with _clean_servers(tmp_path, settings) as start:
        yield start


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """As in the directory above, but servers may live as long as the module."""
    mark = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STARTED_BY_TEST", mark)
        yield
    eventually("every process of the module has ended", lambda: not marked("STARTED_BY_TEST", mark))


@pytest.fixture
def browse() -> Iterator[Browse]:
    """`browse(server)`: an HTTP client with cookies and kept-alive connections, closed with the test."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(
            httpx.Client(base_url=server.url(""), trust_env=False, timeout=20, follow_redirects=False)
        )

"""Fixtures for all tests."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest
from support.compiled import stale_modules
from support.server import Server

from shardserve.build import is_pure_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pytest_configure() -> None:
    """Refuse to test what is not there any more: a compiled module hides its source."""
    stale = stale_modules()
    if stale and not is_pure_wanted():
        raise pytest.UsageError(f"compiled from other sources than these: {', '.join(stale)}; run `make compile`")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers that end with the test: `serve("probe:asgi", "--workers", "2")` returns one that is ready."""
    numbers = count(1)
    with ExitStack() as stack:

        def start(app: str, *options: str, ready: bool = True, **settings: object) -> Server:
            log_path = tmp_path / f"server-{next(numbers)}.log"
            server = stack.enter_context(Server(app, *options, log_path=log_path, **settings))  # type: ignore[arg-type]
            return server.ready() if ready else server

        yield start

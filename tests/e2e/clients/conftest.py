"""One server under ASGI and one under WSGI for all tests of a module: what clients do may leave no trace in its log."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

_TROUBLE = re.compile(r"Traceback|Exception ignored|Warning|\[(?:WARNING|ERROR|CRITICAL)\]|never retrieved")


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def mirror(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """tests/apps/mirror.py, with four threads for WSGI; ends clean, and at once, since nothing is left under way."""
    log_path = tmp_path_factory.mktemp("mirror") / "server.log"
    options = ("--workers", "2", "--threads", "4", "--limit-request-body", "30000000", "--ws-deflate")
    with Server(f"mirror:{request.param}", *options, log_path=log_path) as server:
        yield server.ready()
        server.signal(signal.SIGTERM)
        assert server.exit_code(15) == 0, server.log
        assert not _TROUBLE.search(server.log), server.log

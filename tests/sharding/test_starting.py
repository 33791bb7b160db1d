"""Several servers started at once on one port: one serves, the others say who does."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from support.matrix import EVENTS
from support.proc import eventually

from shardserve.errors import EXIT_BIND

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    Serve = Callable[..., Server]

AT_ONCE = 4


def test_one_of_several_that_start_at_once_serves(serve: Serve) -> None:
    for _ in range(EVENTS):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        servers = [serve("echo:asgi", "--workers", "2", ready=False, bind=f"127.0.0.1:{port}") for _ in range(AT_ONCE)]
        eventually("all but one have ended", lambda all_=servers: sum(running(one) for one in all_) == 1)  # type: ignore[misc]
        (winner,) = [server for server in servers if running(server)]
        winner.ready()
        assert winner.get("/0")
        for server in servers:
            if server is not winner:
                assert server.exit_code() == EXIT_BIND
                assert f"pid {winner.pid}" in server.log
        winner.process.terminate()
        assert winner.exit_code() == 0


def running(server: Server) -> bool:
    return server.process.poll() is None

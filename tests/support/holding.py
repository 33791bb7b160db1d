"""Connections that a test holds open, and which worker has each."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from support.proc import asleep, descriptors, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.server import Server

_ASK = b"GET /0?ms=0 HTTP/1.1\r\nHost: test\r\n\r\n"
_ANSWER = re.compile(rb"\r\n\r\n0 (\d+) \d+ \d+\n0$")


def connect(address: tuple[str, int] | str, many: int, apart: float) -> list[socket.socket]:
    """Begin to open so many connections, so many seconds apart; 0 means all at once."""
    opened = []
    for _ in range(many):
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        sock.settimeout(10 if isinstance(address, str) else 0)
        with suppress(BlockingIOError):  # under way: the next one does not wait for it
            sock.connect(address)
        opened.append(sock)
        time.sleep(apart)
    for sock in opened:
        sock.settimeout(10)
    return opened


def holders(connections: list[socket.socket]) -> Counter[int]:
    """How many of them each worker (by its pid) has. The application is apps/echo.py."""
    for sock in connections:
        sock.sendall(_ASK)
    found: Counter[int] = Counter()
    for sock in connections:
        data = b""
        while not (answer := _ANSWER.search(data)):
            more = sock.recv(4096)
            assert more, f"closed after {data!r}"
            data += more
        found[int(answer[1])] += 1
    return found


@contextmanager
def held(server: Server, address: tuple[str, int] | str, many: int, apart: float) -> Iterator[Counter[int]]:
    """Hold connections; yields the workers that have them. At the end they have all let go of them again."""
    workers = server.workers()
    before = {pid: len(descriptors(pid, "socket")) for pid in workers}
    connections = connect(address, many, apart)
    try:
        found = holders(connections)
        assert set(found) <= set(workers)
        yield Counter({pid: found[pid] for pid in workers})
    finally:
        for sock in connections:
            sock.close()
    # The descriptor goes first; the worker counts down later in the same turn of its loop, then sleeps.
    for pid in workers:
        eventually("it has closed them", lambda one=pid: len(descriptors(one, "socket")) <= before[one])  # type: ignore[misc]
        eventually("it has counted them out", lambda one=pid: asleep(one))  # type: ignore[misc]


def worst_share(found: Counter[int]) -> float:
    """Of the worker that has most, in percent."""
    return 100 * max(found.values()) / sum(found.values())

"""A normal client for attacks.py: a process that asks one server or the other, for a tenth of a second each time."""

from __future__ import annotations

import multiprocessing
import os
import selectors
import socket
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CONNECTIONS = 4
BATCH = 16  # requests that are sent at once on each
SECONDS = 0.1
_GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
_PATIENCE = 30


class Client:
    """The process, from our side. A context manager; it keeps its connections to each server until the end."""

    def __init__(self, core: int) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_serve, args=(theirs, core), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.send(0)
        self._process.join(_PATIENCE)

    def ask(self, port: int) -> tuple[int, float]:
        """How many requests were answered, every one that was sent, and the longest wait for a batch in seconds."""
        self._ours.send(port)
        if not self._ours.poll(_PATIENCE):
            raise RuntimeError(f"the server on port {port} does not answer")
        found: tuple[int, float] = self._ours.recv()
        return found


def _serve(commands: Connection, core: int) -> None:
    os.sched_setaffinity(0, {core})
    kept: dict[int, list[socket.socket]] = {}
    while port := commands.recv():
        if port not in kept:
            kept[port] = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        commands.send(_ask(kept[port]))


def _ask(connections: list[socket.socket]) -> tuple[int, float]:
    """Send a batch on each connection whenever the one before is answered, until the time is over."""
    whole = BATCH * _answer_size(connections[0])
    requests, longest = 1, 0.0
    selector = selectors.DefaultSelector()
    began = time.monotonic()
    sent: dict[socket.socket, float] = {}
    missing: dict[socket.socket, int] = {}

    def send(sock: socket.socket) -> None:
        sent[sock], missing[sock] = time.monotonic(), whole
        sock.sendall(_GET * BATCH)

    for sock in connections:
        selector.register(sock, selectors.EVENT_READ)
        send(sock)
    while missing:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            missing[sock] -= len(sock.recv(65536))
            if missing[sock] > 0:
                continue
            del missing[sock]
            now = time.monotonic()
            requests += BATCH
            longest = max(longest, now - sent[sock])
            if now - began < SECONDS:
                send(sock)
    selector.close()
    return requests, longest


def _answer_size(sock: socket.socket) -> int:
    """Octets of one answer; all are alike."""
    sock.sendall(_GET)
    return len(sock.recv(65536))

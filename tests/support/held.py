"""A service whose workers a test keeps busy, one call each, until it lets them go on."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

from support.proc import accepted, eventually

if TYPE_CHECKING:
    import http.client

    from support.site import Site

# Says who it is; /hold waits until the test makes a file, which is far longer than any other call lasts.
APP = """
import hashlib, itertools, json, os, pathlib
CALLS = itertools.count()
RELEASE = pathlib.Path(__file__).with_name("release")
def app(environ, start_response):
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"].startswith("/hold"):
        with open(RELEASE.with_name("held"), "a") as log:
            log.write(f"{os.getpid()}\\n")
        while not RELEASE.exists() and not RELEASE.with_name(f"release-{os.getpid()}").exists():
            import time; time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "application/json")])
    answer = {"pid": os.getpid(), "path": environ["PATH_INFO"], "port": environ["REMOTE_PORT"],
              "body": hashlib.sha256(body).hexdigest(), "size": len(body), "call": next(CALLS)}
    return [json.dumps(answer).encode()]
"""


class Held:
    """A site whose workers can be kept busy, one request each."""

    def __init__(self, site: Site, *options: str) -> None:
        site.write(APP)
        self.folder = site.folder
        self.server = site.serve("app:app", *options)
        self.sockets: list[socket.socket] = []

    def hold(self, sock: socket.socket | None = None) -> int:
        """Occupy a worker; its pid."""
        before = len(self._held())
        sock = sock or socket.create_connection(("127.0.0.1", self.server.port), 10)
        self.sockets.append(sock)
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually("the request is executed", lambda: len(self._held()) > before)
        return self._held()[-1]

    def _held(self) -> list[int]:
        path = self.folder / "held"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def send(self, path: str, size: int) -> socket.socket:
        """Post so many octets on a connection of its own."""
        sock = socket.create_connection(("127.0.0.1", self.server.port), 10)
        self.sockets.append(sock)
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        sock.sendall(head.encode() + b"x" * size)
        return sock

    def accepted(self) -> int:
        """How many connections its workers have."""
        return sum(accepted(pid, self.server.port) for pid in self.server.workers())

    def release(self, pid: int | None = None) -> None:
        """Let all calls go on, and those that come, or those of one worker."""
        (self.folder / ("release" if pid is None else f"release-{pid}")).touch()

    def close(self) -> None:
        """Let go of everything."""
        self.release()
        for sock in self.sockets:
            sock.close()


def ask(client: http.client.HTTPConnection) -> dict[str, object]:
    """GET / on a kept connection; what it says."""
    client.request("GET", "/")
    return dict(json.loads(client.getresponse().read()))


def read_all(sock: socket.socket) -> list[dict[str, object]]:
    """All answers on a connection, until it is closed."""
    octets = b"".join(iter(lambda: sock.recv(65536), b""))
    found = []
    while octets:
        head, _, octets = octets.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        found.append(json.loads(octets[:length]))
        octets = octets[length:]
    return found

"""A closed-loop load client: each of N clients sends its next request when the last one has ended, however it ended.

At saturation the accept queues of the server are then never empty, which is where a server loses connections. Bounded
in time and, if wanted, in count. It runs on a thread of its own, so that a test can do things to the server meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")
CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked\r\n")
CLOSES = re.compile(rb"(?i)\r\nconnection: *close\r\n")


class Lost(Exception):
    """A request without a complete answer.

    `kind` is refused, reset (by the peer, before any octet of an answer), empty (closed before any), truncated (ended
    in the middle of an answer), timeout, or status (answered, but not with 200).
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass
class Tally:
    """What has become of the requests."""

    ok: int = 0
    lost: Counter[str] = field(default_factory=Counter)  # kind -> how many
    retried: int = 0  # keep-alive: sent again, because an idle connection had been closed
    pids: Counter[int] = field(default_factory=Counter)  # who answered, where answers say so
    longest: float = 0.0  # seconds that the slowest answer took

    def __str__(self) -> str:
        lost = ", ".join(f"{count} {kind}" for kind, count in self.lost.items()) or "none"
        return f"{self.ok} ok, lost: {lost}, {self.retried} retried, longest {self.longest:.3f} s, by {dict(self.pids)}"


class Load:
    """`with Load(port, "/block?0.004") as load: ...; tally = load.stop()`; `target` is a port or a unix socket's path.

    With `requests`, that many are sent and `finish` waits for them; without, it goes on until `stop`, at most for
    `seconds`. `timeout` bounds each request.
    """

    def __init__(
        self,
        target: int | str,
        path: str = "/",
        *,
        clients: int = 32,
        requests: int | None = None,
        keep_alive: bool = False,
        timeout: float = 20.0,
        seconds: float = 60.0,
    ) -> None:
        self.tally = Tally()
        self._target = target
        self._clients = clients
        self._left = requests
        self._keep_alive = keep_alive
        self._timeout = timeout
        self._seconds = seconds
        field_line = "" if keep_alive else "Connection: close\r\n"
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{field_line}\r\n".encode()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(self._timeout + 5)

    def stop(self) -> Tally:
        """Send no more, wait for what is under way, and return the tally."""
        self._stopped.set()
        return self.finish()

    def finish(self) -> Tally:
        """Wait until all `requests` have ended, and return the tally."""
        self._thread.join(self._seconds + self._timeout + 5)
        assert not self._thread.is_alive(), f"the load did not end: {self.tally}"
        if self._error is not None:
            raise self._error
        return self.tally

    def wait_for(self, ok: int, timeout: float = 30) -> None:
        """Block until `ok` requests more than now have been answered."""
        goal, end = self.tally.ok + ok, time.monotonic() + timeout
        while self.tally.ok < goal:
            assert self._thread.is_alive(), f"the load has ended: {self.tally}"
            assert time.monotonic() < end, f"{goal} answers were not reached in {timeout} s: {self.tally}"
            time.sleep(0.01)

    # On the thread

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # for finish() to raise where the test sees it
            self._error = error

    async def _run(self) -> None:
        end = time.monotonic() + self._seconds
        await asyncio.gather(*(self._client(end) for _ in range(self._clients)))

    def _take(self) -> bool:
        """Whether one more request is to be sent; counts it."""
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0

    async def _client(self, end: float) -> None:
        connection: Connection | None = None
        while not self._stopped.is_set() and time.monotonic() < end and self._take():
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._timeout):
                    connection, body = await self._answer(connection)
            except TimeoutError:
                connection = self._count_lost("timeout")
            except Lost as error:
                connection = self._count_lost(error.kind)
                if error.kind == "refused":
                    await asyncio.sleep(0.01)  # else it would only spin
            else:
                self._count(body, time.monotonic() - began)
        if connection is not None:
            connection.close()

    async def _answer(self, connection: Connection | None) -> tuple[Connection | None, bytes]:
        """Send one request; returns the connection if it can take another one, and the body of the answer."""
        if connection is not None:
            try:
                return await self._ask(connection)
            except Lost as error:
                if error.kind not in ("reset", "empty"):
                    raise
                # The server closed the idle connection as the request left: RFC 9110, 9.2.2 has it sent again.
                self.tally.retried += 1
        return await self._ask(await Connection.open(self._target))

    async def _ask(self, connection: Connection) -> tuple[Connection | None, bytes]:
        reusable = False
        try:
            status, closes, body = await connection.ask(self._request)
            if status != 200:
                raise Lost("status")
            reusable = self._keep_alive and not closes
        finally:
            if not reusable:
                connection.close()
        return (connection if reusable else None), body

    def _count(self, body: bytes, took: float) -> None:
        self.tally.ok += 1
        self.tally.longest = max(self.tally.longest, took)
        if body.startswith(b"{"):
            answer: dict[str, Any] = json.loads(body)
            self.tally.pids[answer["pid"]] += 1

    def _count_lost(self, kind: str) -> None:
        self.tally.lost[kind] += 1


class Connection:
    """A client's connection: requests one after another."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._data = b""

    @classmethod
    async def open(cls, target: int | str) -> Connection:
        sock = socket.socket(socket.AF_UNIX if isinstance(target, str) else socket.AF_INET)
        sock.setblocking(False)
        address = target if isinstance(target, str) else ("127.0.0.1", target)
        try:
            while True:
                try:
                    await asyncio.get_running_loop().sock_connect(sock, address)
                    return cls(sock)
                except BlockingIOError:  # a unix socket's queue is full
                    await asyncio.sleep(0.01)
        except ConnectionRefusedError:
            sock.close()
            raise Lost("refused") from None
        except OSError:
            sock.close()
            raise Lost("reset") from None
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        self._socket.close()

    async def ask(self, request: bytes) -> tuple[int, bool, bytes]:
        """Send a request; returns status, whether the server will close, and the body."""
        self._data = b""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, request)
        except OSError:
            raise Lost("reset") from None
        while (end := self._data.find(b"\r\n\r\n")) < 0:
            await self._more()
        head = self._data[: end + 2]
        self._data = self._data[end + 4 :]
        if found := LENGTH.search(head):
            while len(self._data) < int(found[1]):
                await self._more(head)
        elif CHUNKED.search(head):
            while not self._data.endswith(b"0\r\n\r\n"):
                await self._more(head)
        return int(head[9:12]), bool(CLOSES.search(head)), self._data

    async def _more(self, head: bytes = b"") -> None:
        begun = bool(head or self._data)
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        except OSError:
            raise Lost("truncated" if begun else "reset") from None
        if not data:
            raise Lost("truncated" if begun else "empty")
        self._data += data

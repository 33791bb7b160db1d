"""Does a server that serves everything, for long, grow? Two million requests of mixed kinds, and its memory meanwhile.

    python memory.py [--requests 2000000] [--interface asgi wsgi] [--core 1]

Per round of 100 requests: kept connections and new ones, pipelines, GET, HEAD, POST small, large and chunked, heads
that differ in every name, malformed requests, an application that fails, clients that leave in the middle of a head, a
body and a response. Four clients, as fast as they get answers; server and clients share one core. Prints the server's
PSS (all its processes, proc_pid_smaps(5)) and what of it is anonymous, a hundred times, with the clients paused between
two rounds, and writes the table in docs/bounds.md. Other processes that map the same files (Pythons above all) lower
the PSS, and raise it when they end; the anonymous part is the server's alone. Loopback only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from itertools import count

from environments import HERE, program
from serving import anonymous, free_port, pss, wait_for

BOUNDS = HERE.parent / "docs" / "bounds.md"
BEGIN, END = "<!-- memory begins -->", "<!-- memory ends -->"
SETTLED = 200_000  # requests after which memory should be flat
LOOKS = 100
ROUND = 100  # requests
CLIENTS = 4

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMALL = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nhello=world"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client:
    """Blocking, with one kept connection; every method counts what it sends."""

    def __init__(self, port: int, number: int) -> None:
        self.port = port
        self.sent = 0
        self._numbers = count(number * 1_000_000_000)
        self._kept: socket.socket | None = None

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def round(self) -> None:
        for _ in range(4):
            self.ask(GET * 10, 10)
        for _ in range(15):
            self.ask(GET)
        for _ in range(10):
            self.ask(SMALL)
        for _ in range(4):
            self.ask(
                CHUNKED + b"".join(b"%x\r\n%s\r\n" % (n, b"a" * n) for n in (1, 10, 3000)) + b"0\r\nX-T: v\r\n\r\n"
            )
        for number, size in zip((next(self._numbers) for _ in range(4)), (70_000, 2000, 300_000, 10), strict=True):
            size = size if number % 40 else 2_000_000
            self.ask(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size + b"b" * size)
        for number in (next(self._numbers) for _ in range(5)):
            odd = b"GET /%d HTTP/1.1\r\nHost: h%d\r\nX-%d: %d\r\nX-Forwarded-For: 10.%d.1.1\r\n\r\n"
            self.ask(odd % (number, number, number, number, number % 250))
        self.ask(LARGE)
        for method in (b"HEAD", b"OPTIONS"):
            self.ask(GET.replace(b"GET", method), head=method == b"HEAD")
        for _ in range(3):
            self.ask(GET.replace(b"/ ", b"/fail "), status=500)
        for _ in range(6):
            self.alone(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        for bad in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"BREW / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nA b\r\n\r\n",
            b"\x16\x03",
        ):
            self.alone(bad)
        for part in (GET[:20], SMALL[:-5], CHUNKED + b"5\r\nhel", LARGE, LARGE + GET, GET * 20):
            self.leave(part)

    def ask(self, octets: bytes, answers: int = 1, *, status: int = 200, head: bool = False) -> None:
        """Send on the kept connection and read so many answers."""
        self.sent += answers
        if self._kept is None:
            self._kept = self.connect()
        self._kept.sendall(octets)
        got = b""
        for _ in range(answers):
            got = self._read_answer(self._kept, got, status, head)

    def _read_answer(self, sock: socket.socket, got: bytes, status: int, head: bool) -> bytes:
        """Read one answer that begins with `got`; returns what is behind it."""
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._more(sock)
        fields, got = got[:end].lower(), got[end + 4 :]
        if int(fields[9:12]) != status:
            raise RuntimeError(f"unexpected answer {fields!r}")
        if head:
            return got
        if b"transfer-encoding" in fields:
            pieces = [got]
            while not pieces[-1].endswith(b"0\r\n\r\n"):  # nothing is asked for behind a chunked answer
                pieces.append(self._more(sock))
            return b""
        length = int(fields.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(got) < length:
            got += self._more(sock)
        return got[length:]

    def _more(self, sock: socket.socket) -> bytes:
        data = sock.recv(262144)
        if not data:
            raise RuntimeError("closed in the middle of an answer")
        return data

    def alone(self, octets: bytes) -> None:
        """A connection for one request, read to its end."""
        self.sent += 1
        with self.connect() as sock:
            sock.sendall(octets)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

    def leave(self, octets: bytes) -> None:
        """Leave with a reset after a few octets of the answer, or none."""
        self.sent += 1
        with self.connect() as sock, contextlib.suppress(OSError):
            sock.sendall(octets)
            if octets.startswith(LARGE):
                sock.recv(1000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def soak(interface: str, requests: int, core: int) -> list[tuple[int, int, int]]:
    """Returns (requests so far, PSS, anonymous memory) of each look."""
    port = free_port()
    command = [program("shardserve"), f"apps.mixed:{interface}", "-w", "1", "-b", f"127.0.0.1:{port}"]
    command += ["--log-level", "critical"]
    os.sched_setaffinity(0, {core})
    process = subprocess.Popen(command, cwd=HERE)
    clients = [Client(port, number) for number in range(CLIENTS)]
    failed: list[BaseException] = []
    enough = threading.Event()
    pause = threading.Event()
    barrier = threading.Barrier(CLIENTS + 1)

    def work(client: Client) -> None:
        try:
            while not enough.is_set():
                client.round()
                if pause.is_set():
                    barrier.wait(60)  # all stand still
                    barrier.wait(60)  # the look is over
        except BaseException as error:  # shown by the main thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(client,), daemon=True) for client in clients]
    looks = []
    try:
        wait_for(port, process)
        for thread in threads:
            thread.start()
        step = max(requests // LOOKS, ROUND)
        for goal in range(step, requests + step, step):
            while (sent := sum(client.sent for client in clients)) < goal and not failed:
                time.sleep(0.05)
            if failed:
                raise failed[0]
            pause.set()
            barrier.wait(60)
            looks.append((sent, sum(pss(process.pid)), anonymous(process.pid)))
            both = f"PSS {looks[-1][1] / 1e6:.2f} MB, anonymous {looks[-1][2] / 1e6:.2f} MB"
            print(f"{interface}: {sent:>9,} requests, {both}", flush=True)
            pause.clear()
            barrier.wait(60)
    finally:
        enough.set()
        for thread in threads:
            thread.join(20)
        process.send_signal(signal.SIGTERM)
        process.wait(40)
    return looks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2_000_000)
    parser.add_argument("--interface", nargs="+", default=["asgi", "wsgi"])
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    given = parser.parse_args()
    rows = [
        "| interface | requests | MB | after the first 10 % | highest later | at the end | grown |",
        "|---" * 7 + "|",
    ]
    for interface in given.interface:
        looks = soak(interface, given.requests, given.core)
        settled = [look for look in looks if look[0] >= min(SETTLED, given.requests // 10)]
        for column, what in ((1, "PSS"), (2, "anonymous")):
            used = [look[column] for look in settled]
            figures = " | ".join(f"{one / 1e6:.1f}" for one in (used[0], max(used), used[-1]))
            grown = f"{100 * (used[-1] / used[0] - 1):+.1f} %"
            rows.append(f"| {interface} | {looks[-1][0]:,} | {what} | {figures} | {grown} |")
    print("\n".join(rows))
    if given.requests >= 2_000_000 and len(given.interface) == 2:
        before, _, rest = BOUNDS.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        BOUNDS.write_text(f"{before}{BEGIN}\n" + "\n".join(rows) + f"\n{END}{after}")


if __name__ == "__main__":
    main()

"""What slow, hostile and flooding clients do to a server, and to a normal client beside them: for docs/bounds.md.

    python attacks.py [--seconds 24] [--only WORD ...]    (watch: the slow clients alone)

Two shardserves (ASGI, one worker, all settings at their defaults) on CPU 0, of which one is attacked; attackers and the
normal client (batches.py, plain GET) on CPU 1. For each attack the client asks the one and the other server, a tenth of
a second each, in turns. What it kept is requests per CPU second of the server that is attacked, relative to the other
one: what the attacker takes of the client's core, and the machine's own noise, count for both. (Second about second
this machine's noise was 20 % from pair to pair.) What the attack costs is the part of a core that the attacked server
uses while the other one is asked. In 24 seconds the clients that are let go after 10 s, and those that come in their
places, are in it twice.

The client sends 16 requests at a time on each of 4 connections, which it keeps. A request costs more in a smaller
batch, and with one at a time on 16 connections the batches are what whatever else runs makes of them: between 42,000
and 73,000 a CPU second within minutes, of the same server. The longest wait is of a batch.

Before that, one client of each slow kind is watched until the server lets it go: two minutes. Loopback only; everything
is bounded.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import selectors
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from batches import Client
from environments import HERE, program
from serving import cpu_seconds, free_port, pss, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable

BOUNDS = HERE.parent / "docs" / "bounds.md"
CORE = max(os.sched_getaffinity(0))
MANY = 2000

KEPT = "kept for 3 s"  # a connection that the attacker then closes

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
GET = HEAD + b"\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
SPACES = HEAD + (b"Transfer-Encoding: a" + b" " * 8000 + b"b\r\n") * 7 + b"X: \x01\r\n\r\n"


@dataclass
class Attack:
    """`number` connections are kept that have sent `first`, and send `more` each `every` seconds, one after another.

    One that is closed is opened again; with `rate`, instead, so many are opened a second, and each sends `first` and as
    many times `more` as is taken, up to `most` octets. `reads` says how many octets of an answer are read each time.
    """

    name: str
    what: str
    first: bytes
    more: bytes = b""
    number: int = 0
    every: float = 5.0
    rate: float = 0.0
    most: int = 0
    reads: int = 65536
    reset: bool = False
    flood: bool = False  # of valid requests: has no target
    did: dict[str, float] = field(default_factory=dict)  # what the server did, and after how many seconds at most

    def note(self, how: str, seconds: float) -> None:
        self.did[how] = max(seconds, self.did.get(how, 0.0))

    def told(self) -> str:
        """What the server did, and when, in words."""
        ends = sorted(how for how in self.did if how != KEPT)
        last = max((self.did[how] for how in ends), default=0.0)
        when = "at once" if last < 0.1 else f"after {last:.0f} s" if last >= 2 else f"within {1000 * last:.0f} ms"
        words = [f"{', '.join(ends)} {when}"] if ends else []
        return "; ".join([*words, *(how for how in self.did if how == KEPT)]) or "kept"


ATTACKS = [
    Attack("none", "for comparison: how far the machine's own noise goes", b"", rate=1, reset=True),
    Attack("idle", f"{MANY:,} connections that send nothing", b"", number=MANY),
    Attack("slow heads", f"{MANY:,} connections, each a header line every 5 s", HEAD, b"X-A: b\r\n", MANY),
    Attack("stalled bodies", f"{MANY:,} connections, each half a body and no more", POST + b"x" * 50_000, number=MANY),
    Attack("slow bodies", f"{MANY:,} connections, each an octet of a body every 5 s", POST, b"x", MANY),
    Attack("slow chunks", f"{MANY:,} connections, each a chunk of an octet every 5 s", CHUNKED, b"1\r\nx\r\n", MANY),
    Attack("slow readers", "500 connections that ask for 1 MiB and read 2 KB every 5 s", LARGE, number=500, reads=2000),
    Attack(
        "octet by octet", "one head after another, 1,000 octets a second, each alone", HEAD + b"A: ", b"b", 1, 0.001
    ),
    Attack("half-closed", "50 a second end their side in the middle of a request", POST + b"x", rate=50),
    Attack("connect and reset", "200 a second", b"", rate=200, reset=True),
    Attack(
        "malformed",
        "100 a second: a field line without a colon",
        b"GET / HTTP/1.1\r\nHost: a\r\nA b\r\n\r\n",
        rate=100,
    ),
    Attack("5 MB of headers", "10 a second", HEAD, b"X-A: " + b"b" * 500 + b"\r\n", rate=10, most=5_000_000),
    Attack("a header of 5 MB", "10 a second", HEAD + b"X-A: ", b"b" * 65536, rate=10, most=5_000_000),
    Attack("dear patterns", "10 a second: 56 KB of spaces in Transfer-Encoding", SPACES, rate=10),
    Attack(
        "endless chunk extensions", "10 a second", CHUNKED, b"1" + b";a=b" * 200 + b"\r\nx\r\n", rate=10, most=5_000_000
    ),
    Attack("one endless extension", "10 a second", CHUNKED + b"1;", b"a" * 65536, rate=10, most=5_000_000),
    Attack(
        "endless trailers", "10 a second", CHUNKED + b"0\r\n", b"A: " + b"b" * 500 + b"\r\n", rate=10, most=5_000_000
    ),
    Attack("tiny chunks", "20,000 chunks of an octet a second", CHUNKED + b"1\r\nx\r\n" * 2000, rate=10),
    Attack("10,000 pipelined", "one connection after another with so many requests", GET * 10_000, rate=2, flood=True),
    Attack("new connections", "500 requests a second, each on a connection of its own", GET, rate=500, flood=True),
]


class Attacker:
    """Runs one attack on a thread, until stopped."""

    def __init__(self, attack: Attack, port: int) -> None:
        self._attack = attack
        self._port = port
        self._stopped = threading.Event()
        self.begun = threading.Event()  # at its full strength
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._open: dict[socket.socket, tuple[float, int]] = {}  # since when; octets of it that are to be sent
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self.begun.wait(30):
            raise RuntimeError(f"{self._attack.name} did not get going")
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)

    def _work(self) -> None:
        attack = self._attack
        try:
            if attack.number:
                self._keep()
            else:
                self._repeat()
        finally:
            for sock in list(self._open):
                self._close(sock)

    def _connect(self) -> socket.socket | None:
        sock = socket.socket()
        if self._attack.reads < 65536:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            sock.connect(("127.0.0.1", self._port))
            sock.setblocking(False)
            sock.send(self._attack.first[:262144]) if self._attack.first else 0
        except OSError:
            sock.close()
            return None
        self._open[sock] = (time.monotonic(), max(0, len(self._attack.first) - 262144))
        if self._attack.reads == 65536:
            self._selector.register(sock, selectors.EVENT_READ)
        return sock

    def _close(self, sock: socket.socket, how: str = "") -> None:
        if how:
            self._attack.note(how, time.monotonic() - self._open[sock][0])
        with contextlib.suppress(KeyError):
            self._selector.unregister(sock)
        del self._open[sock]
        sock.close()

    def _look(self, wait: float) -> None:
        """Read answers, and let go of what the server has let go."""
        for key, _ in self._selector.select(wait):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                data = sock.recv(self._attack.reads)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._close(sock, "closed")
            elif data.startswith(b"HTTP/1.1 "):
                self._attack.note(data[9:12].decode(), time.monotonic() - self._open[sock][0])
                if self._attack.number:
                    self._close(sock)

    def _keep(self) -> None:
        """A number of connections, each of which does something every few seconds."""
        attack = self._attack
        turn, step = time.monotonic(), attack.every / attack.number
        while not self._stopped.is_set():
            self._look(min(0.02, step))
            for _ in range(20):
                if len(self._open) < attack.number:
                    self._connect()
            if len(self._open) >= attack.number and not self.begun.is_set():
                self.begun.set()
                turn = time.monotonic()
            while self.begun.is_set() and turn <= time.monotonic() and self._open:
                turn += step
                sock = next(iter(self._open))
                self._open[sock] = self._open.pop(sock)  # to the end
                with contextlib.suppress(OSError):
                    if attack.more:
                        sock.send(attack.more)
                    if attack.reads < 65536:
                        sock.recv(attack.reads)

    def _repeat(self) -> None:
        """So many connections a second, each of which sends what it has."""
        attack = self._attack
        turn = time.monotonic()
        self.begun.set()
        while not self._stopped.is_set():
            self._look(0.001)
            if turn <= time.monotonic():
                turn = max(turn + 1 / attack.rate, time.monotonic() - 1)
                sock = self._connect()
                if sock is not None and attack.reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self._close(sock)
                elif sock is not None and attack.name == "half-closed":
                    sock.shutdown(socket.SHUT_WR)
                elif sock is not None and attack.most:
                    self._pour(sock)
            for sock, (since, left) in list(self._open.items()):
                if left:
                    with contextlib.suppress(OSError):
                        sent = sock.send(attack.first[-left:])
                        self._open[sock] = (since, left - sent)
                if time.monotonic() - since > 3:
                    self._close(sock, KEPT)

    def _pour(self, sock: socket.socket) -> None:
        """Send until the server does not take it any more."""
        attack = self._attack
        piece = attack.more * max(1, 65536 // len(attack.more))
        sent = 0
        try:
            for _ in range(200):
                sent += sock.send(piece)
                if sent > attack.most:
                    break
        except BlockingIOError:
            pass
        except OSError:
            attack.note("closed", time.monotonic() - self._open[sock][0])


@dataclass
class Share:
    """What a normal client got of one server, in all."""

    requests: int = 0
    cpu: float = 0.0  # seconds, of the server
    wait: float = 0.0  # the longest, in seconds

    @property
    def rate(self) -> float:
        """Requests per CPU second of the server."""
        return self.requests / self.cpu

    def add(self, other: Share) -> None:
        self.requests += other.requests
        self.cpu += other.cpu
        self.wait = max(self.wait, other.wait)


def ask(client: Client, pid: int, port: int) -> Share:
    """Be a normal client for a tenth of a second."""
    before = cpu_seconds(pid)
    requests, wait = client.ask(port)
    return Share(requests, cpu_seconds(pid) - before, wait)


def settle(pid: int) -> None:
    """Wait until the server has done what the beginning of an attack costs; at most 30 s."""
    for _ in range(60):
        before = cpu_seconds(pid)
        time.sleep(0.5)
        if cpu_seconds(pid) - before < 0.05:
            return


def serve(port: int, *options: str) -> subprocess.Popen[bytes]:
    command = ["taskset", "-c", "0", program("shardserve"), "apps.mixed:asgi", "-w", "1", "-b", f"127.0.0.1:{port}"]
    process = subprocess.Popen([*command, *options], cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port, process)
    return process


def measure(attack: Attack, seconds: float) -> str:
    """Measure one attack; returns the row of the table."""
    port, other_port = free_port(), free_port()
    target, other = serve(port), serve(other_port)
    beside, alone = Share(), Share()
    costs: list[float] = []
    ratios: list[float] = []
    try:
        with Client(CORE) as client:
            for _ in range(10):
                ask(client, target.pid, port)
                ask(client, other.pid, other_port)
            before = sum(pss(target.pid))
            with Attacker(attack, port):
                if attack.number:
                    settle(target.pid)
                ends = time.monotonic() + seconds
                while time.monotonic() < ends:
                    one = ask(client, target.pid, port)
                    used, began = cpu_seconds(target.pid), time.monotonic()
                    two = ask(client, other.pid, other_port)
                    costs.append((cpu_seconds(target.pid) - used) / (time.monotonic() - began))
                    ratios.append(one.rate / two.rate)
                    beside.add(one)
                    alone.add(two)
                during = sum(pss(target.pid))
        time.sleep(0.5)
        memory = (before, during, sum(pss(target.pid)))
    finally:
        for process in (target, other):
            process.send_signal(signal.SIGTERM)
        for process in (target, other):
            process.wait(45)
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    cells = (
        attack.name,
        attack.what,
        attack.told(),
        " / ".join(f"{octets / 1e6:.1f}" for octets in memory),
        f"{100 * statistics.mean(costs):.1f} %",
        f"{100 * beside.rate / alone.rate:.0f} ± {100 * error:.0f} %" + (" (flood)" if attack.flood else ""),
        f"{1000 * beside.wait:.0f} / {1000 * alone.wait:.0f} ms",
    )
    row = f"| {' | '.join(cells)} |"
    print(row, flush=True)
    return row


WATCH = "watch"
SLOW = {
    "sends nothing": (b"", b""),
    "sends nothing after an answer": (GET, b""),
    "stops in a head": (HEAD, b""),
    "sends a header line every 2 s": (HEAD, b"X-A: b\r\n"),
    "stops in a body": (POST + b"x", b""),
    "sends an octet of a body every 2 s": (POST, b"x"),
    "sends a chunk extension's octet every 2 s": (CHUNKED + b"1;a", b"a"),
    "stops in a chunked body": (CHUNKED + b"5\r\nhel", b""),
    "sends a trailer line every 2 s": (CHUNKED + b"0\r\n", b"X-A: b\r\n"),
    "does not read a large answer": (LARGE * 8, b""),
}


def watch_one(port: int, first: bytes, more: bytes) -> tuple[float, bytes]:
    """Be one slow client; how many seconds it was kept, and what it was answered in the end."""
    sock = socket.socket()
    deaf = first.startswith(LARGE)
    if deaf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    began = said = time.monotonic()
    answer = b""
    with sock:
        sock.sendall(first)
        while time.monotonic() - began < 120:
            time.sleep(0.1)
            if more and time.monotonic() - said > 2:
                said = time.monotonic()
                with contextlib.suppress(OSError):
                    sock.sendall(more)
            if deaf and established(sock.getsockname()[1], port):
                continue
            try:
                data = b"" if deaf else sock.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                break
            answer = data
    return time.monotonic() - began, b"" if first == GET else answer


def watch() -> list[str]:
    """One client of each slow kind: when the server lets it go, and with what answer."""
    port = free_port()
    process = serve(port)
    rows = []
    found: dict[str, tuple[float, bytes]] = {}

    def note(name: str, first: bytes, more: bytes) -> None:
        found[name] = watch_one(port, first, more)

    threads = [threading.Thread(target=note, args=(name, *octets)) for name, octets in SLOW.items()]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(45)
    for name, (took, got) in found.items():
        rows.append(f"| {name} | {took:.0f} s | {got[9:12].decode() or 'no answer'} |")
    print("\n".join(rows))
    return rows


def established(local: int, port: int) -> bool:
    """Whether the server still has the connection from that port of ours."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = (f"{port:04X}", f"{local:04X}", "01")
    return any((row[1][-4:], row[2][-4:], row[3]) == ends for row in rows)


def write(name: str, head: list[str], rows: list[str], order: Iterable[str]) -> None:
    """Put rows between two marks of the page, in place of those that begin alike; the others stay."""
    begin, end = f"<!-- {name} begins -->", f"<!-- {name} ends -->"
    before, _, rest = BOUNDS.read_text().partition(begin)
    there, _, after = rest.partition(end)
    table = {row.split(" | ")[0].removeprefix("| "): row for row in (*there.splitlines(), *rows)}
    lines = [*head, *(table[one] for one in order if one in table)]
    BOUNDS.write_text(f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=24, help="of each attack")
    parser.add_argument("--only", nargs="+", default=[""])
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    os.sched_setaffinity(0, {CORE})
    if any(word in WATCH for word in given.only):
        write("slow", ["| a client that | is let go after | with |", "|---|---|---|"], watch(), SLOW)
    rows = [measure(attack, given.seconds) for attack in ATTACKS if any(word in attack.name for word in given.only)]
    head = [
        "| attack | what | the server | PSS in MB before / during / after | its cost | kept | longest wait / other |",
        "|---|---|---|---|---|---|---|",
    ]
    write("attacks", head, rows, [attack.name for attack in ATTACKS])
    sys.stdout.flush()


if __name__ == "__main__":
    main()

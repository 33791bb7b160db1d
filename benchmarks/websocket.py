"""Echoes of WebSocket messages per CPU second of the server, beside uvicorn's: one run, interleaved rounds.

    python websocket.py [--rounds 5] [--seconds 3]

32 connections, each with one message under way; servers on CPU 0, the client on CPU 1, no compression. It counts as
bench.py does. uvicorn serves by either of its own two protocols. Prints a table for docs/websocket.md. Loopback only.
"""

from __future__ import annotations

import argparse
import os
import platform
import selectors
import socket
import statistics
import struct
import sys
import time

from environments import environment, versions
from serving import LOAD_CPU, cpu_seconds, free_port, serving

CONNECTIONS = 32
SIZES = (32, 1024, 65536)
UVICORN = ("uvicorn", "apps.websocket:asgi", "--port", "{port}", "--no-access-log", "--loop", "uvloop")
PLAIN = ("--ws-per-message-deflate", "false")
COMMANDS = {  # each begins with its package
    "shardserve": ("shardserve", "apps.websocket:asgi", "-w", "1", "-b", "127.0.0.1:{port}"),
    "uvicorn, websockets-sansio": (*UVICORN, "--ws", "websockets-sansio", *PLAIN),
    "uvicorn, wsproto": (*UVICORN, "--ws", "wsproto", *PLAIN),
}
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def message(size: int) -> tuple[bytes, int]:
    """A masked text message, and how many octets its echo has."""
    head = b"" if size < 126 else struct.pack("!H", size) if size < 65536 else struct.pack("!Q", size)
    short = {0: size, 2: 126, 8: 127}[len(head)]
    # The key 0 leaves the payload as it is; the server has the same work.
    return bytes((0x81, 0x80 | short)) + head + b"\0\0\0\0" + b"x" * size, 2 + len(head) + size


def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(HANDSHAKE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    if not head.startswith(b"HTTP/1.1 101 "):
        raise RuntimeError(head.decode())
    return client


def load(port: int, size: int, seconds: float) -> int:
    """Send and await echoes for so long; returns how many came."""
    octets, expected = message(size)
    selector = selectors.EpollSelector()
    missing = {}
    for _ in range(CONNECTIONS):
        client = connect(port)
        selector.register(client, selectors.EVENT_READ)
        missing[client] = expected
        client.sendall(octets)
    echoes = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in selector.select(1):
            client = key.fileobj
            got = len(client.recv(262144))  # type: ignore[union-attr]
            if not got:
                raise RuntimeError("the server has closed")
            missing[client] -= got  # type: ignore[index]
            if not missing[client]:  # type: ignore[index]
                echoes += 1
                missing[client] = expected  # type: ignore[index]
                client.sendall(octets)  # type: ignore[union-attr]
    for client in missing:
        client.close()
    return echoes


def measure(command: tuple[str, ...], seconds: float) -> dict[int, float]:
    """Echoes per CPU second for each size, one fresh server for all of them."""
    port = free_port()
    results = {}
    with serving([word.format(port=port) for word in command], port) as pid:
        load(port, SIZES[0], 1)  # warm up
        for size in SIZES:
            before = cpu_seconds(pid)
            echoes = load(port, size, seconds)
            results[size] = echoes / (cpu_seconds(pid) - before)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CPU})
    figures: dict[str, dict[int, list[float]]] = {}
    for number in range(options.rounds):
        for name, command in COMMANDS.items():
            print(f"round {number + 1}: {name}", file=sys.stderr)
            for size, value in measure(command, options.seconds).items():
                figures.setdefault(name, {}).setdefault(size, []).append(value)
    print(f"CPython {platform.python_version()}, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}\n")
    print("| server | " + " | ".join(f"{size} octets" for size in SIZES) + " |\n|---|" + "---|" * len(SIZES))
    for name, (package, *_) in COMMANDS.items():
        cells = []
        for size, values in figures[name].items():
            median, ours = statistics.median(values), statistics.median(figures["shardserve"][size])
            spread = f"{min(values) / 1000:.1f}-{max(values) / 1000:.1f}"
            ratio = "" if name == "shardserve" else f", **{ours / median:.2f}x**"
            cells.append(f"{median / 1000:.1f} ({spread}){ratio}")
        print(f"| {name} {versions(environment(package), package)[package]} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

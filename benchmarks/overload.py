"""Goodput at twice the capacity: how many requests are answered within a second, beside peers with their own options.

    python overload.py [--seconds 8] [--rate 400] [--only WORD ...]

An application that can do 200 requests a second (a pool of four, 20 ms each; or 5 ms of CPU) gets 400, evenly
spaced, whether or not the ones before have been answered. Each goes on a kept connection that is idle, else on a new
one; a client that has no answer after a second has given up, and closes. One worker on CPU 0, the clients on CPU 1.
Loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field

from serving import free_port, serving

PATIENCE = 1.0  # seconds
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LENGTH = re.compile(rb"(?i)content-length: *(\d+)")

UVICORN = "uvicorn apps.pooled:{app} --port {port} --no-access-log --loop uvloop --http httptools"
GRANIAN = "granian --interface {interface} --port {port} --workers 1 --no-log apps.pooled:{app}"
SHARDSERVE = "shardserve apps.pooled:{app} -w 1 -b 127.0.0.1:{port}"
CONTENDERS = {
    "pooled_asgi": (
        SHARDSERVE,
        SHARDSERVE + " --limit-concurrency 8",
        SHARDSERVE + " --limit-concurrency 100",
        UVICORN,
        UVICORN + " --limit-concurrency 8",
        UVICORN + " --limit-concurrency 100",
        GRANIAN,
        GRANIAN + " --backpressure 8",
        GRANIAN + " --backpressure 100",
        "gunicorn -k asgi -b 127.0.0.1:{port} apps.pooled:{app}",
    ),
    "busy_asgi": (
        SHARDSERVE,
        SHARDSERVE + " --limit-concurrency 1",
        UVICORN,
        UVICORN + " --limit-concurrency 8",
        UVICORN + " --limit-concurrency 100",
        GRANIAN + " --backpressure 8",
        "gunicorn -k asgi -b 127.0.0.1:{port} apps.pooled:{app}",
    ),
    "pooled_wsgi": (
        SHARDSERVE + " --threads 4",
        SHARDSERVE + " --threads 4 --limit-concurrency 4",
        GRANIAN + " --blocking-threads 4",
        GRANIAN + " --blocking-threads 4 --backpressure 8",
        "gunicorn -k gthread --threads 4 -b 127.0.0.1:{port} apps.pooled:{app}",
    ),
}


@dataclass
class Tally:
    """What has become of the requests; `took` are the seconds of good answers."""

    took: list[float] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)


class Clients:
    """All of them: kept connections that are idle, and what became of the requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.tally = Tally()

    async def ask(self, due: float) -> None:
        connection = self._idle.pop() if self._idle else None
        kept = False
        try:
            async with asyncio.timeout_at(due + PATIENCE):
                if connection is None:
                    connection = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = connection
                writer.write(REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                length = LENGTH.search(head)
                await reader.readexactly(int(length[1]) if length else 0)
                kept = b"connection: close" not in head.lower()
            if head[9:12] == b"200":
                self.tally.took.append(asyncio.get_running_loop().time() - due)
            else:
                self.tally.other[head[9:12].decode()] += 1
        except TimeoutError:
            self.tally.other["late"] += 1
        except (OSError, asyncio.IncompleteReadError):
            self.tally.other["broken"] += 1
        finally:
            if connection is not None and kept:
                self._idle.append(connection)
            elif connection is not None:
                connection[1].close()

    async def run(self, rate: float, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        tasks = []
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            tasks.append(loop.create_task(self.ask(due)))
        await asyncio.gather(*tasks)
        for _, writer in self._idle:
            writer.close()


def measure(app: str, command: str, rate: float, seconds: float) -> str:
    port = free_port()
    words = command.format(app=app, interface=app[-4:], port=port).split()
    with serving(words, port):
        time.sleep(0.5)
        clients = Clients(port)
        asyncio.run(clients.run(rate, seconds))
    took = sorted(clients.tally.took)
    name = command.replace(" apps.pooled:{app}", "").replace(" -w 1", "").replace(" -b 127.0.0.1:{port}", "")
    name = name.replace(" --port {port}", "").replace(" --interface {interface}", "").replace(" --workers 1", "")
    name = re.sub(" --(no-access-log|loop uvloop|http httptools|no-log)", "", name)
    cells = [name, f"{len(took) / seconds:.0f}"]
    cells += [f"{1000 * took[len(took) // 2]:.0f} / {1000 * took[len(took) * 95 // 100]:.0f}" if took else "-"]
    cells += [f"{clients.tally.other[kind] / seconds:.0f}" for kind in ("503", "late", "broken")]
    row = f"| {app} | " + " | ".join(cells) + " |"
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rate", type=float, default=400)
    parser.add_argument("--only", nargs="+", default=[""])
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print("| application | server | within 1 s, a second | ms: median / 95 % | 503 | late | broken |")
    print("|---|---|---|---|---|---|---|")
    for app, commands in CONTENDERS.items():
        for command in commands:
            if any(word in f"{app} {command}" for word in given.only):
                measure(app, command, given.rate, given.seconds)


if __name__ == "__main__":
    main()

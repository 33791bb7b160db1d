"""A steered group of listeners whose workers the test plays: it accepts and publishes the load."""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import TYPE_CHECKING

from shardserve.net import bpf
from shardserve.net.address import Address
from shardserve.net.ebpf import LeastConnections
from shardserve.net.listener import bind
from shardserve.net.loads import CAPACITY, Load, Loads, note_taken
from shardserve.net.strays import under_way

if TYPE_CHECKING:
    from contextlib import ExitStack


def why_no_ebpf() -> str:
    """Why there is no eBPF here, and the way to get it; empty where there is."""
    try:
        os.close(bpf.create_map(bpf.MAP_REUSEPORT_SOCKARRAY, 8, 1))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise
        return f"run as root or with CAP_BPF, on Linux: {error.strerror}"
    return ""


class Shards:
    """One group of `count` listeners, eBPF attached, and its workers. Everything is closed with `stack`."""

    def __init__(self, host: str, count: int, stack: ExitStack) -> None:
        (group,) = bind(Address("tcp", host=host), count, 1024)
        stack.callback(group.close)
        self.stack = stack
        self.port = group.address.port
        self.sockets = list(group.sockets)
        self.place = self.sockets[0].getsockname()
        self.steering = LeastConnections(CAPACITY)
        stack.callback(self.steering.close)
        self.loads = Loads(self.steering.memory)
        self.held: dict[int, int] = {}  # connections by shard
        self.steering.attach(self.sockets)

    def connect(self, host: str = "127.0.0.1", times: int = 1) -> None:
        for _ in range(times):
            self.stack.enter_context(socket.create_connection((host, self.port), 5))

    def work(self, expected: int = 1) -> None:
        """Accept `expected` connections, wherever they are, each worker publishing its load."""
        for _ in range(expected):
            ready, _, _ = select.select(self.sockets, [], [], 5)
            assert ready, f"a connection is missing: {self.held}"
            shard = self.sockets.index(ready[0])
            self.stack.enter_context(ready[0].accept()[0])
            self.held[shard] = self.held.get(shard, 0) + 1
            note_taken(self.loads.line(shard), self.held[shard])

    def publish(self) -> None:
        """What is `held` is open, and nothing is under way any more."""
        for shard in range(len(self.sockets)):
            line = self.loads.line(shard)
            line[Load.CONNECTIONS] = self.held.get(shard, 0)
            line[Load.TAKEN] = line[Load.STEERED]

    def pending(self, count: int = 0) -> list[int]:
        """What is under way to each shard, or to the first `count` ones."""
        return [under_way(self.loads.line(shard)) for shard in range(count or len(self.sockets))]

    def add(self) -> socket.socket:
        """One more listener of the group."""
        sock = self.stack.enter_context(socket.socket(self.sockets[0].family))
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        sock.bind(self.place)
        sock.listen(1024)
        sock.setblocking(False)
        return sock

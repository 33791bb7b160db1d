"""A link with a round-trip time: two network namespaces whose packets a process of ours hands on late.

Not every kernel has netem; TUN devices every one has. On loopback a handshake is over before connect() returns, which
hides what a server does to handshakes that are under way; here it takes the time it takes between machines.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.netns import enter, make_tun, new_network, private_network

if TYPE_CHECKING:
    from collections.abc import Iterator

NEAR, FAR = "10.9.0.1", "10.9.0.2"
_BATCH = 64  # packets read in one go
_PACKET_MAX = 65536  # octets


class DelayedLink:
    """Called, it enters the far namespace (as `preexec_fn` of what is to run there)."""

    def __init__(self, far: int, relay: subprocess.Popen[bytes]) -> None:
        self._far = far
        self._relay = relay

    def __call__(self) -> None:
        enter(self._far)

    def connect(self, port: int) -> socket.socket:
        """A client of the far side, connected to the near one."""

        def connect() -> socket.socket:
            enter(self._far)  # which concerns this thread alone
            return socket.create_connection((NEAR, port), 10)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(connect).result()

    def break_off(self) -> None:
        """From now on every packet is lost, without a word to either side."""
        self._relay.send_signal(signal.SIGSTOP)


@contextmanager
def delay_link(rtt: float) -> Iterator[DelayedLink]:
    """Run in the near namespace, with NEAR as its address, `rtt` seconds from FAR.

    Skips the test where namespaces or TUN devices are not to be had.
    """
    with private_network():
        near = make_tun("near", NEAR)
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        far_network = new_network()
        far = make_tun("far", FAR)
        enter(back)
        os.close(back)
        relay = subprocess.Popen(
            [sys.executable, "-m", "support.delaylink", str(rtt / 2), str(near), str(far)],
            cwd=Path(__file__).parent.parent,
            pass_fds=(near, far),
        )
        os.close(near)
        os.close(far)
        try:
            yield DelayedLink(far_network, relay)
        finally:
            relay.kill()
            relay.wait()
            os.close(far_network)


def hand_on(delay: float, near: int, far: int) -> None:
    """Hand packets on, each `delay` seconds after it was read, for ever."""
    other = {near: far, far: near}
    under_way: deque[tuple[float, int, bytes]] = deque()  # in the order in which they are due
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        readable, _, _ = select.select([near, far], [], [], wait)
        for one in readable:
            try:
                for _ in range(_BATCH):
                    under_way.append((time.monotonic() + delay, other[one], os.read(one, _PACKET_MAX)))
            except BlockingIOError:
                pass
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, to, packet = under_way.popleft()
            os.write(to, packet)


if __name__ == "__main__":
    hand_on(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

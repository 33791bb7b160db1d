"""TCP keep-alive: a client that has vanished is found out though nothing is being sent (RFC 9293 section 3.8.4).

Without it a long poll, a stream without news, or a WebSocket without pings is held for ever for a client whose machine
or network is gone.
"""

from __future__ import annotations

import socket
import sys

IDLE = 60  # seconds of silence until the first probe; below what NATs and load balancers forget after
INTERVAL = 15  # seconds between probes
COUNT = 4  # probes without an answer: the client is gone


def probe_silent_clients(listener: socket.socket) -> None:
    """Have the kernel probe what is accepted from this TCP listener; accepted sockets inherit it (Linux: tcp(7)).

    A listener that was given to us and has keep-alive on already stays as it is.
    """
    if listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, COUNT)

"""Ports of this machine."""

from __future__ import annotations

import socket


def free_ports(count: int) -> list[int]:
    """So many on which nobody listens."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in held]
    for sock in held:
        sock.close()
    return ports


def refuses(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nobody listens on it; a listener whose door is shut ignores us for a moment instead."""
    try:
        socket.create_connection((host, port), timeout=0.3).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False

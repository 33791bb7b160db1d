"""Ending sockets without loss: listeners that let nobody in any more, streams that end whoever else holds a copy."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

from shardserve.native import borrowed, end_writing

_IP_MINTTL = 21  # linux/in.h
_IPV6_MINHOPCOUNT = 73  # linux/in6.h
_MOST = 255  # hops; a packet that has crossed one router, or left a host with the usual 64, has less


def shut_door(listener: socket.socket) -> bool:
    """Have a TCP listener ignore new connections; returns whether it does. What is queued stays.

    By asking for a hop limit that no client has (ip(7), IP_MINTTL; RFC 5082): the kernel holds connection requests to
    it, but not the last packet of a handshake under way, those complete. It takes no privilege; a socket filter would
    (EPERM, measured on 6.18). Connections that come in later inherit it and hear nothing until `open_door`.
    """
    return _set_hops(listener, _MOST)


def open_door(connection: int) -> None:
    """Have a connection, by its descriptor, from a listener whose door is shut hear its client."""
    if connection >= 0:
        with suppress(OSError), borrowed(connection) as sock:
            _set_hops(sock, 0)


def _set_hops(sock: socket.socket, hops: int) -> bool:
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    with suppress(OSError):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, hops)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, hops)  # of IPv6 too: IPv4 comes to a dual-stack socket
        return True
    return False


def blank(descriptor: int, null: int) -> None:
    """Let this process's copy go, and keep its number occupied: it stands for /dev/null (`null`) from now on.

    Whoever still has the number, a transport that is destroyed later, then closes nothing foreign with it (dup(2)).
    """
    if descriptor >= 0:
        os.dup2(null, descriptor, inheritable=False)


def end_stream(descriptor: int) -> None:
    """End a connection's stream itself (shutdown(2)): closing a descriptor does not while a copy of it is open."""
    if descriptor >= 0:
        with suppress(OSError):  # it is gone already
            end_writing(descriptor)

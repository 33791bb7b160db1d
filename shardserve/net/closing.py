"""Ending sockets so that their other side learns of it, whoever else may hold a copy of the descriptor."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def blank(descriptor: int, null: int) -> None:
    """Let this process's copy go, and keep its number occupied: it stands for /dev/null (`null`) from now on.

    Whoever still has the number, a transport that is destroyed later, then closes nothing foreign with it (dup(2)).
    """
    if descriptor >= 0:
        os.dup2(null, descriptor, inheritable=False)


def end_stream(descriptor: int, how: int = socket.SHUT_WR) -> None:
    """End a connection's stream itself (shutdown(2)): closing a descriptor does not while a copy of it is open."""
    if descriptor >= 0:
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as copy:  # it is gone already
            copy.shutdown(how)

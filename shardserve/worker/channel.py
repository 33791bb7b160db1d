"""The channel between the supervisor and one worker: a socket pair of its own, one JSON message a packet.

Either side sees the other's end as end of file: a worker learns so that its supervisor is gone.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Literal

_MESSAGE_MAX = 65536  # octets; a longer traceback is cut before it is sent

# Supervisor to worker.
#   drain: a replacement accepts on the same listeners; stop accepting, answer what has been accepted, leave
#   stop:  the service ends; take what is queued as well, then leave
#   quit:  leave at once
Command = Literal["drain", "stop", "quit"]


class Channel:
    """One end of the channel."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setblocking(False)

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """The supervisor's end and the worker's."""
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(left), cls(right)

    def fileno(self) -> int:
        """For selectors and loops."""
        return self._socket.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; one that the other side is not there to read, or never reads, is dropped."""
        try:
            self._socket.send(json.dumps(message).encode())
        except OSError:
            pass  # the end of the other process is noticed where it is waited for

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that wait, or None once the other side is gone and all it said has been read."""
        messages: list[dict[str, Any]] = []
        while True:
            try:
                data = self._socket.recv(_MESSAGE_MAX)
            except BlockingIOError:
                return messages
            except OSError:
                data = b""
            if not data:
                return messages or None
            messages.append(json.loads(data))

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def failure(error: str, trace: str, exit_code: int) -> dict[str, Any]:
    """The message of a worker that could not start."""
    return {"failed": error[:4096], "trace": trace[-32768:], "exit_code": exit_code}

"""The channel between the supervisor and one worker, or template: a socket pair of its own, one JSON message a packet.

Either side sees the other's end as end of file: a worker learns so that its supervisor is gone.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class HasFileno(Protocol):
        """A file, a socket, a sink."""

        def fileno(self) -> int:
            """Its descriptor."""
            ...


_MESSAGE_MAX = 65536  # octets; a longer traceback is cut before it is sent
DESCRIPTORS_MAX = 250  # with one message; the kernel's own limit is 253
_CONTROL_MAX = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)

# Supervisor to worker.
#   drain: a replacement accepts on the same listeners; stop accepting, answer what has been accepted, leave
#   stop:  the service ends; take what is queued as well, then leave
#   quit:  leave at once
#   close: every answer closes its connection from now on; go on accepting (--drain-delay), or leaving
# and, with descriptors:
#   adopt:   accept for shard N as well, from its inbox and its listeners, until
#   release: its own worker does
#   listen:  these are addresses that a reload adds; accept from them as from the other ones
#   part:    close the listeners of these inodes, of addresses that the service gives up; then one worker is told to
#   inherit: answer what is queued on these, with the door shut, and close them
#   meet:    there is one shard more, with this inbox to put into
#   log:     write the access log to this one
#   place:   the first message to a worker that a template forks: where it stands (place.py)
# Worker to supervisor.
#   ready, failed: how its start went
#   retire:        it has a reason to be replaced
#   refused:       it cannot adopt that shard, for want of descriptors
#   streaming:     it drains, and nobody waits for an answer to begin: the next shard's turn may come
# Between the supervisor and a template (template.py):
#   fork:          a worker, whose end of its channel comes with it
#   ready, failed: how its import went
#   forked:        the worker asked for, by its process id, or the error
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

    def send(self, message: dict[str, Any], files: Sequence[HasFileno] = ()) -> None:
        """Send a message, with copies of the descriptors of `files` (SCM_RIGHTS, unix(7)).

        One that the other side is not there to read, or never reads, is dropped.
        """
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], [file.fileno() for file in files])
        except OSError:
            pass  # the end of the other process is noticed where it is waited for

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that wait, or None once the other side is gone and all it said has been read.

        Descriptors that came with a message stand in it under "descriptors"; they are the receiver's to close. Where
        this process has not as many free, it has "cut" instead, and none of them.
        """
        messages: list[dict[str, Any]] = []
        while True:
            try:
                message = self.take()
            except BlockingIOError:
                return messages
            if message is None:
                return messages or None
            messages.append(message)

    def take(self) -> dict[str, Any] | None:
        """The next message, as in `receive`. Raises BlockingIOError if none waits."""
        try:
            data, control, flags, _ = self._socket.recvmsg(_MESSAGE_MAX, _CONTROL_MAX, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            raise
        except OSError:
            data = b""
        if not data:
            return None
        message: dict[str, Any] = json.loads(data)
        descriptors = array.array("i")
        for _, _, octets in control:
            descriptors.frombytes(octets)
        if flags & socket.MSG_CTRUNC:
            for descriptor in descriptors:
                os.close(descriptor)
            message["cut"] = True
            del descriptors[:]
        message["descriptors"] = list(descriptors)
        return message

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def failure(error: str, trace: str, exit_code: int) -> dict[str, Any]:
    """The message of a worker that could not start."""
    return {"failed": error[:4096], "trace": trace[-32768:], "exit_code": exit_code}

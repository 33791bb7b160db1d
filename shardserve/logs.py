"""Logs: the server's own, one format, to stderr; and a way to write lines that never waits. Open to every layer."""

from __future__ import annotations

import logging
import os
import select
import socket
import stat
import time

log = logging.getLogger("shardserve")

FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S %z"

STDOUT, STDERR = 1, 2
_PIPE_ATOMIC = 4096  # octets that a pipe takes whole or not at all (pipe(7): PIPE_BUF)


def reserve_standard_descriptors() -> None:
    """Open /dev/null in place of a standard descriptor that is closed, or the next socket would get its number."""
    for descriptor in (0, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one


class Sink:
    """A descriptor that is written to without ever waiting: where it is full or closed, lines are dropped and counted.

    A log that nobody reads must not stop a loop. Setting O_NONBLOCK on an inherited descriptor would change it for its
    other users too, so pipes and terminals are opened once more, through /proc, with a flag of their own.
    """

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        self._socket: socket.socket | None = None
        self._descriptor = descriptor
        self._poll = False
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            self._descriptor = -1
            return
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(descriptor))
        elif not stat.S_ISREG(mode):
            try:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
            except OSError:
                self._poll = True  # not ours to open: ask before each write

    @classmethod
    def append_to(cls, path: str) -> Sink:
        """A sink for the end of a file, made if it is not there. Raises OSError."""
        return cls(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644))

    def fileno(self) -> int:
        """The descriptor, for handing it on."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor; nothing can be written any more."""
        if self._descriptor > STDERR:
            os.close(self._descriptor)
        self._descriptor = -1

    def write(self, lines: bytes) -> None:
        """Write whole lines, or drop what is not taken at once."""
        if self.dropped and self._write(b"(%d log writes were dropped: nobody read them)\n" % self.dropped):
            self.dropped = 0
        if not self._write(lines):
            self.dropped += 1

    def _write(self, data: bytes) -> bool:
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) == len(data)
            if self._poll:
                data = data[:_PIPE_ATOMIC]
                if not select.select((), (self._descriptor,), (), 0)[1]:
                    return False
            return os.write(self._descriptor, data) == len(data)
        except OSError:
            return False


class _SinkHandler(logging.Handler):
    """Gives the records of a logger to a sink."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            self._sink.write(self.format(record).encode(errors="backslashreplace") + b"\n")
        except Exception:  # logging's own rule: a bad record must not break its caller
            self.handleError(record)


def set_up_logging(level: str) -> None:
    """Write the shardserve log to stderr at `level` ("debug" to "critical"); calling it again changes the level."""
    if not log.handlers:
        handler = _SinkHandler(Sink(STDERR))
        formatter = logging.Formatter(FORMAT, DATE_FORMAT)
        formatter.converter = time.gmtime  # an application that sets TZ must not shift its worker's lines
        handler.setFormatter(formatter)
        log.addHandler(handler)
        log.propagate = False
    log.setLevel(level.upper())


def printable(text: str) -> str:
    """Text from a client, with every control character escaped so that it cannot forge a line or drive a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")

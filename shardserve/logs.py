"""Logs: the server's own, one format, to stderr; and a way to write lines that never waits. Open to every layer."""

from __future__ import annotations

import errno
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
        self._regular = False
        self._shared = False  # with others for whom it waits: we must not, nor can open it anew
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            self._descriptor = -1
            return
        self._regular = stat.S_ISREG(mode)
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(descriptor))
        elif not self._regular:
            try:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
            except OSError:
                self._shared = True

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
        if self.dropped:
            notice = b"(%d log writes were dropped: nobody read them)\n" % self.dropped
            if self.take(notice) == len(notice):
                self.dropped = 0
        if self.take(lines) < len(lines):
            self.dropped += 1

    def take(self, lines: bytes | bytearray) -> int:
        """Write as much of `lines`, from their beginning, as is taken at once; returns how many octets that is.

        Others write to the same pipe, so pieces of whole lines go there that it takes whole or not at all.
        """
        taken = 0
        try:
            while taken < len(lines):
                end = self._end_of_piece(lines, taken)
                piece = lines[taken:end]
                done = self._put(piece)
                taken += done
                if done < len(piece):
                    break
        except OSError:  # it takes no more for now, or never again
            pass
        return taken

    def _end_of_piece(self, lines: bytes | bytearray, start: int) -> int:
        if self._regular or len(lines) - start <= _PIPE_ATOMIC:
            return len(lines)
        end = lines.rfind(b"\n", start, start + _PIPE_ATOMIC) + 1
        return end or lines.find(b"\n", start) + 1 or len(lines)  # a line that is longer is written whole all the same

    def _put(self, data: bytes | bytearray) -> int:
        """Write without waiting; the number of octets taken. Raises OSError."""
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if not self._shared:
            return os.write(self._descriptor, data)
        try:
            return os.pwritev(self._descriptor, (data,), -1, os.RWF_NOWAIT)  # Linux 6.4 for pipes
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ESPIPE):
                raise
        if select.select((), (self._descriptor,), (), 0)[1]:
            return os.write(self._descriptor, data[:_PIPE_ATOMIC])
        return 0


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

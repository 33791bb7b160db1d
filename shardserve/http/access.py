"""The access log: one line per request when its response has ended, in gunicorn's atoms."""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from shardserve.errors import ConfigError
from shardserve.logs import STDOUT, Sink

if TYPE_CHECKING:
    import asyncio

    from shardserve.http.connection import Connection
    from shardserve.http.request import Request


class Line:
    """What is known of one request. `seconds` is how long it took; `request` is None where no head could be read."""

    __slots__ = ("connection", "request", "seconds", "sent", "status")

    def __init__(self, connection: Connection, request: Request | None, status: int, sent: int, seconds: float) -> None:
        self.connection = connection
        self.request = request
        self.status = status
        self.sent = sent
        self.seconds = seconds

    def field(self, name: bytes) -> str:
        """A request field, or "-"."""
        value = self.request.field(name) if self.request is not None else None
        return "-" if value is None else value.decode("latin-1")

    def target(self) -> str:
        """Path and query as they came."""
        if self.request is None:
            return ""
        path, query = self.request.path.decode("latin-1"), self.request.query.decode("latin-1")
        return f"{path}?{query}" if query else path


Atom = Callable[[Line], object]


def _request_line(line: Line) -> str:
    request = line.request
    return f"{request.method} {line.target()} HTTP/{request.version}" if request is not None else "-"


def _user(line: Line) -> str:
    scheme, _, token = line.field(b"authorization").partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        return base64.b64decode(token).partition(b":")[0].decode() or "-"
    except (binascii.Error, UnicodeDecodeError):
        return "-"


_ATOMS: dict[str, Atom] = {
    "h": lambda line: line.connection.client[0] if line.connection.client else "-",
    "l": lambda _: "-",
    "u": _user,
    "t": lambda _: time.strftime("[%d/%b/%Y:%H:%M:%S %z]"),
    "r": _request_line,
    "m": lambda line: line.request.method if line.request is not None else "-",
    "U": lambda line: line.request.path.decode("latin-1") if line.request is not None else "-",
    "q": lambda line: line.request.query.decode("latin-1") if line.request is not None else "",
    "H": lambda line: f"HTTP/{line.request.version}" if line.request is not None else "-",
    "s": lambda line: line.status,
    "B": lambda line: line.sent,
    "b": lambda line: line.sent or "-",
    "f": lambda line: line.field(b"referer"),
    "a": lambda line: line.field(b"user-agent"),
    "T": lambda line: int(line.seconds),
    "M": lambda line: int(line.seconds * 1_000),
    "D": lambda line: int(line.seconds * 1_000_000),
    "L": lambda line: f"{line.seconds:.6f}",
    "p": lambda _: f"<{os.getpid()}>",
}
_TOKEN = re.compile(r"%\(([^)]*)\)s|%%")


class AccessLog:
    """Formats and writes. Calling it records one request; what one turn of the loop brings leaves in one write."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: Sink, format_: str) -> None:
        """Raises ConfigError for an atom that is not known."""
        self._loop = loop
        self._sink = sink
        self._literals, self._atoms = compile_format(format_)
        self._lines: list[str] = []

    def __call__(self, connection: Connection, request: Request | None, status: int, sent: int, began: float) -> None:
        """Record a request that has ended now; `began` is a time of the loop, 0 where its head never was complete."""
        seconds = self._loop.time() - began if request is not None else 0.0
        line = Line(connection, request, status, sent, seconds)
        pieces = [self._literals[0]]
        for atom, literal in zip(self._atoms, self._literals[1:], strict=True):
            pieces.append(_escape(str(atom(line))))
            pieces.append(literal)
        if not self._lines:
            self._loop.call_soon(self.flush)
        self._lines.append("".join(pieces))

    def write_to(self, sink: Sink) -> None:
        """Write to another sink from now on; the one before is closed."""
        self.flush()
        self._sink.close()
        self._sink = sink

    def flush(self) -> None:
        """Write what has been recorded."""
        lines, self._lines = self._lines, []
        if lines:
            self._sink.write(("\n".join(lines) + "\n").encode(errors="backslashreplace"))


def open_sink(path: str) -> Sink:
    """The sink of `--access-logfile`: "-" is standard output. Raises ConfigError."""
    if path == "-":
        return Sink(STDOUT)
    try:
        return Sink.append_to(path)
    except OSError as error:
        raise ConfigError(f"--access-logfile: cannot write {path}: {error.strerror}") from None


def compile_format(format_: str) -> tuple[list[str], list[Atom]]:
    """Take a format apart into literals and the atoms between them. Raises ConfigError for an unknown atom."""
    literals, atoms, position = [""], [], 0
    for found in _TOKEN.finditer(format_):
        literals[-1] += format_[position : found.start()]
        position = found.end()
        if found[0] == "%%":
            literals[-1] += "%"
            continue
        atoms.append(_find_atom(found[1]))
        literals.append("")
    literals[-1] += format_[position:]
    return literals, atoms


def _find_atom(name: str) -> Atom:
    if name.startswith("{") and name.endswith("}i"):
        field = name[1:-2].lower().encode()
        return lambda line: line.field(field)
    atom = _ATOMS.get(name)
    if atom is None:
        known = " ".join(_ATOMS)
        raise ConfigError(f"--access-logformat: there is no atom %({name})s; there are {known} and {{name}}i")
    return atom


def _escape(text: str) -> str:
    """No control character and no quote of a client's may reach the log as it is (CVE-2020-7694)."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')

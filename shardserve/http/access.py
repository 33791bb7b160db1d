"""The access log: one line per request when its response has ended, in gunicorn's atoms.

A format is taken apart once. What a line consists of stands in a row: a few columns that nearly every format has,
fields of the request, texts that stay the same for a second, rare atoms; a C function picks from it what the format
wants, in its order. So the usual line costs no call of a Python function beyond the log's own.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from operator import itemgetter
from typing import TYPE_CHECKING

from shardserve.errors import ConfigError
from shardserve.http.line_writer import LineWriter
from shardserve.logs import STDOUT, Sink

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from shardserve.http.connection import Connection
    from shardserve.http.request import Request

    Rare = Callable[[Request | None, float], object]  # of a request, None where no head could be read, and its seconds

_ABSENT = "-"
_USER = b"authorization"
_COLUMNS = ("h", "r", "s", "B", "b")  # in the order in which AccessLog.__call__ puts them into a row
_FIELDS = {"u": _USER, "f": b"referer", "a": b"user-agent"}
_RARE: dict[str, Rare] = {
    "m": lambda request, _: request.method if request is not None else _ABSENT,
    "U": lambda request, _: request.path.decode("latin-1") if request is not None else _ABSENT,
    "q": lambda request, _: request.query.decode("latin-1") if request is not None else "",
    "H": lambda request, _: f"HTTP/{request.version}" if request is not None else _ABSENT,
    "T": lambda _, seconds: int(seconds),
    "M": lambda _, seconds: int(seconds * 1_000),
    "D": lambda _, seconds: int(seconds * 1_000_000),
    "L": lambda _, seconds: f"{seconds:.6f}",
}
_ATOMS = "h l u t r m U q H s B b f a T M D L p"
_TOKEN = re.compile(r"%\(([^)]*)\)s|%%")
_PIECES_MAX = 4096  # that are gathered within a turn of the loop: some 300 lines
# Octets of requests whose text is kept: clients repeat their paths and user agents. Cleared when full, so that what is
# asked for now is kept, and bounded: some 700 kB at worst.
_KNOWN_MAX = 1024
_KNOWN_SIZE_MAX = 256


class Format:
    """A format, taken apart. `order` says which item of a row comes next; `fixed` may be said anew each second."""

    def __init__(self, format_: str) -> None:
        """Raises ConfigError for an atom that is not known."""
        self.fields: dict[bytes, int] = {}  # name -> which of the fields in a row
        self.fixed: list[list[str | None]] = []  # pieces of one text each; None stands for the time
        self.rare: list[Rare] = []
        self._items: list[tuple[str, int]] = []  # part of the row, index in it
        position = 0
        for found in _TOKEN.finditer(format_):
            self._add_fixed(format_[position : found.start()])
            position = found.end()
            if found[0] == "%%":
                self._add_fixed("%")
            else:
                self._add_atom(found[1])
        self._add_fixed(format_[position:] + "\n")
        if len(self._items) == 1:
            self._items.append(("fixed", len(self.fixed)))  # with a single index itemgetter would return no tuple
            self.fixed.append([""])
        starts = {"column": 0, "field": len(_COLUMNS)}
        starts["fixed"] = starts["field"] + len(self.fields)
        starts["rare"] = starts["fixed"] + len(self.fixed)
        self.order = [starts[part] + index for part, index in self._items]

    def _add_atom(self, name: str) -> None:
        if name in _COLUMNS:
            self._items.append(("column", _COLUMNS.index(name)))
        elif name in _FIELDS:
            self._add_field(_FIELDS[name])
        elif name in _RARE:
            self._add_rare(_RARE[name])
        elif name == "t":
            self._add_fixed(None)
        elif name in ("l", "p"):
            self._add_fixed(_ABSENT if name == "l" else f"<{os.getpid()}>")
        elif name.startswith("{") and name.endswith("}i"):
            field = name[1:-2].lower().encode()
            if field == _USER:  # that column tells the name only
                self._add_rare(lambda request, _: _decode(request.field(_USER)) if request is not None else _ABSENT)
            else:
                self._add_field(field)
        else:
            raise ConfigError(f"--access-logformat: there is no atom %({name})s; there are {_ATOMS} and {{name}}i")

    def _add_field(self, name: bytes) -> None:
        self._items.append(("field", self.fields.setdefault(name, len(self.fields))))

    def _add_rare(self, atom: Rare) -> None:
        self._items.append(("rare", len(self.rare)))
        self.rare.append(atom)

    def _add_fixed(self, text: str | None) -> None:
        if self._items and self._items[-1][0] == "fixed":
            self.fixed[-1].append(text)
        elif text != "":
            self._items.append(("fixed", len(self.fixed)))
            self.fixed.append([text])

    def say_fixed(self, moment: str) -> list[str]:
        """The fixed texts of a row, with the time put in."""
        return ["".join([moment if piece is None else piece for piece in pieces]) for pieces in self.fixed]


class AccessLog:
    """Calling it records one request. What one turn of the loop brings leaves in one write (line_writer.py)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: Sink, format_: str) -> None:
        """Raises ConfigError for an atom that is not known."""
        self._clock = loop.time
        self._format = taken_apart = Format(format_)
        self._pick: Callable[[list[str]], Iterable[str]] = itemgetter(*taken_apart.order)
        self._fields = taken_apart.fields
        self._user = taken_apart.fields.get(_USER, -1)
        self._no_fields = [_ABSENT] * len(taken_apart.fields)
        self._rare = taken_apart.rare
        self._fixed: list[str] = []
        self._said_until = 0.0  # a time since the epoch at which the fixed texts have to be said anew
        self._known: dict[bytes, str] = {}
        self._writer = LineWriter(loop, sink)
        self.flush, self.write_to, self.finish = self._writer.flush, self._writer.write_to, self._writer.finish

    def __call__(self, connection: Connection, request: Request | None, status: int, sent: int, began: float) -> None:
        """Record a request that has ended now; `began` is a time of the loop, 0 where its head never was complete."""
        now = time.time()
        if not self._said_until - 1.0 <= now < self._said_until:
            self._say_fixed(now)
        known = self._known
        fields = self._no_fields
        if request is None:
            line = _ABSENT
        else:
            line = known.get(request.path) or self._learn(request.path)
            if request.query:
                line = f"{line}?{known.get(request.query) or self._learn(request.query)}"
            line = f"{request.method} {line} HTTP/{request.version}"
            for name, _ in request.headers:
                if name in self._fields:
                    fields = self._read_fields(request.headers)
                    break
        client = connection.client
        octets = str(sent)
        row = [client[0] if client else _ABSENT, line, str(status), octets, octets if sent else _ABSENT]
        row += fields
        row += self._fixed
        if self._rare:
            seconds = self._clock() - began if request is not None else 0.0
            row += [escape(str(atom(request, seconds))) for atom in self._rare]
        writer = self._writer
        pieces = writer.pieces
        if not pieces:
            writer.schedule()
        pieces += self._pick(row)
        if len(pieces) > _PIECES_MAX:
            writer.flush()

    def _say_fixed(self, now: float) -> None:
        self._said_until = now // 1 + 1.0
        self._fixed = self._format.say_fixed(time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(now)))

    def _read_fields(self, headers: list[tuple[bytes, bytes]]) -> list[str]:
        fields = self._no_fields.copy()
        wanted = self._fields
        for name, value in headers:
            if name in wanted:
                index = wanted[name]
                if fields[index] is not _ABSENT:
                    continue  # the first of a name counts
                if index == self._user:
                    fields[index] = _user(value)  # never kept: it comes from a secret
                else:
                    fields[index] = self._known.get(value) or self._learn(value)
        return fields

    def _learn(self, octets: bytes) -> str:
        text = escape(octets.decode("latin-1"))
        if len(octets) <= _KNOWN_SIZE_MAX:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[octets] = text
        return text


def open_sink(path: str) -> Sink:
    """The sink of `--access-logfile`: "-" is standard output. Raises ConfigError."""
    if path == "-":
        return Sink(STDOUT)
    try:
        return Sink.append_to(path)
    except OSError as error:
        raise ConfigError(f"--access-logfile: cannot write {path}: {error.strerror}") from None


def _decode(value: bytes | None) -> str:
    return _ABSENT if value is None else value.decode("latin-1")


def _user(authorization: bytes) -> str:
    """The name in Basic credentials (RFC 7617), escaped; "-" for other ones."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return _ABSENT
    try:
        return escape(base64.b64decode(token).partition(b":")[0].decode()) or _ABSENT
    except (binascii.Error, UnicodeDecodeError):
        return _ABSENT


def escape(text: str) -> str:
    """No control character and no quote of a client's may reach the log as it is (CVE-2020-7694)."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')

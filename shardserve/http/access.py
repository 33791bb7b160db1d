"""The access log: one line per request when its response has ended, in gunicorn's atoms.

A format is taken apart once, into a template of a line: pieces of text, of which those that stay the same for a second
are filled in. A line is a copy of it with the others put in their places. A connection keeps its last one: most of what
a client sends comes again with its next request, and is then not looked for again.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from typing import TYPE_CHECKING, TypeVar

from shardserve.errors import ConfigError
from shardserve.http.line_writer import LineWriter
from shardserve.logs import STDOUT, Sink
from shardserve.native import second

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from shardserve.http.request import Request

    Client = tuple[str, int] | None  # address and port; None where it has none
    Rare = Callable[[Request | None, float], object]  # of a request, None where no head could be read, and its seconds

_Key = TypeVar("_Key", str, bytes)

_ABSENT = "-"
_USER = b"authorization"
COLUMNS = ("h", "r", "s", "B", "b")  # atoms that nearly every format has
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
_LINES_MAX = 300  # that are gathered within a turn of the loop
# Octets of requests whose text is kept: clients repeat their paths and user agents. Cleared when full, so that what is
# asked for now is kept, and bounded: some 700 kB at worst.
_KNOWN_MAX = 1024
_KNOWN_SIZE_MAX = 256


class Format:
    """A format, taken apart: where in a line its atoms stand. The last piece is the end of the line."""

    def __init__(self, format_: str) -> None:
        """Raises ConfigError for an atom that is not known."""
        self.fields: dict[bytes, int] = {}  # name -> index of the piece, as below
        self.rare: list[tuple[int, Rare]] = []
        self.repeats: list[tuple[int, int]] = []  # pieces that are the same as an earlier one
        self._columns: dict[str, int] = {}
        self._pieces: list[list[str | None]] = []  # parts of each: fixed texts, None for the time; empty for an atom
        position = 0
        for found in _TOKEN.finditer(format_):
            self._add_fixed(format_[position : found.start()])
            position = found.end()
            if found[0] == "%%":
                self._add_fixed("%")
            else:
                self._add_atom(found[1])
        self._add_fixed(format_[position:])
        self._pieces.append(["\n"])

    def find(self, column: str) -> int:
        """The place of one of COLUMNS; that of the end of the line, which is put in last, where it is not wanted."""
        return self._columns.get(column, -1)

    def template(self, moment: str) -> list[str]:
        """The pieces of a line, with the time and what else is the same in all of them."""
        return ["".join([moment if part is None else part for part in parts]) or _ABSENT for parts in self._pieces]

    def _add_atom(self, name: str) -> None:
        if name in COLUMNS:
            self._add_once(self._columns, name)
        elif name in _FIELDS:
            self._add_once(self.fields, _FIELDS[name])
        elif name in _RARE:
            self._add_rare(_RARE[name])
        elif name == "t":
            self._add_fixed(None)
        elif name in ("l", "p"):
            self._add_fixed(_ABSENT if name == "l" else f"<{os.getpid()}>")
        elif name.startswith("{") and name.endswith("}i"):
            field = name[1:-2].lower().encode()
            if field == _USER:  # that place takes the name only
                self._add_rare(lambda request, _: _decode(request.field(_USER)) if request is not None else _ABSENT)
            else:
                self._add_once(self.fields, field)
        else:
            raise ConfigError(f"--access-logformat: there is no atom %({name})s; there are {_ATOMS} and {{name}}i")

    def _add_once(self, places: dict[_Key, int], key: _Key) -> None:
        here = len(self._pieces)
        earlier = places.setdefault(key, here)
        if earlier != here:
            self.repeats.append((here, earlier))
        self._pieces.append([])

    def _add_rare(self, atom: Rare) -> None:
        self.rare.append((len(self._pieces), atom))
        self._pieces.append([])

    def _add_fixed(self, text: str | None) -> None:
        if self._pieces and self._pieces[-1]:
            self._pieces[-1].append(text)
        elif text != "":
            self._pieces.append([text])


class Line:
    """The last line of a connection. What comes again with the next request stays as it is."""

    __slots__ = ("first", "pieces", "request", "sent", "status", "template", "text")

    def __init__(self, template: list[str], request: Request) -> None:
        self.template = template  # that it is made from: of one second
        self.pieces = template.copy()
        self.request = request
        self.first = request.first or request  # that its fields came with
        self.status = 0
        self.sent = -1
        self.text = ""  # all pieces


class AccessLog:
    """Records requests. What one turn of the loop brings leaves in one write (line_writer.py).

    `timed`: `record` may want to know when the request began.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: Sink, format_: str) -> None:
        """Raises ConfigError for an atom that is not known."""
        self._clock = loop.time
        self._format = taken_apart = Format(format_)
        self._host, self._line, self._status, self._sent, self._sent_or_dash = map(taken_apart.find, COLUMNS)
        self._fields = taken_apart.fields
        self._user = taken_apart.fields.get(_USER, -1)
        self._rare = taken_apart.rare
        self.timed = bool(taken_apart.rare)
        self._repeats = taken_apart.repeats
        self._template: list[str] = []
        self._second = -1  # since the epoch: the template's
        self._known: dict[bytes, str] = {}
        self._writer = LineWriter(loop, sink)
        self.flush, self.write_to, self.finish = self._writer.flush, self._writer.write_to, self._writer.finish

    def record(self, last: Line | None, client: Client, request: Request, status: int, sent: int, began: float) -> Line:
        """Record a request of `client` that has ended now; returns what its connection keeps, as `last` for the next.

        `sent`: octets of body; `began` is a time of the loop, if `timed`.
        """
        now = second()
        if now != self._second:
            self._renew(now)
        line, stale = last, False
        if line is None or line.template is not self._template or line.first is not request.first:
            line = Line(self._template, request)
            self._fill(line.pieces, client, request)
        else:
            before = line.request
            if request.path != before.path or request.query != before.query or request.method != before.method:
                line.pieces[self._line] = self._describe(request)
                stale = True
            line.request = request
        if line.status != status or line.sent != sent:
            line.status, line.sent = status, sent
            self._put_numbers(line.pieces, status, sent)
            stale = True
        if stale or self._rare:
            line.text = self._join(line.pieces, request, self._clock() - began if self._rare else 0.0)
        self._write(line.text)
        return line

    def record_unread(self, client: Client, status: int, sent: int) -> None:
        """Record that a client was refused before its head was complete."""
        now = second()
        if now != self._second:
            self._renew(now)
        pieces = self._template.copy()
        pieces[self._host] = client[0] if client else _ABSENT
        self._put_numbers(pieces, status, sent)
        self._write(self._join(pieces, None, 0.0))

    def _renew(self, now: int) -> None:
        self._second = now
        self._template = self._format.template(time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(now)))

    def _fill(self, pieces: list[str], client: Client, request: Request) -> None:
        """Put in what is likely to stay the same on a connection, and the request line."""
        pieces[self._host] = client[0] if client else _ABSENT
        pieces[self._line] = self._describe(request)
        fields = self._fields
        for name, value in request.headers:
            if name in fields:
                self._put_field(pieces, name, value)

    def _describe(self, request: Request) -> str:
        """The request line, its target escaped."""
        known = self._known
        target = known.get(request.path) or self._learn(request.path)
        if request.query:
            target = f"{target}?{known.get(request.query) or self._learn(request.query)}"
        return f"{request.method} {target} HTTP/{request.version}"

    def _put_numbers(self, pieces: list[str], status: int, sent: int) -> None:
        octets = str(sent)
        pieces[self._sent] = octets
        pieces[self._sent_or_dash] = octets if sent else _ABSENT
        pieces[self._status] = str(status)

    def _join(self, pieces: list[str], request: Request | None, seconds: float) -> str:
        """The line of these pieces and what depends on all of the request."""
        if self._rare:
            self._put_rare(pieces, request, seconds)
        for place, earlier in self._repeats:
            pieces[place] = pieces[earlier]
        pieces[-1] = "\n"  # which what has no place was put over
        return "".join(pieces)

    def _write(self, text: str) -> None:
        lines = self._writer.lines
        if not lines:
            self._writer.schedule()
        lines.append(text)
        if len(lines) > _LINES_MAX:
            self._writer.flush()

    def _put_field(self, line: list[str], name: bytes, value: bytes) -> None:
        place = self._fields[name]
        if line[place] is not _ABSENT:
            return  # the first of a name counts
        if place == self._user:
            line[place] = _user(value)  # never kept: it comes from a secret
        else:
            line[place] = self._known.get(value) or self._learn(value)

    def _put_rare(self, line: list[str], request: Request | None, seconds: float) -> None:
        for place, atom in self._rare:
            line[place] = escape(str(atom(request, seconds)))

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

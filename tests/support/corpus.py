"""The request corpus of tests/rfc: what a case is, how one is written down, and how one is run in-process.

A case is octets that a client sends and what must become of them: which requests the application sees, with which
status the server refuses what it does not serve, and whether the connection is kept.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shardserve.http.request import Limits
from support.wire import Driver, cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GATEWAYS = ("asgi", "wsgi")
SMALL = Limits(line=40, fields=5, field_size=40, section=100, body=20)  # for the cases about limits


@dataclass(frozen=True)
class Seen:
    """A request as the application must see it; of its fields only the named ones are compared, b"" means absent."""

    method: str = "GET"
    target: str = "/"
    body: bytes = b""
    fields: Mapping[str, bytes] = field(default_factory=dict)
    version: str = "1.1"


@dataclass(frozen=True)
class Case:
    """`about` says in a few words what the octets are, `section` where it is written what must become of them."""

    section: str
    about: str
    octets: bytes
    seen: tuple[Seen, ...]  # each is answered 200
    status: int | None  # of the server's own refusal behind them; None: there is none
    closed: bool  # by the server, without the client's help
    ended: bool = False  # the client ends its side behind the octets
    limits: Limits = field(default_factory=Limits)


def head(line: bytes, *fields: bytes, host: bytes | None = b"Host: a") -> bytes:
    """A request line, a Host field unless told otherwise, more fields, and the empty line."""
    lines = [line, *([] if host is None else [host]), *fields]
    return b"".join(one + b"\r\n" for one in lines) + b"\r\n"


def get(*fields: bytes, host: bytes | None = b"Host: a") -> bytes:
    """A plain GET with these fields."""
    return head(b"GET / HTTP/1.1", *fields, host=host)


def post(*fields: bytes, data: bytes = b"") -> bytes:
    """A POST with these fields and then these octets, whatever the fields say of them."""
    return head(b"POST / HTTP/1.1", *fields) + data


def chunked(data: bytes) -> bytes:
    """A POST with a body that is said to be in chunks: these octets."""
    return post(b"Transfer-Encoding: chunked", data=data)


GET = Seen()
POST = Seen("POST")


def served(section: str, about: str, octets: bytes, *seen: Seen, **more: Any) -> Case:
    """All is served (one plain GET if nothing else is said), and the connection is kept unless `closed` says not."""
    return Case(section, about, octets, seen or (GET,), **{"status": None, "closed": False, **more})


def refused(
    section: str, about: str, octets: bytes, status: int = 400, *, after: Sequence[Seen] = (), **more: Any
) -> Case:
    """Refused with this status, behind the requests `after` that were served, and closed."""
    return Case(section, about, octets, tuple(after), status, closed=True, **more)


def load(package: Any) -> dict[str, Case]:
    """All cases of a package's modules by "module: about", which must be unique."""
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules(package.__path__):
        for case in importlib.import_module(f"{package.__name__}.{module.name}").CASES:
            name = f"{module.name}: {case.about}"
            assert name not in found, f"two cases are {name!r}"
            found[name] = case
    return found


# Running one


class Recorder:
    """An application, ASGI and WSGI, that remembers each request once its body is complete, and answers 200."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        fields: dict[str, bytes] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1")
            fields[key] = fields[key] + b"," + value if key in fields else value
        query = scope["query_string"].decode("latin-1")
        target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        self.seen.append(Seen(scope["method"], target, body, fields, scope["http_version"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        fields = {
            key.removeprefix("HTTP_").replace("_", "-").lower(): value.encode("latin-1")
            for key, value in environ.items()
            if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")
        }
        version = environ["SERVER_PROTOCOL"].removeprefix("HTTP/")
        self.seen.append(Seen(environ["REQUEST_METHOD"], environ["RAW_URI"], body, fields, version))
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


@dataclass(frozen=True)
class Outcome:
    """What became of octets: comparable between parsers, gateways and ways to cut them."""

    seen: tuple[Seen, ...]
    statuses: tuple[int, ...]  # of final answers
    closed: bool


def run(
    pieces: Sequence[bytes], parser: str, gateway: str, *, ended: bool = False, limits: Limits | None = None
) -> Outcome:
    """Send the pieces, each by itself, over a connection in memory; what the server answers must be well-formed."""
    recorder = Recorder()
    make = Driver.asgi if gateway == "asgi" else Driver.wsgi
    with make(getattr(recorder, gateway), parser, limits=limits) as wire:
        for piece in pieces:
            wire.feed(piece)
            if gateway == "wsgi":
                wire.finish()
        if ended:
            wire.end()
            wire.finish()
        answers = wire.answers(*(one.method for one in recorder.seen))
        assert all(answer.complete for answer in answers)
        statuses = tuple(answer.status for answer in answers if answer.status >= 200)
        return Outcome(tuple(recorder.seen), statuses, wire.closed)


def in_pieces(octets: bytes) -> list[bytes]:
    """Octets as pieces of one each; many of them, where most are in one long field or body, cut at 100 places."""
    if len(octets) <= 2000:
        return [octets[at : at + 1] for at in range(len(octets))]
    return cut(octets, seed=1, cuts=100)


def mismatch(case: Case, outcome: Outcome) -> str:
    """What is not as the case wants it; "" if all is."""
    wanted = (200,) * len(case.seen) + (() if case.status is None else (case.status,))
    if outcome.statuses != wanted:
        return f"answered {outcome.statuses}, not {wanted}; seen: {outcome.seen}"
    if len(outcome.seen) != len(case.seen):
        return f"the application saw {outcome.seen}"
    for got, want in zip(outcome.seen, case.seen, strict=True):
        for name in ("method", "target", "body", "version"):
            if getattr(got, name) != getattr(want, name):
                return f"{name} is {getattr(got, name)!r}, not {getattr(want, name)!r}"
        for name, value in want.fields.items():
            if got.fields.get(name, b"") != value:
                return f"field {name} is {got.fields.get(name)!r}, not {value!r}"
    if outcome.closed != (case.closed or case.ended):
        return "closed" if outcome.closed else "not closed"
    return ""

"""The environ of a request (PEP 3333, "environ Variables")."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from shardserve.gateway.target import decode_path, split_root
from shardserve.gateway.wsgi import EarlyHints
from shardserve.http.request_line import HTTP_1_1

if TYPE_CHECKING:
    from shardserve.gateway.spool import Body
    from shardserve.gateway.wsgi import WsgiExchange, WsgiGateway
    from shardserve.http.exchange import Wire
    from shardserve.http.request import Request

# Fields whose environ name is not HTTP_ + NAME, or that must not reach it at all (the body comes already decoded).
_NAMES = {
    b"content-type": "CONTENT_TYPE",
    b"content-length": "",
    b"transfer-encoding": "",
    b"proxy": "",  # HTTP_PROXY would be taken for a setting of the server's own ("httpoxy", CVE-2016-5385)
}
_NAMES_MAX = 512
_BytesIO = io.BytesIO


def _learn_name(name: bytes) -> str:
    made = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(_NAMES) < _NAMES_MAX:
        _NAMES[name] = made
    return made


def _set_server(environ: dict[str, Any], server: tuple[str, int | None] | None, scheme: str) -> None:
    """Whom the client talks to, and how."""
    host, port = server or ("", None)
    environ["wsgi.url_scheme"] = scheme
    environ["SERVER_NAME"] = host or "localhost"  # a unix socket may have no name, PEP 3333 wants one
    environ["SERVER_PORT"] = str(port if port is not None else (443 if scheme == "https" else 80))


def _set_client(environ: dict[str, Any], client: tuple[str, int] | None) -> None:
    if client is not None:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    else:
        environ["REMOTE_ADDR"] = ""
        environ.pop("REMOTE_PORT", None)


class Known:
    """What is known of a connection: `base` of all environs; `fields`, base with the fields that `first` came with."""

    __slots__ = ("base", "fields", "first")

    base: dict[str, Any]
    fields: dict[str, Any] | None
    first: Request | None


def _know(gateway: WsgiGateway, wire: Wire) -> Known:
    """What is known of a connection at its first request."""
    server, scheme, here = gateway.here
    if wire.server != server or wire.scheme != scheme:  # else it has come to the same address as the last one
        here = gateway.base.copy()
        _set_server(here, wire.server, wire.scheme)
        gateway.here = wire.server, wire.scheme, here
    known = Known.__new__(Known)
    known.base = base = here.copy()
    known.fields = known.first = None
    _set_client(base, wire.client)
    wire.memo = known
    return known


def _set_fields(environ: dict[str, Any], headers: list[tuple[bytes, bytes]]) -> None:
    for name, value in headers:
        key = _NAMES.get(name)
        if key is None:
            key = _learn_name(name)
        if key:
            if key in environ:
                environ[key] += ("; " if key == "HTTP_COOKIE" else ",") + value.decode("latin-1")
            else:
                environ[key] = value.decode("latin-1")


def _set_length(environ: dict[str, Any], body: Body | None) -> None:
    """A body that has been read and decoded whole has a length even where it came in chunks; a streamed one has not."""
    size = body.size if body is not None else 0
    if size >= 0:
        environ["CONTENT_LENGTH"] = f"{size}"


def make_environ(exchange: WsgiExchange) -> dict[str, Any]:
    """The environ of an exchange's request; strings are latin-1 decoded octets."""
    gateway, wire, request, body = exchange._gateway, exchange.wire, exchange.request, exchange._body  # noqa: SLF001
    known: Any = wire.memo or _know(gateway, wire)
    first = request.first
    environ: dict[str, Any]
    if first is not None and first is known.first:
        environ = known.fields.copy()
    else:
        # For the last one it is not copied: it will not be asked for again.
        environ = known.base.copy() if request.keep_alive else known.base
        _set_fields(environ, request.headers)
        if first is not None:  # these come again, as far as one can tell
            known.fields, known.first = environ.copy(), first
    path = target = request.path.decode("latin-1")
    if "%" in target:
        path = decode_path(request.path).decode("latin-1")
    root = gateway.root_path
    if request.forwarded or request.ambiguous:
        client, scheme = gateway.proxies.resolve(wire, request)
        _set_server(environ, wire.server, scheme)
        _set_client(environ, client)
        root = gateway.proxies.root_path(wire, request, root)
    if root or not request.path.startswith(b"/"):
        root, path = split_root(path, root)
    if request.method != "GET":
        environ["REQUEST_METHOD"] = request.method
    if root:
        environ["SCRIPT_NAME"] = root
    environ["PATH_INFO"] = path
    if request.query:
        environ["QUERY_STRING"] = query = request.query.decode("latin-1")
        environ["RAW_URI"] = f"{target}?{query}"
    else:
        environ["RAW_URI"] = target
    if request.version != HTTP_1_1:
        environ["SERVER_PROTOCOL"] = "HTTP/1.0"
    environ["wsgi.input"] = _BytesIO.__new__(_BytesIO) if body is None else body.file()
    if request.length != 0:
        _set_length(environ, body)
    hints = EarlyHints.__new__(EarlyHints)
    hints.exchange = exchange
    environ["wsgi.early_hints"] = exchange._hints = hints  # noqa: SLF001 its gateway's own
    return environ

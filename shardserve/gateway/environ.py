"""What a WSGI application is told about its request (PEP 3333, "environ Variables")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shardserve.gateway.target import decode_path, split_root

if TYPE_CHECKING:
    from shardserve.gateway.spool import Spool
    from shardserve.gateway.target import TrustedProxies
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


def _environ_name(name: bytes) -> str:
    found = _NAMES.get(name)
    if found is None:
        found = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        if len(_NAMES) < _NAMES_MAX:
            _NAMES[name] = found
    return found


def make_environ(
    base: dict[str, Any], wire: Wire, request: Request, body: Spool, proxies: TrustedProxies, root_path: str
) -> dict[str, Any]:
    """The environ of a request, with what is in `base`; strings are latin-1 decoded octets."""
    client, scheme = proxies.resolve(wire, request)
    root_path = proxies.root_path(wire, request, root_path)
    root, path = split_root(decode_path(request.path).decode("latin-1"), root_path)
    target = request.path.decode("latin-1")
    query = request.query.decode("latin-1")
    environ = {
        **base,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": root,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "RAW_URI": f"{target}?{query}" if query else target,
        "SERVER_PROTOCOL": "HTTP/" + request.version,
        "wsgi.url_scheme": scheme,
        "wsgi.input": body.file(),
    }
    host, port = wire.server or ("", None)
    environ["SERVER_NAME"] = host or "localhost"  # a unix socket may have no name, PEP 3333 wants one
    environ["SERVER_PORT"] = str(port if port is not None else (443 if scheme == "https" else 80))
    if client is not None:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    else:
        environ["REMOTE_ADDR"] = ""
    for name, value in request.headers:
        key = _environ_name(name)
        if key:
            text = value.decode("latin-1")
            if key in environ:
                text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
            environ[key] = text
    if request.length != 0:
        # The body has been read and decoded whole, so its length is known even where it came in chunks.
        environ["CONTENT_LENGTH"] = str(body.size)
    return environ

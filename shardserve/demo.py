"""The bundled demo application: which shard and which process served you. `shardserve shardserve.demo:app`"""

from __future__ import annotations

import json
import os
from typing import Any

_PAGE = b"""<!doctype html><title>shardserve</title><pre id=who>asking ...</pre>
<script>fetch("/who").then(r => r.text()).then(t => { document.getElementById("who").textContent = t })</script>
"""


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG001 ASGI gives it
    """ASGI application: `/` is a page, `/who` says in JSON which shard and process answered."""
    if scope["type"] != "http":
        raise RuntimeError(f"the demo speaks http, not {scope['type']}")
    path = scope["path"]
    if path == "/":
        status, kind, body = 200, b"text/html; charset=utf-8", _PAGE
    elif path == "/who":
        identity = scope["extensions"].get("shardserve", {})
        status, kind, body = 200, b"application/json", json.dumps({**identity, "pid": os.getpid()}).encode() + b"\n"
    else:
        status, kind, body = 404, b"text/plain; charset=utf-8", b"Not found; try / or /who\n"
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

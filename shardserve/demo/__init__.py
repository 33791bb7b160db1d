"""The bundled demo application: how requests and connections spread over the shards. `shardserve shardserve.demo:app`

It is an ordinary ASGI application and imports nothing of the server.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_PAGE = Path(__file__).with_name("page.html").read_bytes()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG001 ASGI gives it
    """ASGI application: `/` is the page, `/who` says in JSON which shard, process and connection answered.

    `/who?close` closes the connection after the answer, so that the next request comes on a new one.
    """
    if scope["type"] != "http":
        raise RuntimeError(f"the demo speaks http, not {scope['type']}")
    headers = [(b"cache-control", b"no-store")]
    if scope["path"] == "/":
        status, kind, body = 200, b"text/html; charset=utf-8", _PAGE
    elif scope["path"] == "/who":
        status, kind, body = 200, b"application/json", json.dumps(_who(scope)).encode() + b"\n"
        if scope["query_string"] == b"close":
            headers.append((b"connection", b"close"))
    else:
        status, kind, body = 404, b"text/plain; charset=utf-8", b"Not found; try / or /who\n"
    headers += [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _who(scope: dict[str, Any]) -> dict[str, Any]:
    identity = scope["extensions"].get("shardserve", {})
    client = scope["client"]
    return {**identity, "pid": os.getpid(), "port": client[1] if client else None}

"""An application whose every answer can be checked to the last octet; see support.strict for the other side.

`/TOKEN?ms=4&size=300&cut=1&grow=16` blocks for `ms`, keeps `grow` KiB for ever, and answers with
"TOKEN pid shard generation", a line end, the request's body (or `size` dots), and TOKEN again; with `cut` in chunks.
It does not start while the file exists that the variable BROKEN names.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

if os.environ.get("BROKEN") and Path(os.environ["BROKEN"]).exists():
    raise RuntimeError("broken on purpose")

HEADERS = [("Content-Type", "text/plain")]
_kept: list[bytearray] = []


def answer(path: str, query: str, body: bytes, shard: int, generation: int) -> tuple[bytes, bool]:
    """What to answer, and whether in chunks."""
    options = {name: float(value) for name, value in parse_qsl(query)}
    token = path[1:]
    if "ms" in options:
        time.sleep(options["ms"] / 1000)
    if "grow" in options:
        _kept.append(bytearray(b"x" * int(options["grow"] * 1024)))
    filler = body or b"." * int(options.get("size", 0))
    first_line = f"{token} {os.getpid()} {shard} {generation}\n"
    return first_line.encode() + filler + token.encode(), "cut" in options


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError("http only")
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    who = scope["extensions"]["shardserve"]
    whole, cut = answer(scope["path"], scope["query_string"].decode(), body, who["shard"], who["generation"])
    headers = [(name.encode(), value.encode()) for name, value in HEADERS]
    if not cut:
        headers.append((b"content-length", str(len(whole)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if cut:
        await send({"type": "http.response.body", "body": whole[:100], "more_body": True})
        whole = whole[100:]
        await asyncio.sleep(0.02)  # under way, and not blocking: what a drain that does not wait would cut
    await send({"type": "http.response.body", "body": whole})


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    body = environ["wsgi.input"].read(-1)  # wsgiref.validate wants a number
    who = environ["shardserve.shard"], environ["shardserve.generation"]
    whole, cut = answer(environ["PATH_INFO"], environ["QUERY_STRING"], body, *who)
    if not cut:
        start_response("200 OK", [*HEADERS, ("Content-Length", str(len(whole)))])
        return [whole]
    start_response("200 OK", HEADERS)
    return (part for part in (whole[:100], whole[100:]))

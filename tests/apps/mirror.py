"""What tests/e2e/clients asks for, as a plain ASGI application (`asgi`) and as a plain WSGI one (`wsgi`).

/echo gives the body back as it comes, /size counts it, /large?N is N octets in blocks, /endless goes on until the
client leaves, /moved leads to /who, /packed is gzip, /who is the client's port and what it asked, /page is a page for
a browser, which says what it found as the query of /verdict. A WebSocket (ASGI) is an echo.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

BLOCK = bytes(range(256)) * 256
PAGE = Path(__file__).with_name("mirror.html")


def _answer(path: str, who: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what needs neither the body nor a stream."""
    if path == "/who":
        return 200, {"Content-Type": "application/json"}, json.dumps(who).encode()
    if path == "/moved":
        return 302, {"Location": "/who"}, b""
    if path == "/packed":
        return 200, {"Content-Encoding": "gzip", "Content-Type": "text/plain"}, gzip.compress(b"shard " * 10_000)
    if path == "/page":
        return 200, {"Content-Type": "text/html"}, PAGE.read_bytes()
    if path == "/verdict":
        _say(f"verdict: {who['query']}")
        return 200, {}, b""
    return 404, {"Content-Type": "text/plain"}, b"no such page"


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _left(path: str) -> None:
    _say(f"the client left {path}")


async def _body(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        more = message.get("more_body", False)
        yield message.get("body", b"")


class _Response:
    """The two messages of an ASGI response."""

    def __init__(self, send: Any) -> None:
        self._send = send

    async def start(self, status: int, headers: dict[str, str]) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, data: bytes, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await _echo_messages(receive, send)
        return
    if scope["type"] != "http":
        raise RuntimeError("neither http nor websocket")
    path, query, response = scope["path"], scope["query_string"].decode(), _Response(send)
    if path == "/echo":
        await response.start(200, {})
        async for data in _body(receive):
            await response.write(data)
        await response.write(b"", more=False)
    elif path == "/size":
        digest, size = hashlib.sha256(), 0
        async for data in _body(receive):
            digest.update(data)
            size += len(data)
        await response.start(200, {"Content-Type": "application/json"})
        await response.write(json.dumps({"size": size, "sha256": digest.hexdigest()}).encode(), more=False)
    elif path == "/large":
        await response.start(200, {"Content-Length": query})
        for begun in range(0, int(query), len(BLOCK)):
            await response.write(BLOCK[: int(query) - begun])
        await response.write(b"", more=False)
    elif path == "/endless":
        await _tick(response)
    else:
        who = {"port": scope["client"][1], "method": scope["method"], "query": query}
        status, headers, data = _answer(path, who)
        await response.start(status, {**headers, "Content-Length": str(len(data))})
        await response.write(data, more=False)


async def _tick(response: _Response) -> None:
    await response.start(200, {"Content-Type": "text/event-stream"})
    try:
        while True:
            await response.write(b"data: tick\n\n")
            await asyncio.sleep(0.01)
    except OSError:
        _left("/endless")


async def _echo_messages(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        answer = {name: message[name] for name in ("text", "bytes") if message.get(name) is not None}
        await send({"type": "websocket.send", **answer})
    _left(f"its socket with {message['code']}")


def _endless() -> Iterator[bytes]:
    try:
        while True:
            yield b"data: tick\n\n"
            time.sleep(0.01)
    finally:
        _left("/endless")


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    path, query, stream = environ["PATH_INFO"], environ["QUERY_STRING"], environ["wsgi.input"]
    if path == "/echo":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return iter(lambda: stream.read(65536), b"")
    if path == "/size":
        data = stream.read(-1)  # wsgiref.validate wants a number
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}).encode()]
    if path == "/large":
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", query)])
        return (BLOCK[: int(query) - begun] for begun in range(0, int(query), len(BLOCK)))
    if path == "/endless":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return _endless()
    who = {"port": int(environ["REMOTE_PORT"]), "method": environ["REQUEST_METHOD"], "query": query}
    status, headers, data = _answer(path, who)
    start_response(f"{status} Whatever", [*headers.items(), ("Content-Length", str(len(data)))])
    return [data]

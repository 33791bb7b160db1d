"""Litestar: the site that tests/e2e/frameworks/test_more.py asks for.

Litestar reads annotations: they are no strings.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

from gates import pass_gate
from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.response import Redirect, Stream


@get("/hello", media_type=MediaType.TEXT)
async def hello() -> str:
    return "hello"


@post("/json", status_code=200)
async def json(request: Request) -> dict[str, Any]:
    return {"got": await request.json()}


@post("/body", status_code=200, request_max_body_size=None)
async def body(request: Request) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    async for block in request.stream():
        digest.update(block)
        size += len(block)
    return {"size": size, "sha256": digest.hexdigest()}


@post("/upload", status_code=200, request_max_body_size=None)
async def upload(request: Request) -> dict[str, Any]:
    data = await (await request.form())["file"].read()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@get("/stream")
async def stream(gate: str) -> Stream:
    async def lines() -> AsyncIterator[str]:
        yield "first\n"
        await asyncio.to_thread(pass_gate, gate)
        yield "last\n"

    return Stream(lines())


@get("/where")
async def where(request: Request) -> dict[str, Any]:
    return {"client": request.client.host if request.client else None, "url": str(request.url)}


@websocket("/socket")
async def socket(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


@get("/old")
async def old() -> Redirect:
    return Redirect("/hello")


app = Litestar([hello, json, body, upload, stream, where, old, socket])

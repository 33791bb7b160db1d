"""Quart: the site that tests/e2e/frameworks/test_more.py asks for."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from gates import pass_gate
from quart import Quart, redirect, request, websocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from werkzeug.wrappers import Response

app = Quart(__name__)
app.config["MAX_CONTENT_LENGTH"] = None


@app.get("/hello")
async def hello() -> str:
    return "hello"


@app.post("/json")
async def json() -> dict[str, Any]:
    return {"got": await request.get_json()}


@app.post("/body")
async def body() -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    async for block in request.body:
        digest.update(block)
        size += len(block)
    return {"size": size, "sha256": digest.hexdigest()}


@app.post("/upload")
async def upload() -> dict[str, Any]:
    data = (await request.files)["file"].read()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@app.get("/stream")
async def stream() -> AsyncIterator[str]:
    async def lines(gate: str) -> AsyncIterator[str]:
        yield "first\n"
        await asyncio.to_thread(pass_gate, gate)
        yield "last\n"

    return lines(request.args["gate"])


@app.get("/where")
async def where() -> dict[str, Any]:
    return {"client": request.remote_addr, "url": request.url}


@app.websocket("/socket")
async def socket() -> None:
    while True:
        await websocket.send(await websocket.receive())


@app.get("/old")
async def old() -> Response:
    return redirect("/hello")

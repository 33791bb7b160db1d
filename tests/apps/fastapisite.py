"""A FastAPI application: validation, background tasks, dependencies with `yield`, streaming, upload, disconnects."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Request,
    UploadFile,
    WebSocket,
    WebSocketException,
)
from fastapi.responses import StreamingResponse
from gates import pass_gate
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.items = {"1": "first item"}
    yield
    print("lifespan: ended", flush=True)


app = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    article: str = Field(min_length=1)
    amount: int = Field(ge=1, le=100)


@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "Hello from FastAPI"}


@app.post("/orders", status_code=201)
async def order(order: Order) -> dict[str, Any]:
    return {"article": order.article, "amount": order.amount, "pid": os.getpid()}


@app.get("/items/{name}")
async def item(name: str, request: Request) -> dict[str, str]:
    items: dict[str, str] = request.app.state.items
    if name not in items:
        raise HTTPException(404, "no such item")
    return {"item": items[name]}


@app.get("/runtime")
async def runtime() -> dict[str, Any]:
    return {"loop": type(asyncio.get_running_loop()).__module__, "pid": os.getpid()}


@app.get("/thread")
def thread() -> dict[str, Any]:
    """A plain function: FastAPI runs it in a thread of its pool."""
    return {"main": threading.current_thread() is threading.main_thread()}


def _after(gate: str) -> None:
    pass_gate(gate)
    print("background: done", flush=True)


@app.get("/background")
async def background(gate: str, tasks: BackgroundTasks) -> dict[str, str]:
    tasks.add_task(_after, gate)
    return {"status": "accepted"}


def resource(gate: str) -> Iterator[str]:
    yield "open"
    pass_gate(gate)
    print("resource: released", flush=True)


@app.get("/resource")
async def use_resource(state: Annotated[str, Depends(resource)]) -> dict[str, str]:
    return {"resource": state}


@app.get("/stream")
async def stream(gate: str) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        yield "first\n"
        await asyncio.to_thread(pass_gate, gate)
        yield "last\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    while chunk := await file.read(65536):
        digest.update(chunk)
        size += len(chunk)
    return {"name": file.filename, "size": size, "sha256": digest.hexdigest()}


@app.get("/watch")
async def watch(request: Request) -> None:
    print("watch: begun", flush=True)
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    print("watch: disconnected", flush=True)


async def feed() -> AsyncIterator[bytes]:
    try:
        yield b"x" * 16384
    finally:
        print("endless: closed", flush=True)


@app.get("/endless")
async def endless(block: Annotated[bytes, Depends(feed)]) -> StreamingResponse:
    """Always has something to send, from a resource that must be given back."""

    async def blocks() -> AsyncIterator[bytes]:
        while True:
            yield block
            await asyncio.sleep(0)

    return StreamingResponse(blocks())


@app.get("/idle")
async def idle() -> StreamingResponse:
    """Sends once and then waits for news that never come, as an event stream does."""

    async def events() -> AsyncIterator[str]:
        try:
            yield "first\n"
            await asyncio.Event().wait()
        finally:
            print("idle: closed", flush=True)

    return StreamingResponse(events(), media_type="text/event-stream")


def known(token: Annotated[str, Header()] = "") -> str:
    if token != "secret":
        raise WebSocketException(4003, "unknown")
    return token


@app.websocket("/socket/{room}")
async def socket(websocket: WebSocket, room: int, token: Annotated[str, Depends(known)]) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        if text == "leave":
            raise WebSocketException(4004, "left")
        await websocket.send_text(f"{room}: {text}")


@app.get("/crash")
async def crash() -> None:
    raise ValueError("crash on purpose")

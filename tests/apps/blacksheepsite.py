"""BlackSheep: the site that tests/e2e/frameworks/test_more.py asks for.

BlackSheep reads annotations: they are no strings.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from blacksheep import (
    Application,
    Request,
    Response,
    StreamedContent,
    WebSocket,
    WebSocketDisconnectError,
    json,
    redirect,
    text,
)
from blacksheep.server.routing import Router
from gates import pass_gate

router = Router()
app = Application(router=router)


@router.get("/hello")
async def hello() -> Response:
    return text("hello")


@router.post("/json")
async def echo(request: Request) -> Response:
    return json({"got": await request.json()})


@router.post("/body")
async def body(request: Request) -> Response:
    digest, size = hashlib.sha256(), 0
    async for block in request.stream():
        digest.update(block)
        size += len(block)
    return json({"size": size, "sha256": digest.hexdigest()})


@router.post("/upload")
async def upload(request: Request) -> Response:
    (part,) = await request.files("file")
    data = part.data
    return json({"size": len(data), "sha256": hashlib.sha256(data).hexdigest()})


@router.get("/stream")
async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        yield b"first\n"
        await asyncio.to_thread(pass_gate, request.query["gate"][0])
        yield b"last\n"

    return Response(200, content=StreamedContent(b"text/plain", lines))


@router.get("/where")
async def where(request: Request) -> Response:
    return json({"client": request.client_ip, "url": f"{request.scheme}://{request.host}{request.path}"})


@router.ws("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnectError:
        pass


@router.get("/old")
async def old() -> Response:
    return redirect("/hello")

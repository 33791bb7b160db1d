"""A Starlette application: files, lifespan state, HEAD, redirects, middleware."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypedDict

from gates import pass_gate
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response


class State(TypedDict):
    started: int
    seen: list[str]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    yield {"started": os.getpid(), "seen": []}
    print("lifespan: ended", flush=True)


async def hello(request: Request) -> Response:
    return PlainTextResponse("Hello from Starlette")


async def state(request: Request) -> Response:
    """The lifespan's state: each request has a copy of the mapping, and all share what it holds."""
    request.state.seen.append(request.url.path)
    mine = hasattr(request.state, "mine")
    request.state.mine = True
    return JSONResponse(
        {"started": request.state.started, "pid": os.getpid(), "seen": len(request.state.seen), "mine": mine}
    )


async def runtime(request: Request) -> Response:
    return JSONResponse({"loop": type(asyncio.get_running_loop()).__module__, "pid": os.getpid()})


async def file(request: Request) -> Response:
    return FileResponse(os.environ["STARLETTE_FILE"], media_type="application/octet-stream")


async def old(request: Request) -> Response:
    return RedirectResponse(request.url_for("new"), status_code=301)


async def new(request: Request) -> Response:
    return JSONResponse({"url": str(request.url), "client": request.client and request.client.host})


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def stream(request: Request) -> Response:
    gate = request.query_params["gate"]

    async def lines() -> AsyncIterator[str]:
        yield "first\n"
        await asyncio.to_thread(pass_gate, gate)
        yield "last\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def big_text(request: Request) -> Response:
    return PlainTextResponse("shard " * 10_000)


async def stamp(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.headers["X-Stamp"] = "passed"
    return response


async def socket(websocket: WebSocket) -> None:
    """Echoes; refuses who does not say who they are."""
    if "name" not in websocket.query_params:
        await websocket.send_denial_response(JSONResponse({"error": "who are you?"}, status_code=401))
        return
    await websocket.accept("json", headers=[(b"x-name", websocket.query_params["name"].encode())])
    websocket.state.seen.append("socket")
    try:
        while True:
            await websocket.send_json({"got": await websocket.receive_json()})
    except WebSocketDisconnect as left:
        print(f"socket: left with {left.code} {left.reason}", flush=True)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/hello", hello),
        Route("/state", state),
        Route("/runtime", runtime),
        Route("/file", file),
        Route("/old", old),
        WebSocketRoute("/socket", socket),
        Route("/new/", new, name="new"),
        Route("/echo", echo, methods=["POST"]),
        # The same behind a middleware that wraps receive and send, and behind one that compresses.
        Mount(
            "/stamped",
            routes=[Route("/stream", stream), Route("/file", file), Route("/echo", echo, methods=["POST"])],
            middleware=[Middleware(BaseHTTPMiddleware, dispatch=stamp)],
        ),
        Mount("/packed", routes=[Route("/text", big_text)], middleware=[Middleware(GZipMiddleware)]),
    ],
)

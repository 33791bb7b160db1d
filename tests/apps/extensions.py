"""A Starlette application for what goes beyond a body: files, early hints, trailers, work after the answer, events."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

FILE = os.environ["EXTENSIONS_FILE"]
GO = Path(FILE).with_suffix(".go")  # what work after an answer waits for


async def file(request: Request) -> Response:
    return FileResponse(FILE, background=BackgroundTask(print, "after the file", flush=True))


async def hints(request: Request) -> Response:
    await request.send_early_hints("</style.css>; rel=preload; as=style")
    return PlainTextResponse("hinted")


async def background(request: Request) -> Response:
    async def work() -> None:
        while not GO.exists():
            await asyncio.sleep(0.01)
        print("worked on", flush=True)

    return PlainTextResponse("done", background=BackgroundTask(work))


async def events(request: Request) -> Response:
    async def feed() -> AsyncIterator[str]:
        try:
            yield "data: first\n\n"
            await asyncio.Event().wait()  # no news: only http.disconnect can end this
        finally:
            print("events: ended", flush=True)

    return StreamingResponse(feed(), media_type="text/event-stream")


async def trailers(scope: Any, receive: Any, send: Any) -> None:
    """Without a framework: none sends them."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"trailer", b"x-sum")], "trailers": True})
    await send({"type": "http.response.body", "body": b"summed"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"6")]})


async def stamp(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.headers["X-Stamp"] = "passed"
    return response


site = Starlette(
    routes=[
        Route("/file", file),
        Route("/hints", hints),
        Route("/background", background),
        Route("/events", events),
        Mount("/stamped", routes=[Route("/file", file)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=stamp)]),
    ],
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    await (trailers if scope["type"] == "http" and scope["path"] == "/trailers" else site)(scope, receive, send)

"""Falcon, under WSGI (`wsgi`) and under ASGI (`asgi`): the site that tests/e2e/frameworks/test_more.py asks for."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import falcon
import falcon.asgi
from gates import pass_gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from falcon.asgi import Request as AsyncRequest
    from falcon.asgi import Response as AsyncResponse
    from falcon.asgi import WebSocket


class Site:
    """WSGI responders; each is a route of its own by its suffix."""

    def on_get_hello(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.text = "hello"

    def on_post_json(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {"got": req.get_media()}

    def on_post_body(self, req: falcon.Request, resp: falcon.Response) -> None:
        digest, size = hashlib.sha256(), 0
        while block := req.bounded_stream.read(65536):
            digest.update(block)
            size += len(block)
        resp.media = {"size": size, "sha256": digest.hexdigest()}

    def on_post_upload(self, req: falcon.Request, resp: falcon.Response) -> None:
        (data,) = (part.get_data() for part in req.get_media())
        resp.media = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def on_get_stream(self, req: falcon.Request, resp: falcon.Response) -> None:
        def lines() -> Iterator[bytes]:
            yield b"first\n"
            pass_gate(req.params["gate"])
            yield b"last\n"

        resp.stream = lines()

    def on_get_where(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {"client": req.remote_addr, "url": req.uri}

    def on_get_old(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise falcon.HTTPFound("/hello")


class AsyncSite:
    """The same as coroutines."""

    async def on_get_hello(self, req: AsyncRequest, resp: AsyncResponse) -> None:
        resp.text = "hello"

    async def on_post_json(self, req: AsyncRequest, resp: AsyncResponse) -> None:
        resp.media = {"got": await req.get_media()}

    async def on_post_body(self, req: AsyncRequest, resp: AsyncResponse) -> None:
        digest, size = hashlib.sha256(), 0
        async for block in req.stream:
            digest.update(block)
            size += len(block)
        resp.media = {"size": size, "sha256": digest.hexdigest()}

    async def on_post_upload(self, req: AsyncRequest, resp: AsyncResponse) -> None:
        (data,) = [await part.get_data() async for part in await req.get_media()]
        resp.media = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    async def on_get_stream(self, req: AsyncRequest, resp: AsyncResponse) -> None:
        async def lines() -> AsyncIterator[bytes]:
            yield b"first\n"
            await asyncio.to_thread(pass_gate, req.params["gate"])
            yield b"last\n"

        resp.stream = lines()

    async def on_get_where(self, req: AsyncRequest, resp: AsyncResponse) -> None:
        resp.media = {"client": req.remote_addr, "url": req.uri}

    async def on_get_old(self, req: AsyncRequest, resp: AsyncResponse) -> None:
        raise falcon.HTTPFound("/hello")

    async def on_websocket_socket(self, req: AsyncRequest, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except falcon.WebSocketDisconnected:
            pass


def _routed(app: Any, site: object) -> Any:
    app.req_options.media_handlers[falcon.MEDIA_MULTIPART].parse_options.max_body_part_buffer_size = 20_000_000
    for name in ("hello", "json", "body", "upload", "stream", "where", "old"):
        app.add_route(f"/{name}", site, suffix=name)
    return app


wsgi = _routed(falcon.App(), Site())
asgi = _routed(falcon.asgi.App(), AsyncSite())
asgi.add_route("/socket", AsyncSite(), suffix="socket")

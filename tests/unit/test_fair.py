"""A response without end whose client keeps up: the rest of the worker has its turns meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from support.websocket import handshake
from support.wire import Driver, body, request, start

SENDS = 1000
LEAST = SENDS // 50  # turns of the loop that others must have had: far fewer than they get, far more than one


class Stream:
    """ASGI application that sends many parts, never waiting by itself; `turns` of the loop pass meanwhile."""

    def __init__(self, first: dict[str, Any], part: dict[str, Any]) -> None:
        self._first = first
        self._part = part
        self._over = False
        self.turns = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._turn()
        await send(self._first)
        for _ in range(SENDS):
            time.sleep(0.00002)  # 16 parts take longer than a stream has for itself
            await send(self._part)
        self._over = True

    def _turn(self) -> None:
        self.turns += 1
        if not self._over:
            asyncio.get_running_loop().call_soon(self._turn)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_response_in_many_parts(parser: str, method: bytes) -> None:
    stream = Stream(start(), body(b"x", more=True))
    with Driver.asgi(stream, parser) as wire:
        wire.feed(request(method=method))
        assert stream.turns > LEAST
        if method == b"GET":
            assert wire.answers()[0].body == b"x" * SENDS


def test_a_websocket(parser: str) -> None:
    stream = Stream({"type": "websocket.accept"}, {"type": "websocket.send", "bytes": b"x"})
    with Driver.asgi(stream, parser) as wire:
        wire.feed(handshake())
        assert stream.turns > LEAST


def test_a_refusal_of_a_handshake_in_many_parts(parser: str) -> None:
    first = {"type": "websocket.http.response.start", "status": 401, "headers": []}
    stream = Stream(first, {"type": "websocket.http.response.body", "body": b"x", "more_body": True})
    with Driver.asgi(stream, parser) as wire:
        wire.feed(handshake())
        assert stream.turns > LEAST


def test_its_task_can_be_cancelled(parser: str) -> None:
    sent = 0

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(start())
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
        while sent < SENDS:
            await send(body(b"x", more=True))
            sent += 1

    with Driver.asgi(endless, parser) as wire:
        wire.feed(request())
        assert sent < LEAST
        assert not wire.answers()[0].complete
        assert wire.closed

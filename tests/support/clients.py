"""HTTP clients that people use, behind one face: `ask` a URL, and `peek` at the beginning of an answer, then leave."""

from __future__ import annotations

import asyncio
import http.client
import io
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Body = bytes | Iterable[bytes] | None


class Answer(NamedTuple):
    """What came back. `body` is as the client gives it: decompressed, where it does that."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Httpx:
    """httpx.Client: keeps connections, follows no redirect unless asked."""

    def __init__(self) -> None:
        self._client = httpx.Client(trust_env=False, timeout=20)

    def ask(self, method: str, url: str, body: Body = None) -> Answer:
        answer = self._client.request(method, url, content=body, follow_redirects=True)
        return Answer(answer.status_code, answer.headers, answer.content)

    def peek(self, url: str) -> bytes:
        with self._client.stream("GET", url) as answer:
            return next(answer.iter_raw())

    def close(self) -> None:
        self._client.close()


class Requests:
    """requests.Session."""

    def __init__(self) -> None:
        import requests

        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, method: str, url: str, body: Body = None) -> Answer:
        answer = self._session.request(method, url, data=body, timeout=20, allow_redirects=True)
        return Answer(answer.status_code, answer.headers, answer.content)

    def peek(self, url: str) -> bytes:
        with self._session.get(url, stream=True, timeout=20) as answer:
            return bytes(next(answer.iter_content(10)))

    def close(self) -> None:
        self._session.close()


class Aiohttp:
    """aiohttp.ClientSession, on a loop of its own."""

    def __init__(self) -> None:
        import aiohttp

        self._runner, self._stack = asyncio.Runner(), AsyncExitStack()
        self._timeout = aiohttp.ClientTimeout(total=20)
        self._session = self._runner.run(self._enter(aiohttp))

    async def _enter(self, aiohttp: Any) -> Any:
        return await self._stack.enter_async_context(aiohttp.ClientSession(timeout=self._timeout))

    def ask(self, method: str, url: str, body: Body = None) -> Answer:
        async def ask() -> Answer:
            async with self._session.request(method, url, data=_asynchronous(body)) as answer:
                return Answer(answer.status, answer.headers, await answer.read())

        return self._runner.run(ask())

    def peek(self, url: str) -> bytes:
        async def peek() -> bytes:
            async with self._session.get(url) as answer:
                return bytes(await answer.content.readany())

        return self._runner.run(peek())

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


class HttpClient:
    """http.client of the standard library: one connection; redirects are followed here."""

    def __init__(self) -> None:
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, url: str, body: Body = None) -> Answer:
        parts = urlsplit(url)
        if self._connection is None:
            self._connection = http.client.HTTPConnection(str(parts.netloc), timeout=20)
        chunked = body is not None and not isinstance(body, bytes)
        headers = {"Transfer-Encoding": "chunked"} if chunked else {}
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._connection.request(method, target, body=body, headers=headers, encode_chunked=chunked)
        with self._connection.getresponse() as response:
            answer = Answer(response.status, response.headers, response.read())
        if answer.status == 302:
            return self.ask(method, f"http://{parts.netloc}{answer.headers['Location']}")
        return answer

    def peek(self, url: str) -> bytes:
        connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=20)
        connection.request("GET", urlsplit(url).path)
        with connection.getresponse() as response:
            data = response.read(10)
        connection.close()
        return data

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class Urllib:
    """urllib.request: a connection for each request, and says so."""

    def ask(self, method: str, url: str, body: Body = None) -> Answer:
        request = urllib.request.Request(url, data=body, method=method)  # type: ignore[arg-type]
        if body is not None:
            request.add_header("Content-Type", "application/octet-stream")
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def peek(self, url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=20) as response:
            return bytes(response.read(10))

    def close(self) -> None:
        pass


def _asynchronous(body: Body) -> Any:
    if body is None:
        return None
    if isinstance(body, bytes):
        return io.BytesIO(body)  # aiohttp warns of large bytes

    async def blocks() -> Any:
        for block in body:
            yield block

    return blocks()


CLIENTS = {"httpx": Httpx, "requests": Requests, "aiohttp": Aiohttp, "http.client": HttpClient, "urllib": Urllib}

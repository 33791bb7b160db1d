"""The probe application, as ASGI and as WSGI: what a test needs to see from the inside of a request."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import threading
import time
from typing import Any

_seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="")


def _number(query: str, default: float) -> float:
    return float(query) if query else default


def _block(seconds: float) -> None:
    if seconds >= 1:
        print("blocking", flush=True)
    time.sleep(seconds)


async def _read(receive: Any) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                scope["state"]["started"] = os.getpid()
                await send({"type": "lifespan.startup.complete"})
            else:
                print("lifespan shutdown", os.getpid(), flush=True)
                await send({"type": "lifespan.shutdown.complete"})
                return
    path, query = scope["path"], scope["query_string"].decode()
    body = await _read(receive)
    if body is None:
        print("disconnected", path, flush=True)
        return
    headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json")]
    if path == "/sleep":
        await asyncio.sleep(_number(query, 1.0))
    elif path == "/block":
        _block(_number(query, 60.0))
    elif path == "/crash":
        raise ValueError("crash on purpose")
    elif path == "/exit":
        raise SystemExit(7)
    elif path == "/die":
        os._exit(9)
    elif path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(int(_number(query, 10))):
            await send({"type": "http.response.body", "body": b"x" * 1024, "more_body": True})
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b""})
        return
    before, task = _seen.get(), asyncio.current_task()
    _seen.set(path)
    answer = {
        "pid": os.getpid(),
        "shard": scope["extensions"]["shardserve"]["shard"],
        "generation": scope["extensions"]["shardserve"]["generation"],
        "started": scope["state"].get("started"),
        "method": scope["method"],
        "path": path,
        "raw_path": scope["raw_path"].decode("latin-1"),
        "root_path": scope["root_path"],
        "query": query,
        "scheme": scope["scheme"],
        "client": scope["client"],
        "server": scope["server"],
        "body": len(body),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "context": before,
        "task": task is not None,
        "loop": type(asyncio.get_running_loop()).__module__,
    }
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    body = environ["wsgi.input"].read(-1)  # wsgiref.validate wants a number
    headers = [("Content-Type", "application/json")]
    if path in ("/sleep", "/block"):
        time.sleep(_number(query, 1.0))
    elif path == "/crash":
        raise ValueError("crash on purpose")
    elif path == "/exit":
        raise SystemExit(7)
    elif path == "/die":
        os._exit(9)
    elif path == "/stream":
        start_response("200 OK", headers)
        return (b"x" * 1024 for _ in range(int(_number(query, 10))))
    before = _seen.get()
    _seen.set(path)
    try:
        asyncio.get_running_loop()
        running = True
    except RuntimeError:
        running = False
    answer = {
        "pid": os.getpid(),
        "shard": environ["shardserve.shard"],
        "generation": environ["shardserve.generation"],
        "thread": threading.get_ident(),
        "body": len(body),
        "context": before,
        "running_loop": running,
        "environ": {key: value for key, value in environ.items() if isinstance(value, str)},
    }
    start_response("200 OK", headers)
    return [json.dumps(answer).encode()]

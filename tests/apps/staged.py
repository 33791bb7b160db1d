"""An application that says on the log where it stands, so that a test can act in the middle of a request.

`/...?SECONDS` logs "begun PATH", waits for so many seconds, and answers with who it is. `/block` blocks the loop.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import time
from typing import Any


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # at once and whole, from whichever thread


atexit.register(lambda: say(f"atexit {os.getpid()}"))

HEADERS = [(b"content-type", b"application/json")]


def who(path: str, generation: int) -> bytes:
    return json.dumps({"pid": os.getpid(), "path": path, "generation": generation}).encode()


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say(f"lifespan shutdown {os.getpid()}")
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    seconds = float(scope["query_string"] or b"0")
    say(f"begun {path}")
    if path == "/block":
        time.sleep(seconds)
    else:
        await asyncio.sleep(seconds)
    generation = scope["extensions"]["shardserve"]["generation"]
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": who(path, generation)})


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    path = environ["PATH_INFO"]
    say(f"begun {path}")
    time.sleep(float(environ["QUERY_STRING"] or "0"))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [who(path, environ["shardserve.generation"])]

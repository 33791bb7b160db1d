"""An application that forks: `/multiprocessing`, `/os` and `/libc` (`?SECONDS`) start a child that sleeps for so long.

`/terminate` starts one and ends it, `/kill?PID` kills one, `/wait?SECONDS` answers late.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_fork = multiprocessing.get_context("fork")


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def be_child(seconds: float) -> None:
    say(f"child {os.getpid()}")
    time.sleep(seconds)


def start(seconds: float) -> Any:
    child = _fork.Process(target=be_child, args=(seconds,))
    child.start()
    return child


def start_plain(seconds: float, fork: Callable[[], int]) -> None:
    if fork() == 0:
        be_child(seconds)
        os._exit(0)


if "FORK_AT_IMPORT" in os.environ:
    start(float(os.environ["FORK_AT_IMPORT"]))


def act(path: str, query: str) -> str:
    if path == "/multiprocessing":
        start(float(query)).join(0)
    elif path == "/os":
        start_plain(float(query), os.fork)
    elif path == "/libc":
        start_plain(float(query), ctypes.PyDLL(None).fork)  # no hook of Python's runs
    elif path == "/terminate":
        child = start(30)
        child.terminate()
        child.join(5)
        return f"exit code {child.exitcode}"
    elif path == "/kill":
        os.kill(int(query), signal.SIGKILL)
    return "done"


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError("http only")
    path, query = scope["path"], scope["query_string"].decode()
    if path == "/wait":
        say(f"begun {path}")
        await asyncio.sleep(float(query))
    body = act(path, query).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = act(environ["PATH_INFO"], environ["QUERY_STRING"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]

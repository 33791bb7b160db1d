"""The log says what a worker was executing when it died, however it died."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]

# Says on standard output that a request is being executed, and goes on with it until the process ends.
WAITS = """
    import asyncio, time

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("http only")
        if scope["path"] == "/quick":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"quick"})
            return
        print("executes", scope["path"], flush=True)
        await asyncio.sleep(600)

    def wsgi(environ, start_response):
        if environ["PATH_INFO"] == "/quick":
            start_response("200 OK", [])
            return [b"quick"]
        print("executes", environ["PATH_INFO"], flush=True)
        time.sleep(600)
"""


def ask(server: Server, stack: ExitStack, *targets: str) -> None:
    """Send requests, each on a connection of its own that stays open, and wait until they are executed."""
    for target in targets:
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        server.wait_for(f"executes {target.partition('?')[0]}$")


@pytest.mark.parametrize(("app", "options"), [("app:app", ()), ("app:wsgi", ("--threads", "2"))])
def test_after_sigkill_the_log_says_what_was_executed(site: Site, app: str, options: tuple[str, ...]) -> None:
    site.write(WAITS)
    server = site.serve(app, "--workers", "1", *options)
    victim = server.workers()[0]
    with ExitStack() as stack:
        ask(server, stack, "/one?password=secret", "/two")
        os.kill(victim, signal.SIGKILL)
        what = r"GET /one \(\d+\.\d s\), GET /two \(\d+\.\d s\)$"
        server.wait_for(rf"worker {victim} died \(SIGKILL\) while executing: {what}")
    assert "secret" not in server.log


def test_a_wsgi_request_that_waits_for_a_thread_is_not_executed(site: Site) -> None:
    site.write(WAITS)
    server = site.serve("app:wsgi", "--workers", "1", "--graceful-timeout", "1")
    with ExitStack() as stack:
        ask(server, stack, "/one")
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
        sock.sendall(b"GET /two HTTP/1.1\r\nHost: x\r\n\r\n")
        os.kill(server.workers()[0], signal.SIGKILL)
        server.wait_for(r"died \(SIGKILL\) while executing: GET /one \(\d+\.\d s\)$")


def test_more_than_can_be_shown_are_counted(site: Site) -> None:
    site.write(WAITS)
    server = site.serve("app:app", "--workers", "1")
    with ExitStack() as stack:
        ask(server, stack, *(f"/{number}" for number in range(20)))
        os.kill(server.workers()[0], signal.SIGKILL)
        line = server.wait_for(r"died \(SIGKILL\) while executing: GET /0 .* and 4 more$")
    assert "GET /19 " in line, "the newest is always shown"


def test_a_crash_in_c_and_an_exit_by_the_application(site: Site) -> None:
    site.write(
        """
        import ctypes, os

        def app(environ, start_response):
            if environ["PATH_INFO"] == "/segv":
                ctypes.string_at(0)
            os._exit(9)
        """
    )
    server = site.serve("app:app", "--workers", "2", "--interface", "wsgi")
    for target, how in (("/segv", "SIGSEGV"), ("/exit", "exit code 9")):
        with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            server.wait_for(rf"died \({how}\) while executing: GET {target} \(\d+\.\d s\)$")
    server.wait_for("serves .ready", count=4)


@pytest.mark.parametrize("app", ["app:app", "app:wsgi"])
def test_requests_that_were_answered_leave_nothing_behind(site: Site, app: str) -> None:
    site.write(WAITS)
    server = site.serve(app, "--workers", "1")
    for _ in range(100):
        server.get("/quick")
    with ExitStack() as stack:
        ask(server, stack, "/slow")  # what was before has returned by now, and not only answered
        os.kill(server.workers()[0], signal.SIGKILL)
        server.wait_for(r"died \(SIGKILL\) while executing: GET /slow \(\d+\.\d s\)$")
    server.wait_for("serves .ready", count=2)
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_for(r"died \(SIGKILL\)$", timeout=10)

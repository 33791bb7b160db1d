"""Serving in the calling process: `--workers 0` and `shardserve.run`."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.server import APPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]

# `shardserve.run` of an application object; the arguments are those of the command: APP --bind ADDRESS.
SCRIPT = """
    import os, sys
    import shardserve

    def wsgi(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"pid": %d}' % os.getpid()]

    async def asgi(scope, receive, send):
        if scope["type"] == "lifespan":
            raise RuntimeError("http only")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"pid": %d}' % os.getpid()})
"""
RUN = """
    code = shardserve.run(globals()[sys.argv[1]], bind=[sys.argv[3]])
    print("returned", code)
    sys.exit(code)
"""
RUN_IN_THREAD = """
    import threading

    bind = [sys.argv[3]]
    threading.Thread(target=lambda: shardserve.run(globals()[sys.argv[1]], bind=bind), daemon=True).start()
    open("gate").read()
"""


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_workers_0_serves_in_the_process_itself(serve: Serve, app: str, loop: str) -> None:
    server = serve(app, "--workers", "0", "--loop", loop)
    assert server.workers() == []
    assert server.get_json()["pid"] == server.pid
    server.signal(signal.SIGINT)
    assert server.exit_code() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize(("app", "number"), [("staged:asgi", signal.SIGINT), ("staged:wsgi", signal.SIGTERM)])
def test_workers_0_answers_what_is_under_way(serve: Serve, app: str, number: signal.Signals) -> None:
    server = serve(app, "--workers", "0", "--threads", "4")
    with Load(server.port, "/slow?0.5", clients=4, requests=4) as load:
        server.wait_for("begun /slow", count=4)
        server.signal(number)
        tally = load.finish()
    assert tally.ok == 4, tally
    assert server.exit_code() == 0
    assert app.endswith("wsgi") or "lifespan shutdown" in server.log
    assert "atexit" in server.log


def test_workers_0_ends_at_once_at_a_second_signal(serve: Serve) -> None:
    server = serve("staged:asgi", "--workers", "0")
    with Load(server.port, "/stuck?60", clients=1, requests=1):
        server.wait_for("begun /stuck")
        server.signal(signal.SIGINT)
        server.signal(signal.SIGTERM)
        assert server.exit_code(8) == 0


def test_workers_0_ends_while_the_lifespan_still_starts(site: Site) -> None:
    site.write("""
        import asyncio

        async def app(scope, receive, send):
            await receive()
            print("starting", flush=True)
            await asyncio.sleep(60)
    """)
    server = site.serve("app:app", "--workers", "0", ready=False)
    server.wait_for("starting")
    server.signal(signal.SIGINT)
    try:
        assert server.exit_code(5) == 0
    finally:
        server.process.kill()


def test_workers_0_ends_with_3_and_4_as_with_workers(site: Site) -> None:
    site.write("raise RuntimeError('no')\n")
    raises = site.serve("app:app", "--workers", "0", ready=False)
    assert raises.exit_code() == 3
    assert raises.log.count("Traceback") == 1, raises.log
    missing = site.serve("ap:app", "--workers", "0", ready=False)
    assert missing.exit_code() == 4
    assert "'app'" in missing.log


@pytest.mark.parametrize(("interface", "number"), [("asgi", signal.SIGTERM), ("wsgi", signal.SIGINT)])
def test_run_serves_an_application_object(site: Site, interface: str, number: signal.Signals) -> None:
    site.write(SCRIPT, RUN, name="script.py")
    server = site.serve(interface, launcher=("script.py",))
    assert server.get_json()["pid"] == server.pid
    server.signal(number)
    assert server.exit_code() == 0
    assert "returned 0" in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_run_in_a_thread_serves_until_the_process_ends(site: Site, interface: str) -> None:
    site.write(SCRIPT, RUN_IN_THREAD, name="script.py")
    gate = site.folder / "gate"
    os.mkfifo(gate)
    server = site.serve(interface, launcher=("script.py",))
    with Load(server.port, clients=4, requests=100) as load:
        tally = load.finish()
    assert tally.ok == 100, tally
    assert set(tally.pids) == {server.pid}
    gate.write_text("end")
    assert server.exit_code() == 0
    assert "Traceback" not in server.log


def test_run_with_workers_serves_a_named_application(site: Site) -> None:
    site.write(
        """
        import sys
        import shardserve

        sys.exit(shardserve.run(sys.argv[1], bind=[sys.argv[3]], workers=2))
        """,
        name="script.py",
    )
    server = site.serve("probe:asgi", launcher=("script.py",), env={"PYTHONPATH": str(APPS)})
    assert len(server.workers()) == 2
    assert server.get_json()["pid"] in server.workers()
    server.signal(signal.SIGINT)
    assert server.exit_code() == 0

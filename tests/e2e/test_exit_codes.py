"""How the command ends: the exit codes, and what a user reads when it could not start."""

from __future__ import annotations

import os
import re
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.proc import eventually
from support.site import SERVES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]


def error_lines(server: Server) -> list[str]:
    return [line for line in server.log.splitlines() if line.startswith("Error:")]


def ends_with(server: Server, code: int) -> str:
    """Wait for the end with `code`; returns the one error line."""
    assert server.exit_code() == code, server.log
    lines = error_lines(server)
    assert len(lines) == 1, server.log
    return lines[0]


# 0: told to stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_0_when_told_to_stop(serve: Serve, number: signal.Signals) -> None:
    server = serve("probe:asgi", "--workers", "2")
    server.signal(number)
    assert server.exit_code() == 0
    assert "stopping" in server.log


@pytest.mark.parametrize(("app", "number"), [("staged:asgi", signal.SIGINT), ("staged:wsgi", signal.SIGTERM)])
def test_0_with_a_request_under_way_which_is_answered(serve: Serve, app: str, number: signal.Signals) -> None:
    server = serve(app, "--workers", "1")
    with Load(server.port, "/slow?0.5", clients=1, requests=1) as load:
        server.wait_for("begun /slow")
        server.signal(number)
        tally = load.finish()
    assert tally.ok == 1, tally
    assert server.exit_code() == 0


# 2: wrong options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--no-such-option",), "--no-such-option"),
        (("--workers", "many"), "--workers"),
        (("--bind", "nowhere/at/all"), "nowhere/at/all"),
        (("--bind", "fd://three"), "fd://three"),
        (("--http", "h12"), "h12"),
        (("--user", "no-such-user-here"), "no-such-user-here"),
        (("--pidfile", "/no/such/directory/pid"), "/no/such/directory/pid"),
        (("-c", "/no/such/file.toml"), "/no/such/file.toml"),
        (("--no-request-buffering",), "--no-request-buffering: "),
        (("--no-request-buffering", "--threads", "1"), "use --threads 2, or --no-wsgi-inline"),
    ],
)
def test_2_for_a_wrong_option_which_is_named(serve: Serve, options: tuple[str, ...], named: str) -> None:
    server = serve("probe:asgi", *options, ready=False)
    assert named in ends_with(server, 2)
    assert "Traceback" not in server.log


# 3: the application does not start


def test_3_when_the_application_raises_at_import_with_its_traceback_once(site: Site) -> None:
    site.write("import helper\n")
    site.write("def work():\n    raise RuntimeError('the database is away')\nwork()\n", name="helper.py")
    server = site.serve("app:app", "--workers", "4", ready=False)
    line = ends_with(server, 3)
    assert "the database is away" in line
    assert server.log.count("Traceback") == 1, server.log
    files = re.findall(r'File "([^"]+)"', server.log)
    assert [file.rpartition("/")[2] for file in files] == ["app.py", "helper.py", "helper.py"], server.log


@pytest.mark.parametrize("app", ["app:make()", "app:make"])
def test_3_when_the_factory_raises(site: Site, app: str) -> None:
    site.write("def make():\n    raise LookupError('no settings')\n")
    server = site.serve(app, *([] if "(" in app else ["--factory"]), "--workers", "2", ready=False)
    assert "no settings" in ends_with(server, 3)
    assert server.log.count("Traceback") == 1, server.log


def test_3_when_the_lifespan_startup_fails(site: Site) -> None:
    site.write("""
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "cannot reach the cache"})
    """)
    server = site.serve("app:app", "--workers", "2", ready=False)
    assert "cannot reach the cache" in ends_with(server, 3)


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_3_when_the_lifespan_raises_after_its_first_event(site: Site, mode: str) -> None:
    site.write("""
        async def app(scope, receive, send):
            await receive()
            raise KeyError("half way")
    """)
    server = site.serve("app:app", "--workers", "2", "--lifespan", mode, ready=False)
    assert "half way" in ends_with(server, 3)
    assert server.log.count("Traceback") == 1, server.log


@pytest.mark.parametrize(
    "source", ["import time; time.sleep(60)", SERVES.replace("raise", "await __import__('asyncio').sleep(60); raise")]
)
def test_3_when_the_boot_timeout_is_missed(site: Site, source: str) -> None:
    site.write(source)
    server = site.serve("app:app", "--workers", "2", "--boot-timeout", "0.7", ready=False)
    assert "boot timeout of 0.7 s" in ends_with(server, 3)


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("import os; os._exit(5)", "exit code 5"),
        ("import os; os._exit(0)", "exit code 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    ],
)
def test_3_when_every_worker_dies_at_import(site: Site, source: str, how: str) -> None:
    site.write(source)
    server = site.serve("app:app", "--workers", "3", ready=False)
    assert how in ends_with(server, 3)


# 4: there is no such application


@pytest.mark.parametrize(
    ("app", "hints"),
    [
        ("ap:app", ["'app'"]),
        ("app:apq", ["'app'"]),
        ("app:number", ["cannot be called"]),
        ("package.viws:app", ["views"]),
        ("app.py", ["app"]),
    ],
)
def test_4_for_what_is_not_there_in_one_line_with_the_nearest_match(site: Site, app: str, hints: list[str]) -> None:
    site.write(SERVES, "number = 3\n")
    site.write("", name="package/__init__.py")
    site.write("", name="package/views.py")
    server = site.serve(app, "--workers", "3", ready=False)
    line = ends_with(server, 4)
    assert all(hint in line for hint in hints), line
    assert "Traceback" not in server.log


def test_4_names_the_directory_that_was_searched(site: Site) -> None:
    server = site.serve("nothing_like_it:app", "--workers", "1", ready=False)
    assert str(site.folder) in ends_with(server, 4)


# 5: the address is taken


def test_5_when_the_port_is_taken_naming_who_has_it(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = serve("probe:asgi", bind=f"127.0.0.1:{taken.getsockname()[1]}", ready=False)
        line = ends_with(server, 5)
    assert f"pid {os.getpid()} (py" in line, line  # python or pytest, as this was started


def test_5_for_a_second_instance_while_the_first_serves_on(serve: Serve) -> None:
    first = serve("probe:asgi", "--workers", "4")
    with Load(first.port, "/sleep?0.01", clients=8) as load:
        load.wait_for(50)
        second = serve("probe:asgi", "--workers", "4", bind=f"127.0.0.1:{first.port}", ready=False)
        line = ends_with(second, 5)
        load.wait_for(50)
        tally = load.stop()
    assert f"pid {first.pid} (python -m shardserve probe:asgi" in re.sub(r"python3(\.\d+)?", "python", line), line
    assert not tally.lost, tally


def test_5_when_a_unix_socket_is_in_use_naming_who_listens(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    first = serve("probe:asgi", "--workers", "2", bind=f"unix:{path}")
    second = serve("probe:asgi", bind=f"unix:{path}", ready=False)
    assert f"pid {first.pid}" in ends_with(second, 5)
    with Load(str(path), clients=1, requests=1) as load:
        assert load.finish().ok == 1


def test_5_when_the_path_of_a_unix_socket_is_a_file_which_is_kept(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    server = serve("probe:asgi", bind=f"unix:{path}", ready=False)
    assert str(path) in ends_with(server, 5)
    assert path.read_text() == "data"


# Not all, but some


def test_one_shard_that_starts_serves_and_the_rest_are_tried_again(site: Site) -> None:
    site.write(
        """
        import os

        for number in range(3):  # the first three imports fail, in whichever workers they are
            try:
                os.close(os.open(f"failed-{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            raise RuntimeError("the licence server has no seat left")
    """,
        SERVES,
    )
    server = site.serve("app:app", "--workers", "4")
    assert "ready: 1 of 4 workers serve" in server.log
    server.wait_for(r"shard \d: worker \d+ serves", count=4)
    assert "no seat left" in server.log
    assert server.log.count("Traceback") <= 2, server.log
    with Load(server.port, clients=8, requests=200) as load:
        tally = load.finish()
    assert tally.ok == 200, tally


def test_failing_retries_wait_longer_each_time(site: Site) -> None:
    site.write(
        """
        import os

        try:
            os.close(os.open("first", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise RuntimeError("only one may live") from None
    """,
        SERVES,
    )
    server = site.serve("app:app", "--workers", "2")
    delays = [float(server.wait_for("trying again in", count=count).split()[-2]) for count in (1, 2)]
    assert delays[0] < delays[1], server.log
    assert server.log.count("Traceback") <= 1, server.log
    eventually("the shard that started serves", lambda: b"generation" in answer(server))


def answer(server: Server) -> bytes:
    try:
        return server.get(timeout=0.2)
    except OSError:  # this connection waits in the queue of the shard that does not start
        return b""

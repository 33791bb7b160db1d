"""TERM and INT: what is under way is answered, new connections are refused, the end is bounded and leaves nothing."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.ports import refuses
from support.proc import alive, eventually, in_group, queued, tcp_sockets
from support.server import APPS
from support.site import SERVES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]

REQUEST = b"GET /late HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


SLOW_IMPORT = """
    import time

    print("booting", flush=True)
    time.sleep(60)
"""
SLOW_LIFESPAN = """
    import asyncio

    async def app(scope, receive, send):
        await receive()
        print("booting", flush=True)
        await asyncio.sleep(60)
"""


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def seconds_to_end(server: Server) -> float:
    """Wait for the end with 0; returns how long that took."""
    begun = time.monotonic()
    assert server.exit_code() == 0, server.log
    return time.monotonic() - begun


@pytest.mark.parametrize(("app", "options"), [("staged:asgi", ()), ("staged:wsgi", ("--threads", "20"))])
def test_20_requests_under_way_are_answered_and_new_connections_refused(
    serve: Serve, app: str, options: tuple[str, ...]
) -> None:
    server = serve(app, "--workers", "2", *options)
    with Load(server.port, "/slow?3", clients=20, requests=20) as load:
        server.wait_for("begun /slow", count=20)
        server.signal(signal.SIGTERM)
        server.wait_for("stopping: at most 30 s")
        eventually("new connections are refused", lambda: refuses(server.port), 5)
        assert load.tally.ok == 0  # all that while the requests were under way
        tally = load.finish()
    assert tally.ok == 20, tally
    assert server.exit_code() == 0


@pytest.mark.parametrize("address", ["tcp", "unix"])
def test_what_was_queued_or_unread_when_the_signal_came_is_answered(serve: Serve, tmp_path: Path, address: str) -> None:
    path = str(tmp_path / "app.sock")
    server = serve("staged:asgi", "--workers", "1", bind=f"unix:{path}" if address == "unix" else "127.0.0.1:0")
    target = path if address == "unix" else server.port
    with Load(target, "/block?3", clients=1, requests=1) as busy:
        server.wait_for("begun /block")  # from here on the worker neither accepts nor reads
        with Load(target, "/late", clients=40, requests=40) as late:
            if address == "tcp":
                eventually("40 connections wait", lambda: queued(server.port) == 40)
            else:
                eventually("40 connections wait", lambda: unix_connections(path) == 41)
            server.signal(signal.SIGTERM)
            tally = late.finish()
        assert busy.finish().ok == 1
    assert tally.ok == 40, tally
    assert server.exit_code() == 0


def unix_connections(path: str) -> int:
    """How many server ends of connections to a unix socket there are, accepted or not."""
    with open("/proc/net/unix") as table:
        return sum(row.endswith(f" {path}\n") and row.split()[3] != "00010000" for row in table)


def test_a_request_that_follows_soon_on_an_open_connection_is_answered(serve: Serve) -> None:
    server = serve("staged:asgi", "--workers", "1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        eventually("the connection is accepted", lambda: queued(server.port) == 0)
        server.signal(signal.SIGTERM)
        server.wait_for("stopping")
        client.sendall(REQUEST)
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert b"connection: close" in answer.lower()
    assert server.exit_code() == 0


def test_idle_keep_alive_connections_do_not_hold_up_the_end(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2")
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(10)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    server.signal(signal.SIGTERM)
    assert seconds_to_end(server) < 6
    for client in clients:
        assert client.recv(1) == b""
        client.close()


# Bounded


# An inline call that does not end cannot be left behind: its worker is killed when it is late (docs/decisions/0014).
@pytest.mark.parametrize("app", ["staged:asgi", "staged:wsgi"])
def test_the_graceful_timeout_bounds_the_wait_for_an_application(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "2", "--graceful-timeout", "1", "--no-wsgi-inline")
    with Load(server.port, "/stuck?60", clients=2, requests=2) as load:
        server.wait_for("begun /stuck", count=1 if app.endswith("wsgi") else 2)
        server.signal(signal.SIGTERM)
        assert 0.5 < seconds_to_end(server) < 8
        assert load.finish().ok == 0
    assert "not finished after 1 s" in server.log


@pytest.mark.parametrize("path", ["/stuck?60", "/block?60"])
def test_a_second_signal_is_quick(serve: Serve, path: str) -> None:
    server = serve("staged:asgi", "--workers", "2")
    with Load(server.port, path, clients=1, requests=1):
        server.wait_for("begun")
        server.signal(signal.SIGTERM)
        server.wait_for("stopping: at most 30 s")
        server.signal(signal.SIGTERM)
        assert seconds_to_end(server) < 8


def test_sigquit_is_quick_at_once(serve: Serve) -> None:
    server = serve("staged:asgi", "--workers", "2")
    with Load(server.port, "/stuck?60", clients=1, requests=1):
        server.wait_for("begun")
        server.signal(signal.SIGQUIT)
        assert seconds_to_end(server) < 8


@pytest.mark.parametrize(
    ("source", "number"), [(SLOW_IMPORT, signal.SIGTERM), (SLOW_LIFESPAN, signal.SIGINT)], ids=["import", "lifespan"]
)
def test_a_stop_during_a_slow_boot_is_quick(site: Site, source: str, number: signal.Signals) -> None:
    site.write(source)
    server = site.serve("app:app", "--workers", "2", ready=False)
    server.wait_for("booting", count=2)
    os.killpg(server.pid, number)
    assert seconds_to_end(server) < 5
    assert "Traceback" not in server.log
    assert "Error:" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_as_soon_as_the_first_line_is_logged(serve: Serve, number: signal.Signals) -> None:
    server = serve("probe:asgi", "--workers", "2", ready=False)
    server.wait_for("starts as pid")
    server.signal(number)
    assert seconds_to_end(server) < 5
    assert "Traceback" not in server.log


def test_sigterm_wins_over_a_reload(site: Site) -> None:
    site.write(SERVES)
    server = site.serve("app:app", "--workers", "2", "--lifespan", "off")
    site.write(SLOW_IMPORT)
    server.signal(signal.SIGHUP)
    server.wait_for("booting")
    server.signal(signal.SIGHUP)
    server.signal(signal.SIGTERM)
    assert seconds_to_end(server) < 6
    assert "generation 3" not in server.log


def test_sigterm_wins_over_a_back_off(site: Site) -> None:
    site.write(SERVES)
    server = site.serve("app:app", "--workers", "2", "--lifespan", "off")
    site.write("raise RuntimeError\n")
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_for("trying again in 2.0 s", timeout=20)
    server.signal(signal.SIGTERM)
    assert seconds_to_end(server) < 6
    assert "trying again in 4.0 s" not in server.log


# --drain-delay: still serving, for a load balancer that does not know yet

HEAD_11, HEAD_10 = b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n"


@pytest.mark.parametrize(("app", "workers"), [("probe:asgi", "2"), ("probe:wsgi", "2"), ("probe:asgi", "0")])
def test_the_drain_delay_serves_on_and_closes_after_each_answer(serve: Serve, app: str, workers: str) -> None:
    server = serve(app, "--workers", workers, "--drain-delay", "3")
    kept = socket.create_connection(("127.0.0.1", server.port), 10)
    kept.sendall(HEAD_11 + b"\r\n")
    assert b"connection: close" not in kept.recv(65536)
    begun = time.monotonic()
    server.signal(signal.SIGTERM)
    if workers != "0":
        server.wait_for("stopping in 3 s")
    else:
        eventually("the delay has begun", lambda: b"connection: close" in answer_head(server.port))
    for head in (HEAD_11, HEAD_10) * 10:
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(head + b"\r\n")
            answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert b"connection: close" in answer
        assert b"keep-alive" not in answer.partition(b"\r\n\r\n")[0]
    kept.sendall(HEAD_11 + b"\r\n")
    assert b"connection: close" in read_all(kept)
    kept.close()
    assert server.process.poll() is None
    assert server.exit_code() == 0
    assert 3 < time.monotonic() - begun < 10


def answer_head(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(HEAD_11 + b"\r\n")
        return client.recv(65536)


@pytest.mark.parametrize("workers", ["2", "0"])
def test_a_second_signal_ends_the_drain_delay(serve: Serve, workers: str) -> None:
    server = serve("staged:asgi", "--workers", workers, "--drain-delay", "60")
    with Load(server.port, "/stuck?60", clients=1, requests=1):
        server.wait_for("begun")
        server.signal(signal.SIGTERM)
        eventually("the delay has begun", lambda: b"connection: close" in answer_head(server.port))
        server.signal(signal.SIGTERM)
        assert seconds_to_end(server) < 8


def test_the_drain_delay_is_not_cut_short_by_a_worker_that_still_boots(site: Site) -> None:
    site.write("from probe import wsgi as app\n")
    server = site.serve("app:app", "--workers", "1", "--drain-delay", "2", "--pythonpath", str(APPS))
    site.write("print('booting', flush=True)\nimport time; time.sleep(0.6)\nfrom probe import wsgi as app\n")
    server.signal(signal.SIGHUP)
    server.wait_for("booting")
    server.signal(signal.SIGTERM)
    end = time.monotonic() + 1.2  # it is told to leave when it has imported the application
    while time.monotonic() < end:
        assert server.get(timeout=0.9)
    assert server.exit_code() == 0


def test_a_worker_that_dies_in_the_drain_delay_is_covered(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2", "--drain-delay", "3")
    victim = server.workers()[0]
    server.signal(signal.SIGTERM)
    server.wait_for("stopping in")
    os.kill(victim, signal.SIGKILL)
    server.wait_for("ended badly")
    assert {server.get_json()["pid"] for _ in range(20)} <= set(server.workers()) - {victim}
    assert server.exit_code() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), False),
        (("--drain-delay", "10"), True),
        (("--drain-delay", "5", "--graceful-timeout", "17"), False),
        (("--graceful-timeout", "60"), True),
    ],
)
def test_a_stop_that_may_outlast_the_platforms_patience_is_said(
    serve: Serve, options: tuple[str, ...], said: bool
) -> None:
    server = serve("probe:asgi", "--workers", "1", *options)
    assert ("a stop may take" in server.log) == said
    server.signal(signal.SIGQUIT)  # without the delay
    assert server.exit_code() == 0


# One stop, however it is sent


@pytest.mark.parametrize(("app", "number"), [("staged:asgi", signal.SIGINT), ("staged:wsgi", signal.SIGTERM)])
def test_a_signal_to_the_whole_process_group_is_one_stop(serve: Serve, app: str, number: signal.Signals) -> None:
    server = serve(app, "--workers", "4", "--threads", "4")
    with Load(server.port, "/slow?0.5", clients=8, requests=8) as load:
        server.wait_for("begun /slow", count=8)
        os.killpg(server.pid, number)
        tally = load.finish()
    assert tally.ok == 8, tally
    assert server.exit_code() == 0
    assert server.log.count("stopping") == 1, server.log
    assert "died" not in server.log
    assert "Traceback" not in server.log
    assert in_group(server.pid) == []


# What is cleared away


def test_every_worker_shuts_its_lifespan_down_and_runs_its_atexit_functions(serve: Serve) -> None:
    server = serve("staged:asgi", "--workers", "3")
    workers = server.workers()
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    for pid in workers:
        assert server.log.count(f"lifespan shutdown {pid}\n") == 1
        assert server.log.count(f"atexit {pid}\n") == 1
    assert server.log.count("atexit") == 3  # the supervisor never imports the application


def test_a_reload_shuts_down_the_workers_that_leave(serve: Serve) -> None:
    server = serve("staged:asgi", "--workers", "2")
    workers = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete")
    for pid in workers:
        assert server.log.count(f"lifespan shutdown {pid}\n") == 1
        assert server.log.count(f"atexit {pid}\n") == 1


def test_a_lifespan_that_does_not_shut_down_is_cut_off(site: Site) -> None:
    site.write("""
        import asyncio

        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("shutting down", flush=True)
            await asyncio.sleep(60)
    """)
    server = site.serve("app:app", "--workers", "1")
    server.signal(signal.SIGTERM)
    server.wait_for("shutting down")
    server.signal(signal.SIGTERM)
    assert seconds_to_end(server) < 8


def test_the_pid_file_is_there_while_it_serves(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    server = serve("probe:asgi", "--workers", "1", "--pidfile", str(file))
    assert file.read_text() == f"{server.pid}\n"
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete")
    assert file.read_text() == f"{server.pid}\n"
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    assert not file.exists()


def test_the_port_is_free_for_a_new_start_at_once(serve: Serve) -> None:
    first = serve("probe:asgi", "--workers", "2")
    with Load(first.port, clients=4, requests=50) as load:
        assert load.finish().ok == 50
    first.signal(signal.SIGTERM)
    assert first.exit_code() == 0
    second = serve("probe:asgi", "--workers", "2", bind=f"127.0.0.1:{first.port}")
    assert second.get_json()["generation"] == 1


# Without a supervisor


@pytest.mark.parametrize("app", ["staged:asgi", "staged:wsgi"])
def test_workers_whose_supervisor_is_killed_answer_what_runs_and_leave(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "2", "--threads", "4")
    workers = server.workers()
    with Load(server.port, "/slow?1", clients=4, requests=4) as load:
        server.wait_for("begun /slow", count=4)
        server.signal(signal.SIGKILL)
        server.exit_code()
        tally = load.finish()
    assert tally.ok == 4, tally
    eventually("the workers have left", lambda: not any(map(alive, workers)), 15)
    assert server.log.count("the supervisor is gone") == 2
    assert not [one for one in tcp_sockets(server.port) if one.state == "0A"]
    again = serve(app, "--workers", "2", bind=f"127.0.0.1:{server.port}")
    assert again.get_json("/who")["generation"] == 1


def test_workers_whose_supervisor_is_killed_while_they_boot_leave(site: Site) -> None:
    site.write(
        "import time\nprint('booting', flush=True)\ntime.sleep(1)\n", "async def app(scope, receive, send): ...\n"
    )
    server = site.serve("app:app", "--workers", "2", "--lifespan", "off", ready=False)
    eventually("both workers boot", lambda: server.log.count("booting") == 2, 15)
    workers = server.workers()
    server.signal(signal.SIGKILL)
    server.exit_code()
    eventually("the workers have left", lambda: not any(map(alive, workers)), 15)


def test_what_waits_for_the_only_worker_while_it_boots_is_answered_before_the_end(site: Site) -> None:
    flag = site.folder / "slow"
    site.write(f"import os, time\nif os.path.exists({str(flag)!r}):\n    time.sleep(2)\n", SERVES)
    server = site.serve("app:app", "--workers", "1", "--lifespan", "off")
    flag.touch()
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_for("died")
    with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        server.signal(signal.SIGTERM)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert server.exit_code() == 0

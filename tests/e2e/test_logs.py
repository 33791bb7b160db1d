"""The access log, and logs that nobody reads."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from support.server import APPS, Server

if TYPE_CHECKING:
    from pathlib import Path

Serve = Callable[..., Server]
LINE = re.compile(r'^(\S+) - (\S+) \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(.*)" (\d+) (\d+|-) "(.*)" "(.*)"$')


def lines(path: Path, count: int) -> list[str]:
    """The lines of a log once there are `count`."""
    for _ in range(500):
        found = path.read_text().splitlines() if path.exists() else []
        if len(found) >= count:
            return found
        os.sched_yield()
        subprocess.run(["true"], check=True)  # time for the server, without a sleep of our own
    raise AssertionError(f"{count} lines expected, there are {found}")


def raw(server: Server, octets: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
        sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while data := sock.recv(65536):
            got += data
        return got


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_the_default_line_is_gunicorns(serve: Serve, tmp_path: Path, app: str) -> None:
    path = tmp_path / "access.log"
    server = serve(app, "--workers", "1", "--access-logfile", str(path))
    head = b"GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\nReferer: http://y/\r\nUser-Agent: curl\r\n"
    answer = raw(server, head + b"Authorization: Basic YWRhOmxvdmVsYWNl\r\nConnection: close\r\n\r\n")
    body = answer.partition(b"\r\n\r\n")[2]
    (line,) = lines(path, 1)
    found = LINE.fullmatch(line)
    assert found is not None, line
    assert found.groups() == (
        *("127.0.0.1", "ada", "GET /a%20b?c=d HTTP/1.1", "200", str(len(body)), "http://y/", "curl"),
    )


def test_a_format_of_ones_own_and_streamed_bytes(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    format_ = "%(m)s %(U)s %(q)s %(s)s %(B)s %(L)s %({x-id}i)s 100%%"
    server = serve("probe:asgi", "--workers", "1", "--access-logfile", str(path), "--access-logformat", format_)
    raw(server, b"GET /stream?5 HTTP/1.1\r\nHost: x\r\nX-Id: 7\r\n\r\n")
    (line,) = lines(path, 1)
    method, target, query, status, sent, seconds, identity, percent = line.split(" ")
    assert (method, target, query, status, sent, identity, percent) == (
        "GET",
        "/stream",
        "5",
        "200",
        "5120",
        "7",
        "100%",
    )
    assert 0.04 < float(seconds) < 10  # five pieces, 10 ms apart: logged at the end


def test_a_line_cannot_be_forged(serve: Serve, tmp_path: Path) -> None:
    # CVE-2020-7694: the path is decoded nowhere, quotes and control characters are escaped.
    path = tmp_path / "access.log"
    server = serve("probe:asgi", "--workers", "1", "--access-logfile", str(path))
    raw(
        server, b'GET /%1b[31m%0d%0ax HTTP/1.1\r\nHost: x\r\nUser-Agent: a" 200 "\xc2\x85b\r\nConnection: close\r\n\r\n'
    )
    raw(server, b"BROKEN\r\n\r\n")
    first, second = lines(path, 2)
    assert first.isprintable()
    assert '"GET /%1b[31m%0d%0ax HTTP/1.1"' in first
    assert '\\" 200 \\"' in first
    assert re.search(r'"-" (400|501) \d+ "-" "-"$', second)


@pytest.mark.parametrize("user", ["", "nobody"])
def test_a_renamed_log_is_opened_again_on_usr1(serve: Serve, tmp_path: Path, user: str) -> None:
    if user and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    path = tmp_path / "access.log"
    options = ("--user", user) if user else ()
    server = serve("shardserve.demo:app", "--workers", "2", "--access-logfile", str(path), *options)
    raw(server, b"GET /before HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert "/before" in lines(path, 1)[0]
    path.rename(tmp_path / "access.log.1")
    server.signal(signal.SIGUSR1)
    server.wait_for("has been opened again")
    for _ in range(20):
        raw(server, b"GET /after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert all("/after" in line for line in lines(path, 15))
    assert len(server.workers()) == 2


def test_a_request_is_recorded_once_whatever_follows_its_answer(serve: Serve, tmp_path: Path) -> None:
    # Answered without its body being read, which then does not come.
    path = tmp_path / "access.log"
    server = serve("shardserve.demo:app", "--workers", "1", "--access-logfile", str(path))
    raw(server, b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello")
    raw(server, b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert [line.split('"')[1].split(" ")[1] for line in lines(path, 2)] == ["/early", "/last"]
    assert "refused" not in server.log


def test_an_unknown_atom_is_a_wrong_option(serve: Serve) -> None:
    server = serve("probe:asgi", "--access-logfile", "-", "--access-logformat", "%(zz)s", ready=False)
    assert server.exit_code() == 2
    assert "there is no atom %(zz)s" in server.log


def test_a_full_standard_output_and_error_stop_nobody(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    port = _free_port()
    process = subprocess.Popen(
        [*_logging_demo(port), "--log-level", "debug"], cwd=APPS, stdout=write_end, stderr=write_end
    )
    os.close(write_end)
    try:
        answered = 0
        for _ in range(3000):  # some 250 kB of lines into a pipe of 64 kB that nobody reads
            answered += _answered(port)
        assert answered == 3000
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        os.close(read_end)


def test_a_closed_standard_output_stops_nobody(tmp_path: Path) -> None:
    port = _free_port()
    shell = " ".join([*_logging_demo(port), ">&-", "2>&-"])
    process = subprocess.Popen(["sh", "-c", f"exec {shell}"], cwd=APPS)
    try:
        assert all(_answered(port) for _ in range(20))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _logging_demo(port: int) -> list[str]:
    command = [sys.executable, "-m", "shardserve", "shardserve.demo:app", "--workers", "1"]
    return [*command, "--bind", f"127.0.0.1:{port}", "--access-logfile", "-"]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answered(port: int) -> bool:
    for _ in range(400):
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                sock.sendall(b"GET /who?a-path-that-fills-the-log HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        except ConnectionRefusedError:  # it is still starting
            subprocess.run(["sleep", "0.02"], check=True)
    return False

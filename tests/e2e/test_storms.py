"""Storms of connections that end badly, and what a client may write into the log: known vulnerabilities of peers."""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest
from support.proc import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server

APPS = ("probe:asgi", "probe:wsgi")
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets


def cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            cells = file.read().rpartition(")")[2].split()
        ticks += int(cells[11]) + int(cells[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def storm(server: Server, octets: bytes, count: int = 1000) -> None:
    """So many connections that send these octets and are reset at once."""
    for number in range(count):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            if octets:
                client.sendall(octets)
            if number % 10 == 0:
                client.settimeout(0.002)
                try:
                    client.recv(1)  # now and then the answer is under way
                except TimeoutError:
                    pass


def assert_idle(server: Server, workers: list[int]) -> None:
    """The same workers live, hold no connection, use no CPU, and answer."""
    assert server.workers() == workers
    assert server.get("/")

    def rests() -> bool:
        before = cpu_seconds(workers)
        time.sleep(0.5)
        return cpu_seconds(workers) - before < 0.1  # a busy loop takes 0.5; ticks are 0.01

    eventually("the workers are idle", rests, timeout=20)


@pytest.mark.parametrize("app", APPS)
def test_cve_2022_31015_and_2024_49769_a_thousand_resets_leave_workers_alive_and_idle(
    serve: Callable[..., Server], app: str
) -> None:
    server = serve(app, "--workers", "1")
    workers = server.workers()
    storm(server, b"")
    storm(server, REQUEST)
    storm(server, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello", 300)
    assert_idle(server, workers)
    assert "died" not in server.log


def test_cve_2024_49768_no_request_behind_a_bad_one_is_served_a_thousand_times(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    server = serve("probe:wsgi", "--workers", "1", "--access-logfile", str(log), "--access-logformat", "%(r)s")
    bad = b"GET /bad HTTP/1.1\r\nHost : a\r\n\r\n"
    for _ in range(1000):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(bad)
            client.sendall(REQUEST.replace(b"GET /", b"GET /evil"))
            answer = b""
            while data := client.recv(65536):
                answer += data
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert answer.count(b"HTTP/1.1") == 1
    eventually("all is logged", lambda: log.read_text().count("\n") >= 1000)
    assert "/evil" not in log.read_text()


def test_cve_2020_7694_no_control_character_of_a_client_reaches_the_logs(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    format_ = "%(r)s|%(U)s|%(q)s|%(a)s|%(f)s|%(u)s|%({x-a}i)s|%(m)s"
    server = serve("probe:asgi", "--workers", "1", "--access-logfile", str(log), "--access-logformat", format_)
    sent = [
        b"GET /%1b[31mred%0d%0aGET%20/forged?a=%1b[0m HTTP/1.1\r\nHost: a\r\n\r\n",
        b'GET /"quoted"\\x1b?%00 HTTP/1.1\r\nHost: a\r\nUser-Agent: "a\x80\x9b[31m\xff"\r\nReferer: b\tc\r\n\r\n',
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: \x85d\xe2\x80\xa8e\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YQobWzMxbTpi\r\n\r\n",  # user "a", LF, ESC [31m
        b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \x1b[31m\r\n\r\n",
        b"\x1b[31mGET / HTTP/1.1\r\n\r\n",
    ]
    for octets in sent:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(octets)
            assert client.recv(65536).startswith(b"HTTP/1.1 ")
    eventually("all is logged", lambda: log.read_bytes().count(b"\n") >= len(sent))
    for text in (log.read_bytes(), server.log_path.read_bytes()):
        decoded = text.decode()  # and it is UTF-8
        assert all(one == "\n" or one.isprintable() for one in decoded), text
    assert log.read_bytes().count(b"\n") == len(sent)

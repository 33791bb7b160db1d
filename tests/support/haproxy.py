"""HAProxy in front of a server, keeping a pool of connections to it as it does where operators ask for reuse."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.proc import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONFIGURATION = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout http-keep-alive 30s
frontend front
    bind 127.0.0.1:{front}
    default_backend back
backend back
    http-reuse always
    server one 127.0.0.1:{back} maxconn 32 pool-max-conn 32 pool-purge-delay 60s
"""


@contextmanager
def haproxy(port: int, directory: Path) -> Iterator[int]:
    """Run it in front of `port`; yields its own. Skips the test where it is not installed."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("haproxy is not installed (apt-get install haproxy)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        front = free.getsockname()[1]
    file = directory / "haproxy.cfg"
    file.write_text(_CONFIGURATION.format(front=front, back=port))
    process = subprocess.Popen([program, "-db", "-q", "-f", str(file)], stdout=subprocess.DEVNULL)
    try:
        eventually("haproxy answers", lambda: _answers(front))
        yield front
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True

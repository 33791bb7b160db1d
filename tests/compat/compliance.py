"""Runs the ASGI compliance suite of gunicorn's source distribution against shardserve: `make compliance`.

    python tests/compat/compliance.py FOLDER [ARGUMENT OF PYTEST ...]

HTTP, streams, WebSocket, lifespan, concurrency, frameworks; directly and behind nginx, which also speaks TLS and HTTP/2
where the suite wants a server that does. The suite means to find containers on fixed ports; here each has a free one,
which a pytest plugin tells it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from run import suite
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

# The one test that wants HTTP/2 from the server itself, which speaks none: in the scope it must say 1.1.
HTTP_2 = "tests/docker/asgi_compliance/test_http2_asgi.py::TestHTTP2DirectToGunicorn::test_scope_reports_http2"


class Places:
    """A pytest plugin that stands in for the suite's containers: where they are to be found."""

    def __init__(self, places: dict[str, str]) -> None:
        self._places = places

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> dict[str, str] | None:
        if fixturedef.argname != "docker_services":
            return None
        fixturedef.cached_result = (self._places, fixturedef.cache_key(request), None)
        return self._places


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]


def configured(text: str, server: int, plain: int, *encrypted: int, certificates: Path) -> str:
    """The suite's nginx.conf, for processes on this machine instead of containers, and for an nginx before 1.25."""
    text = re.sub(r"gunicorn-asgi(-ssl)?:\d+", f"127.0.0.1:{server}", text)
    text = re.sub(r"^\s*(resolver|error_log|pid|access_log|http2) .*;$", "", text, flags=re.MULTILINE)
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{plain};")
    listens = " ".join(f"listen 127.0.0.1:{port} ssl http2;" for port in encrypted)
    return text.replace("listen 8444 ssl;", listens).replace("/certs/", f"{certificates}/")


@contextmanager
def nginx(folder: Path, config: str) -> Iterator[None]:
    """Run nginx, in the foreground, with all it writes in `folder`."""
    path = folder / "nginx.conf"
    path.write_text(f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n{config}")
    process = subprocess.Popen([str(NGINX), "-c", str(path), "-e", str(folder / "nginx.log")], cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def main(folder: Path, arguments: list[str]) -> int:
    """Returns pytest's exit code."""
    if NGINX is None:
        sys.exit("the compliance suite wants an nginx in front: apt-get install nginx")
    home = suite(folder).with_name("asgi_compliance")
    plain, direct, encrypted = free_ports(3)
    options = ("--workers", "2", "--disconnect-grace", "0.1", "--graceful-timeout", "2")
    log = folder / "compliance.log"
    with Server("apps.main_app:app", *options, cwd=home, env={"PYTHONPATH": str(home)}, log_path=log) as server:
        port = server.ready().port
        config = (home / "nginx.conf").read_text()
        with nginx(folder, configured(config, port, plain, direct, encrypted, certificates=home / "certs")):
            places = {
                "gunicorn_http": f"http://127.0.0.1:{port}",
                "gunicorn_https": f"https://127.0.0.1:{direct}",
                "nginx_http": f"http://127.0.0.1:{plain}",
                "nginx_https": f"https://127.0.0.1:{encrypted}",
            }
            os.chdir(home)
            given = ["-q", "-p", "no:cacheprovider", "--tb=short", "-o", "addopts=", "--deselect", HTTP_2, *arguments]
            return int(pytest.main([".", *given], plugins=[Places(places)]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))

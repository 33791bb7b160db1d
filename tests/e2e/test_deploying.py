"""What docs/deploying.md tells people to write, run as it stands: nginx and HAProxy, over TCP and a unix socket."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.proc import eventually
from support.server import TESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.server import Server

    Serve = Callable[..., Server]

GUIDE = (TESTS.parent / "docs" / "deploying.md").read_text()
SBIN = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"

APP = """
    import hashlib
    import json

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("http only")
        digest, more = hashlib.sha256(), True
        while more:
            message = await receive()
            digest.update(message.get("body", b""))
            more = message.get("more_body", False)
        host = dict(scope["headers"])[b"host"].decode()
        client, scheme = scope["client"], scope["scheme"]
        seen = {"client": client and client[0], "scheme": scheme, "host": host, "sha256": digest.hexdigest()}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})
"""


def block(language: str) -> str:
    """The example of the guide in this language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def program(name: str) -> str:
    path = shutil.which(name, path=SBIN)
    if path is None:
        pytest.skip(f"{name} is not installed (apt-get install {name})")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert text.count(old) == 1, f"{old!r} in the guide"
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(upstream: str, directory: Path) -> Iterator[str]:
    """nginx with the guide's configuration; yields its URL."""
    port = free_port()
    http = replaced(
        block("nginx"), ("server 127.0.0.1:8000;", f"server {upstream};"), ("listen 80;", f"listen 127.0.0.1:{port};")
    )
    own = "".join(
        f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = directory / "nginx.conf"
    first = f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log;\n"
    file.write_text(f"{first}events {{}}\nhttp {{\naccess_log off;\n{own}{http}}}\n")
    with running([program("nginx"), "-e", f"{directory}/error.log", "-c", str(file)], port) as url:
        yield url


@contextmanager
def haproxy(upstream: str, directory: Path) -> Iterator[str]:
    """HAProxy with the guide's configuration; yields its URL."""
    port = free_port()
    file = directory / "haproxy.cfg"
    file.write_text(
        replaced(
            block("haproxy"), ("bind :80\n", f"bind 127.0.0.1:{port}\n"), ("127.0.0.1:8000 check", f"{upstream} check")
        )
    )
    with running([program("haproxy"), "-db", "-q", "-f", str(file)], port) as url:
        yield url


@contextmanager
def running(command: list[str], port: int) -> Iterator[str]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, "the proxy has ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    try:
        eventually("the proxy listens", answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def through(site: Any, tmp_path: Path) -> Callable[[Any, bool], Any]:
    """Serve the application, by unix socket or by TCP, behind the proxy given."""
    site.write(APP)

    def start(proxy: Any, unix: bool) -> Any:
        if unix:
            # The proxy is this machine's, and so are its clients: believe the socket alone, not what they say.
            site.serve("app:app", "--forwarded-allow-ips", "", "--workers", "2", bind=f"unix:{tmp_path}/app.sock")
            return proxy(f"unix:{tmp_path}/app.sock" if proxy is nginx else f"unix@{tmp_path}/app.sock", tmp_path)
        server = site.serve("app:app", "--workers", "2")
        return proxy(f"127.0.0.1:{server.port}", tmp_path)

    return start


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_the_client_the_host_and_a_body_arrive(through: Callable[..., Any], proxy: Any, unix: bool) -> None:
    body = bytes(range(256)) * 20_000
    with through(proxy, unix) as url, httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        eventually("the proxy finds the server", lambda: client.get("/").status_code == 200)
        for _ in range(20):
            seen = client.get("/").json()
            assert (seen["client"], seen["scheme"], seen["host"]) == ("127.0.0.1", "http", url.removeprefix("http://"))
        digest = hashlib.sha256(body).hexdigest()
        assert client.post("/", content=body).json()["sha256"] == digest
        assert client.post("/", content=iter([body[:99], body[99:]])).json()["sha256"] == digest
        if unix:
            invented = {"X-Forwarded-For": "192.0.2.66"}
            assert client.get("/", headers=invented).json()["client"] == "127.0.0.1"


def test_the_container_file_names_options_that_exist() -> None:
    from shardserve.cli import command

    last = block("dockerfile").splitlines()[-1]
    arguments = json.loads(last.removeprefix("CMD "))
    unit = re.search(r"^ExecStart=\S+ (.*)$", block("ini"), re.MULTILINE)
    assert unit is not None
    for given in (arguments[1:], unit[1].split()):
        command().make_context("shardserve", given)  # raises for what it does not know


def test_every_option_of_the_guide_exists_or_is_answered() -> None:
    from shardserve.cli import command
    from shardserve.config.elsewhere import ELSEWHERE

    here = {flag for parameter in command().params for flag in (*parameter.opts, *parameter.secondary_opts)}
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*(?![\w*-])", " ".join(re.findall(r"`([^`\n]+)`", GUIDE))))
    assert named > {"--bind", "--threads", "-k"}
    assert not named - here - set(ELSEWHERE)


def test_the_file_of_the_guide_is_read(site: Any) -> None:
    site.write(APP, name="mysite/wsgi.py")
    site.write(block("toml").replace("8000", "0"), name="shardserve.toml")
    server = site.serve("mysite.wsgi:app", bind=None)
    assert "workers: 4 (as configured)" in server.log

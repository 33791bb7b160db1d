"""Falcon (WSGI and ASGI), Quart, Litestar and BlackSheep, as they are, over real sockets: one site, five times."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any

import pytest
from support.frameworks import check_streaming, together
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

if TYPE_CHECKING:
    from support.frameworks import Browse, Launch
    from support.gates import Gate
    from support.server import Server

SITES = {
    "falcon": ("falconsite:wsgi", "falconsite:asgi"),
    "quart": ("quartsite:app",),
    "litestar": ("litestarsite:app",),
    "blacksheep": ("blacksheepsite:app",),
}
DATA = random.Random(5).randbytes(4_000_000)
EXPECTED = {"size": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}


@pytest.fixture(scope="module", params=[(name, app) for name in SITES for app in SITES[name]], ids=lambda pair: pair[1])
def site(request: pytest.FixtureRequest, launch_for_module: Launch) -> Server:
    framework, app = request.param
    pytest.importorskip(framework, reason=f"needs {framework}: pip install {framework}")
    # These frameworks' warnings about their own dependencies are not ours to mend.
    return launch_for_module(app, "--workers", "1", env={"PYTHONWARNINGS": "ignore"})


def test_text_json_redirects_and_pages_that_are_not_there(site: Server, browse: Browse) -> None:
    client = browse(site)
    assert client.get("/hello").text == "hello"
    assert client.post("/json", json={"article": "Zażółć"}).json() == {"got": {"article": "Zażółć"}}
    assert client.get("/old").headers["location"] == "/hello"
    assert client.get("/old", follow_redirects=True).text == "hello"
    assert client.get("/nothing").status_code == 404


def test_bodies_with_a_length_in_chunks_and_as_a_form(site: Server, browse: Browse) -> None:
    client = browse(site)
    assert client.post("/body", content=DATA).json() == EXPECTED
    blocks = (DATA[start : start + 70_001] for start in range(0, len(DATA), 70_001))
    assert client.post("/body", content=blocks).json() == EXPECTED
    assert client.post("/upload", files={"file": ("f.bin", DATA)}).json() == EXPECTED
    assert client.post("/body", content=b"").json()["size"] == 0


def test_a_stream_arrives_as_it_is_made(site: Server, browse: Browse, gate: Gate) -> None:
    assert check_streaming(browse(site), "/stream", gate) == "last\n"


def test_the_client_and_scheme_that_a_trusted_proxy_names(site: Server, browse: Browse) -> None:
    forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    answer = browse(site).get("/where", headers=forwarded).json()
    assert answer == {"client": "192.0.2.7", "url": site.url("/where").replace("http:", "https:")}


def test_a_websocket(site: Server) -> None:
    url = site.url("/socket").replace("http:", "ws:")
    if "(wsgi)" in site.log:
        with pytest.raises(InvalidStatus):  # there is none: a request like any other
            connect(url)
        return
    with connect(url) as client:
        for message in ("hello", "Zażółć" * 20_000, ""):
            client.send(message)
            assert client.recv(10) == message
    assert client.close_code == 1000


def test_many_at_once(site: Server, browse: Browse) -> None:
    client = browse(site)

    def ask() -> list[Any]:
        return [client.post("/json", json=number).json()["got"] for number in range(20)]

    assert together(8, ask) == [list(range(20))] * 8

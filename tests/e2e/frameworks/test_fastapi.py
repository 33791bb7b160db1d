"""FastAPI, as it is, over real sockets."""

from __future__ import annotations

import http.client
import io
import json
from typing import TYPE_CHECKING

import httpx
import pytest
from support.frameworks import COMBINATIONS, Payload, Peak, check_streaming, curl, meet_all_workers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.sync.client import connect

if TYPE_CHECKING:
    from support.frameworks import Browse, Launch
    from support.gates import Gate
    from support.server import Server


@pytest.fixture(scope="module")
def fastapi(launch_for_module: Launch) -> Server:
    return launch_for_module("fastapisite:app", "--workers", "1")


@pytest.mark.parametrize("options", COMBINATIONS)
def test_validation_and_upload_with_each_parser_and_loop(
    launch: Launch, browse: Browse, options: tuple[str, ...]
) -> None:
    server = launch("fastapisite:app", "--workers", "4", *options)
    # Before a connection is kept: new ones then go to the workers that have none.
    meet_all_workers(server, lambda: int(httpx.get(server.url("/runtime"), trust_env=False).json()["pid"]))
    client = browse(server)
    assert client.get("/hello").json() == {"message": "Hello from FastAPI"}
    answer = client.post("/orders", json={"article": "Zażółć", "amount": 3})
    assert (answer.status_code, answer.json()["article"]) == (201, "Zażółć")
    assert client.post("/orders", json={"article": "", "amount": 3}).status_code == 422
    assert client.post("/upload", files={"file": ("f", io.BytesIO(b"y" * 100_000))}).json()["size"] == 100_000
    loop = client.get("/runtime").json()["loop"]
    assert loop.startswith(options[3])
    assert f"loop {options[3]}, parser {options[1]}" in server.log


def test_validation_says_what_is_wrong(fastapi: Server, browse: Browse) -> None:
    client = browse(fastapi)
    answer = client.post("/orders", json={"article": "bolt", "amount": 1000})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "amount"]
    broken = client.post("/orders", content=b"{not json", headers={"Content-Type": "application/json"})
    assert broken.status_code == 422
    assert broken.json()["detail"][0]["type"] == "json_invalid"


def test_lifespan_state_paths_and_the_thread_pool(fastapi: Server, browse: Browse) -> None:
    client = browse(fastapi)
    assert client.get("/items/1").json() == {"item": "first item"}
    assert client.get("/items/%C3%A9").status_code == 404
    assert client.get("/thread").json() == {"main": False}
    assert client.get("/openapi.json").json()["info"]["title"] == "FastAPI"
    assert client.options("/hello").status_code == 405


def test_a_background_task_runs_after_the_response(fastapi: Server, browse: Browse, gate: Gate) -> None:
    client = browse(fastapi)
    assert client.get("/background", params={"gate": gate.name}).json() == {"status": "accepted"}
    assert "background: done" not in fastapi.log  # it is held at the gate, and the whole answer is here
    assert client.get("/hello").status_code == 200  # on the same connection too
    gate.open()
    fastapi.wait_for("background: done", timeout=10)


def test_a_dependency_is_released_after_the_response(fastapi: Server, browse: Browse, gate: Gate) -> None:
    client = browse(fastapi)
    assert client.get("/resource", params={"gate": gate.name}).json() == {"resource": "open"}
    assert "resource: released" not in fastapi.log
    gate.open()
    fastapi.wait_for("resource: released", timeout=10)


def test_a_response_is_streamed(fastapi: Server, browse: Browse, gate: Gate) -> None:
    assert check_streaming(browse(fastapi), "/stream", gate) == "last\n"


def test_an_upload_of_50_mb_arrives_whole_and_not_in_memory(fastapi: Server, payload: Payload) -> None:
    peak = Peak(fastapi.workers()[0])
    answer = json.loads(curl("--form", f"file=@{payload.path}", fastapi.url("/upload")))
    assert answer == {"name": "payload.bin", "size": payload.size, "sha256": payload.sha256}
    assert peak.growth() < 25_000_000


def test_is_disconnected_sees_that_the_client_left(fastapi: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", fastapi.port, timeout=20)
    connection.request("GET", "/watch")
    fastapi.wait_for("watch: begun", timeout=10)
    assert "watch: disconnected" not in fastapi.log
    connection.close()
    fastapi.wait_for("watch: disconnected", timeout=10)


@pytest.mark.parametrize("kind", ["endless", "idle"])
def test_a_stream_is_cancelled_when_the_client_leaves(fastapi: Server, browse: Browse, kind: str) -> None:
    # "endless" meets the disconnect when it sends; "idle" waits for news and must be told. Neither is an error.
    with browse(fastapi).stream("GET", f"/{kind}") as response:
        assert next(response.iter_raw())
    fastapi.wait_for(f"{kind}: closed", timeout=10)
    assert json.loads(fastapi.get("/hello")) == {"message": "Hello from FastAPI"}


def test_a_failure_is_500_with_its_traceback_in_the_log(
    serve: Launch, settings: dict[str, str], browse: Browse
) -> None:
    server = serve("fastapisite:app", "--workers", "1", env=settings)
    client = browse(server)
    answer = client.get("/crash")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    server.wait_for("ValueError: crash on purpose")
    assert server.log.count("Traceback (most recent call last)") == 1
    assert client.get("/hello").status_code == 200


def test_a_websocket_with_dependencies(fastapi: Server) -> None:
    url = fastapi.url("/socket/7").replace("http:", "ws:")
    with connect(url, additional_headers={"token": "secret"}) as client:
        client.send("hello")
        assert client.recv(10) == "7: hello"
        client.send("leave")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(10)
        assert closed.value.rcvd == Close(4004, "left")
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers={"token": "guess"})
    assert refused.value.response.status_code == 403

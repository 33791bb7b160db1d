"""Starlette, as it is, over real sockets."""

from __future__ import annotations

import hashlib
import signal
from typing import TYPE_CHECKING

import httpx
import pytest
from support.frameworks import COMBINATIONS, Payload, check_streaming, curl, meet_all_workers
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

if TYPE_CHECKING:
    from support.frameworks import Browse, Launch
    from support.gates import Gate
    from support.server import Server


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Payload:
    return Payload(tmp_path_factory.mktemp("served") / "served.bin", 10_000_000)


@pytest.fixture(scope="module")
def starlette(launch_for_module: Launch, file: Payload) -> Server:
    return launch_for_module("starlettesite:app", "--workers", "1", env={"STARLETTE_FILE": str(file.path)})


@pytest.mark.parametrize("options", COMBINATIONS)
def test_files_and_state_with_each_parser_and_loop(
    launch: Launch, browse: Browse, file: Payload, options: tuple[str, ...]
) -> None:
    server = launch("starlettesite:app", "--workers", "4", *options, env={"STARLETTE_FILE": str(file.path)})
    # Before a connection is kept: new ones then go to the workers that have none.
    meet_all_workers(server, lambda: int(httpx.get(server.url("/runtime"), trust_env=False).json()["pid"]))
    client = browse(server)
    assert client.get("/hello").text == "Hello from Starlette"
    assert hashlib.sha256(client.get("/file").content).hexdigest() == file.sha256
    state = client.get("/state").json()
    assert state["started"] == state["pid"]
    assert client.get("/runtime").json()["loop"].startswith(options[3])
    assert f"loop {options[3]}, parser {options[1]}" in server.log


def test_a_file_of_10_mb_by_curl(starlette: Server, file: Payload, tmp_path: Payload) -> None:
    copy = tmp_path / "copy"
    curl("--output", str(copy), starlette.url("/file"))
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == file.sha256
    assert copy.stat().st_size == file.size


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("0-99", 0, 99),
        ("5000000-5000009", 5_000_000, 5_000_009),
        ("9999990-", 9_999_990, 9_999_999),
        ("-5", 9_999_995, 9_999_999),
    ],
)
def test_a_range_of_a_file(starlette: Server, browse: Browse, file: Payload, asked: str, first: int, last: int) -> None:
    answer = browse(starlette).get("/file", headers={"Range": f"bytes={asked}"})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{file.size}"
    assert answer.content == file.path.read_bytes()[first : last + 1]


def test_several_ranges_and_one_out_of_the_file(starlette: Server, browse: Browse, file: Payload) -> None:
    client = browse(starlette)
    several = client.get("/file", headers={"Range": "bytes=0-3,100-103"})
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert len(several.content) == int(several.headers["content-length"])
    data = file.path.read_bytes()
    assert data[:4] in several.content
    assert data[100:104] in several.content
    beyond = client.get("/file", headers={"Range": f"bytes={file.size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{file.size}")
    changed = client.get("/file", headers={"Range": "bytes=0-3", "If-Range": '"another"'})
    assert (changed.status_code, len(changed.content)) == (200, file.size)


@pytest.mark.parametrize("path", ["/file", "/stamped/file"])
def test_head_says_what_get_would_and_sends_no_body(
    starlette: Server, browse: Browse, file: Payload, path: str
) -> None:
    client = browse(starlette)
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == file.size
    assert answer.headers["etag"]
    assert client.get("/hello").text == "Hello from Starlette"  # no octet of the file is in the way
    assert int(client.head("/hello").headers["content-length"]) == len("Hello from Starlette")


def test_redirects_lead_to_the_server_that_was_asked(starlette: Server, browse: Browse) -> None:
    client = browse(starlette)
    moved = client.get("/old")
    assert (moved.status_code, moved.headers["location"]) == (301, starlette.url("/new/"))
    slash = client.get("/new?a=1")
    assert (slash.status_code, slash.headers["location"]) == (307, starlette.url("/new/?a=1"))
    assert client.get("/new/?a=1").json() == {"url": starlette.url("/new/?a=1"), "client": "127.0.0.1"}
    forwarded = client.get("/new/", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"})
    assert forwarded.json() == {"url": starlette.url("/new/").replace("http:", "https:"), "client": "192.0.2.7"}


def test_the_lifespan_state_reaches_each_request_and_ends(launch: Launch, browse: Browse) -> None:
    server = launch("starlettesite:app", "--workers", "1", "--lifespan", "on")
    client = browse(server)
    answers = [client.get("/state").json() for _ in range(3)]
    assert [answer["seen"] for answer in answers] == [1, 2, 3]  # what it holds is shared
    assert {answer["mine"] for answer in answers} == {False}  # the mapping is not
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    assert "lifespan: ended" in server.log


def test_a_middleware_around_receive_and_send(starlette: Server, browse: Browse, gate: Gate) -> None:
    client = browse(starlette)
    body = b"z" * 300_000
    answer = client.post("/stamped/echo", content=body)
    assert (answer.headers["x-stamp"], answer.content) == ("passed", body)
    assert check_streaming(client, "/stamped/stream", gate) == "last\n"
    assert client.post("/echo", content=iter([b"a", b"b" * 70_000])).content == b"a" + b"b" * 70_000


def test_a_compressed_response(starlette: Server, browse: Browse) -> None:
    answer = browse(starlette).get("/packed/text")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == "shard " * 10_000
    assert int(answer.headers["content-length"]) < 1_000


def test_a_websocket(starlette: Server) -> None:
    url = starlette.url("/socket").replace("http:", "ws:")
    with pytest.raises(InvalidStatus) as refused:
        connect(url)
    assert refused.value.response.status_code == 401
    assert b"who are you?" in refused.value.response.body
    with connect(f"{url}?name=me", subprotocols=["xml", "json"]) as client:
        assert (client.subprotocol, client.response.headers["x-name"]) == ("json", "me")  # type: ignore[union-attr]
        client.send('{"a": 1}')
        assert client.recv(10) == '{"got":{"a":1}}'
        client.close(1001, "away")
    starlette.wait_for("socket: left with 1001 away")
    with pytest.raises(InvalidStatus) as refused:
        connect(starlette.url("/none").replace("http:", "ws:"))
    assert refused.value.response.status_code == 403

"""Flask, as it is, over real sockets."""

from __future__ import annotations

import http.client
import io
import json
import statistics
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from support.frameworks import COMBINATIONS, Payload, Peak, check_streaming, curl, meet_all_workers, together

if TYPE_CHECKING:
    from support.frameworks import Browse, Launch
    from support.gates import Gate
    from support.server import Server


@pytest.fixture(scope="module")
def flask(launch_for_module: Launch) -> Server:
    return launch_for_module("flasksite:app", "--workers", "1")


@pytest.mark.parametrize("options", COMBINATIONS)
def test_json_form_and_pages_with_each_parser_and_loop(
    launch: Launch, browse: Browse, options: tuple[str, ...]
) -> None:
    server = launch("flasksite:app", "--workers", "4", *options)
    # Before a connection is kept: new ones then go to the workers that have none.
    meet_all_workers(server, lambda: int(httpx.post(server.url("/json"), json={}, trust_env=False).json()["pid"]))
    client = browse(server)
    assert client.get("/hello").text == "Hello from Flask"
    answer = client.post("/json", json={"amount": 3, "article": "Zażółć"})
    assert answer.status_code == 201
    assert answer.json()["got"] == {"amount": 3, "article": "Zażółć"}
    file = {"file": ("small.bin", io.BytesIO(b"y" * 100_000))}
    assert client.post("/upload", files=file, data={"note": "n"}).json()["size"] == 100_000
    assert client.get("/nothing").status_code == 404
    assert f"parser {options[1]}" in server.log


def test_sessions_follow_the_client_over_four_workers(launch: Launch, browse: Browse) -> None:
    server = launch("flasksite:app", "--workers", "4")
    client = browse(server)
    visits = 0

    def visit() -> int:
        nonlocal visits
        visits += 1
        answer = client.get("/visits", headers={"Connection": "close"}).json()
        assert answer["visits"] == visits
        return int(answer["pid"])

    meet_all_workers(server, visit)


def test_an_upload_of_50_mb_by_curl(flask: Server, payload: Payload) -> None:
    peak = Peak(flask.workers()[0])
    answer = json.loads(curl("--form", f"file=@{payload.path}", "--form", "note=by curl", flask.url("/upload")))
    assert answer == {"name": "payload.bin", "size": payload.size, "sha256": payload.sha256, "note": "by curl"}
    assert peak.growth() < 25_000_000


def test_an_upload_is_read_as_it_comes(launch: Launch, browse: Browse, payload: Payload) -> None:
    server = launch("flasksite:app", "--workers", "1", "--threads", "2", "--no-request-buffering")
    peak = Peak(server.workers()[0])
    for chunked in ((), ("--header", "Transfer-Encoding: chunked")):
        answer = json.loads(
            curl("--form", f"file=@{payload.path}", "--form", "note=n", *chunked, server.url("/upload"))
        )
        assert answer == {"name": "payload.bin", "size": payload.size, "sha256": payload.sha256, "note": "n"}
    assert peak.growth() < 25_000_000
    client = browse(server)
    assert client.post("/json", json={"amount": 3}).json()["got"] == {"amount": 3}


def test_an_upload_in_chunks_has_a_known_length(flask: Server, payload: Payload) -> None:
    # An iterator as body: http.client sends it chunked, and Flask still parses the form.
    boundary = "frontier"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'.encode()

    def body() -> list[bytes]:
        return [head, *(b"%07d" % number for number in range(5_000)), f"\r\n--{boundary}--\r\n".encode()]

    connection = http.client.HTTPConnection("127.0.0.1", flask.port, timeout=20)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Transfer-Encoding": "chunked"}
    connection.request("POST", "/upload", body=iter(body()), headers=headers, encode_chunked=True)
    with connection.getresponse() as response:
        assert response.status == 200
        assert json.load(response)["size"] == 35_000
    connection.close()


def test_a_generator_is_streamed_with_its_request(flask: Server, browse: Browse, gate: Gate) -> None:
    assert check_streaming(browse(flask), "/stream", gate) == "last\n"


def test_a_stream_is_closed_when_the_client_leaves(flask: Server, browse: Browse) -> None:
    with browse(flask).stream("GET", "/endless") as response:
        assert next(response.iter_raw())
    flask.wait_for("endless: closed", timeout=10)
    assert flask.get("/hello") == b"Hello from Flask"


def test_a_failure_is_500_with_its_traceback_in_the_log(
    serve: Launch, settings: dict[str, str], browse: Browse
) -> None:
    server = serve("flasksite:app", "--workers", "1", env=settings)
    client = browse(server)
    answer = client.get("/crash")
    assert answer.status_code == 500
    assert "crash on purpose" not in answer.text
    server.wait_for("ValueError: crash on purpose")
    assert "Traceback (most recent call last)" in server.log
    assert "in crash" in server.log
    assert client.get("/hello").status_code == 200


def test_one_thread_is_one_call_at_a_time_on_one_thread(launch: Launch) -> None:
    server = launch("flasksite:app", "--workers", "1")  # the default: --threads 1
    answers = together(8, lambda: [server.get_json("/thread") for _ in range(5)])
    seen = [answer for several in answers for answer in several]
    assert len({answer["thread"] for answer in seen}) == 1
    assert sorted(int(str(answer["calls"])) for answer in seen) == list(range(1, 41))
    assert {answer["most"] for answer in seen} == {1}


def test_two_threads_run_two_requests_at_once(launch: Launch) -> None:
    server = launch("flasksite:app", "--workers", "1", "--threads", "2")
    answers = together(2, lambda: server.get_json("/meet"))
    assert {answer["place"] for answer in answers} == {0, 1}
    assert len({answer["thread"] for answer in answers}) == 2


@pytest.mark.parametrize("options", COMBINATIONS)
def test_an_answer_in_two_writes_does_not_wait_for_an_acknowledgement(launch: Launch, options: tuple[str, ...]) -> None:
    # Flask gives its body as an iterable. Without TCP_NODELAY the second write waits for the client's delayed ACK,
    # at least 40 ms on Linux, in each request but the first few of a connection.
    server = launch("flasksite:app", "--workers", "1", *options)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    times = []
    for _ in range(41):
        begun = time.monotonic()
        connection.request("GET", "/hello")
        with connection.getresponse() as response:
            assert response.read() == b"Hello from Flask"
        times.append(time.monotonic() - begun)
    connection.close()
    assert statistics.median(times) < 0.035


def test_redirects_and_urls_name_the_server_that_was_asked(flask: Server, browse: Browse) -> None:
    client = browse(flask)
    answer = client.get("/old")
    assert (answer.status_code, answer.headers["location"]) == (302, "/where")
    where = client.get("/where?a=1&a=%C3%A9&b=").json()
    assert where == {
        "url": flask.url("/where"),
        "remote": "127.0.0.1",
        "script": "",
        "query": {"a": ["1", "é"], "b": [""]},
    }
    head = client.head("/where")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0


def test_a_root_path_is_the_script_name(launch: Launch, browse: Browse) -> None:
    server = launch("flasksite:app", "--workers", "1", "--root-path", "/shop")
    where = browse(server).get("/shop/where").json()
    assert (where["url"], where["script"]) == (server.url("/shop/where"), "/shop")

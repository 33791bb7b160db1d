"""What every application may count on, under each parser, loop and interface, by a client of the standard library."""

from __future__ import annotations

import http.client
import json
import socket
import time
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from support.load import Load
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Serve = Callable[..., Server]

COMBINATIONS = list(product(["httptools", "h11"], ["uvloop", "asyncio"], ["asgi", "wsgi"]))
MIB = 1 << 20


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker of each combination, for all tests of this module."""
    parser, loop, interface = request.param
    log_path = tmp_path_factory.mktemp("basics") / "server-0.log"
    options = ("--workers", "1", "--http", parser, "--loop", loop)
    with Server(f"probe:{interface}", *options, log_path=log_path) as started:
        yield started.ready()
        workers = started.workers()
    assert len(workers) == 1
    assert "died" not in started.log


def of(interface: str) -> pytest.MarkDecorator:
    """Run a test over the combinations of one interface only."""
    params = [combination for combination in COMBINATIONS if combination[2] == interface]
    return pytest.mark.parametrize("server", params, ids="-".join, indirect=True, scope="module")


@pytest.fixture
def interface(server: Server, request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["server"][2])


@pytest.fixture
def loop(server: Server, request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["server"][1])


@pytest.fixture
def client(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    yield connection
    connection.close()


def ask(client: http.client.HTTPConnection, method: str, path: str, **request: Any) -> dict[str, Any]:
    client.request(method, path, **request)
    response = client.getresponse()
    assert response.status == 200
    return dict(json.loads(response.read()))


def test_get(client: http.client.HTTPConnection, interface: str) -> None:
    answer = ask(client, "GET", "/a%20b/%C3%A9?x=1&y=%20", headers={"X-Twice": "one"})
    if interface == "asgi":
        assert answer["method"] == "GET"
        assert answer["path"] == "/a b/\u00e9"
        assert answer["raw_path"] == "/a%20b/%C3%A9"
        assert answer["query"] == "x=1&y=%20"
        assert ["x-twice", "one"] in answer["headers"]
    else:
        environ = answer["environ"]
        assert environ["REQUEST_METHOD"] == "GET"
        assert environ["PATH_INFO"].encode("latin-1").decode() == "/a b/\u00e9"
        assert environ["QUERY_STRING"] == "x=1&y=%20"
        assert environ["HTTP_X_TWICE"] == "one"


def test_many_requests_on_one_connection(client: http.client.HTTPConnection) -> None:
    ports = set()
    for _ in range(50):
        ask(client, "GET", "/")
        ports.add(client.sock.getsockname())
    assert len(ports) == 1


@pytest.mark.parametrize("size", [0, 1, 70_000, MIB, MIB + 1, 3 * MIB])
def test_an_upload_arrives_whole(client: http.client.HTTPConnection, size: int) -> None:
    assert ask(client, "POST", "/", body=bytes(size))["body"] == size
    assert ask(client, "GET", "/")["body"] == 0  # and the connection goes on


def test_a_chunked_upload_arrives_whole(client: http.client.HTTPConnection) -> None:
    blocks = [b"a", b"b" * 70_000, b"c" * MIB, b"d"]
    answer = ask(client, "PUT", "/", body=iter(blocks), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert answer["body"] == sum(map(len, blocks))
    assert ask(client, "GET", "/")["body"] == 0


def test_an_upload_that_waits_for_100_continue(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert raw.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"hello")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"body": 5' in answer


def test_head_has_the_length_but_no_body(client: http.client.HTTPConnection) -> None:
    client.request("HEAD", "/")
    response = client.getresponse()
    assert response.status == 200
    assert int(response.getheader("Content-Length", "0")) > 100
    assert response.read() == b""
    ask(client, "GET", "/")


def test_a_stream_comes_in_chunks(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/stream?20")
    response = client.getresponse()
    assert response.getheader("Transfer-Encoding") == "chunked"
    assert response.read() == b"x" * 20 * 1024
    ask(client, "GET", "/")


def test_a_stream_to_an_http_1_0_client_ends_with_the_connection(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"GET /stream?3 HTTP/1.0\r\n\r\n")
        head, _, body = b"".join(iter(lambda: raw.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert body == b"x" * 3 * 1024


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    paths = [f"/p{number}" for number in range(40)]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        raw.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(lambda: raw.recv(65536), b""))
    found = [f"/p{number}" for number in range(len(paths)) if f'/p{number}"'.encode() in answers]
    assert answers.count(b"HTTP/1.1 200 ") == len(paths)
    assert found == paths
    positions = [answers.index(f'/p{number}"'.encode()) for number in range(len(paths))]
    assert positions == sorted(positions)


def test_a_trusted_peer_says_who_the_client_is(client: http.client.HTTPConnection, interface: str) -> None:
    answer = ask(client, "GET", "/", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})
    if interface == "asgi":
        assert (answer["client"][0], answer["scheme"]) == ("203.0.113.9", "https")
    else:
        environ = answer["environ"]
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("203.0.113.9", "https")


def test_each_request_has_a_fresh_context(client: http.client.HTTPConnection) -> None:
    assert [ask(client, "GET", f"/{number}")["context"] for number in range(5)] == [""] * 5


@of("asgi")
def test_an_asgi_application_runs_in_a_task_with_its_lifespan_state(
    server: Server, client: http.client.HTTPConnection, loop: str
) -> None:
    answer = ask(client, "GET", "/")
    assert answer["task"] is True
    assert answer["started"] == answer["pid"] == server.workers()[0]
    assert answer["loop"].split(".")[0] == loop


@of("wsgi")
def test_a_wsgi_application_is_called_on_one_thread_without_a_running_loop(server: Server) -> None:
    threads = set()
    for _ in range(10):
        answer = server.get_json()
        threads.add(answer["thread"])
        assert answer["running_loop"] is False
    with Load(server.port, clients=8, requests=50) as load:
        threads.add(server.get_json()["thread"])
        assert load.finish().ok == 50
    assert len(threads) == 1


# Servers of their own


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_a_peer_that_is_not_trusted_is_not_believed(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "1", "--forwarded-allow-ips", "192.0.2.0/24")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    answer = ask(connection, "GET", "/", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})
    connection.close()
    if app.endswith("asgi"):
        assert (answer["client"][0], answer["scheme"]) == ("127.0.0.1", "http")
    else:
        assert (answer["environ"]["REMOTE_ADDR"], answer["environ"]["wsgi.url_scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize("app", ["probe:asgi", "probe:wsgi"])
def test_the_root_path_is_known_whether_a_proxy_strips_it_or_not(serve: Serve, app: str) -> None:
    server = serve(app, "--workers", "1", "--root-path", "/mounted")
    for path in ("/x", "/mounted/x"):
        answer: dict[str, Any] = server.get_json(path)
        if app.endswith("asgi"):
            assert (answer["root_path"], answer["path"]) == ("/mounted", "/mounted/x")
        else:
            assert (answer["environ"]["SCRIPT_NAME"], answer["environ"]["PATH_INFO"]) == ("/mounted", "/x")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_task_factory_of_the_application_makes_the_tasks_of_requests(serve: Serve, loop: str) -> None:
    server = serve("tasks:app", "--workers", "1", "--loop", loop)
    assert {server.get() for _ in range(3)} == {b"made by the factory"}


def test_several_threads_call_a_wsgi_application_at_once(serve: Serve) -> None:
    server = serve("staged:wsgi", "--workers", "1", "--threads", "4")
    with Load(server.port, "/slow?0.5", clients=4, requests=4) as load:
        server.wait_for("begun /slow", count=4)
        assert load.tally.ok == 0  # all four have begun before any has ended
        assert load.finish().ok == 4


def test_one_thread_calls_a_wsgi_application_once_at_a_time(serve: Serve) -> None:
    server = serve("staged:wsgi", "--workers", "1")
    begun = time.monotonic()
    with Load(server.port, "/slow?0.1", clients=4, requests=4) as load:
        assert load.finish().ok == 4
    assert time.monotonic() - begun >= 0.4


def test_a_client_that_leaves_in_the_middle_harms_nobody(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "1")
    heads = [
        b"GET / HTTP/1.1\r\nHo",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
        b"",
        b"\x16\x03\x01",
    ]
    for data in heads * 5:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(data)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leaves with a reset
    with Load(server.port, clients=4, requests=100) as load:
        tally = load.finish()
    assert tally.ok == 100, tally
    assert "Traceback" not in server.log

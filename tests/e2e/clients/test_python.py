"""Python's HTTP clients, as they are: httpx, requests, aiohttp, http.client, urllib."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from support.clients import CLIENTS
from support.frameworks import together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.server import Server

DATA = random.Random(7).randbytes(2_000_000)
EXPECTED = {"size": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}


@pytest.fixture(params=list(CLIENTS))
def make(request: pytest.FixtureRequest) -> type[Any]:
    """The class of a client."""
    name = request.param
    pytest.importorskip(name, reason=f"needs {name}: pip install {name}")
    return CLIENTS[name]


@pytest.fixture
def client(make: type[Any]) -> Iterator[Any]:
    made = make()
    yield made
    made.close()


def blocks() -> Iterator[bytes]:
    return (DATA[start : start + 99_999] for start in range(0, len(DATA), 99_999))


def test_get_head_redirects_and_errors_on_one_connection(mirror: Server, client: Any) -> None:
    first = json.loads(client.ask("GET", mirror.url("/who?a=%C3%A9")).body)
    assert (first["method"], first["query"]) == ("GET", "a=%C3%A9")
    head = client.ask("HEAD", mirror.url("/who"))
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    assert json.loads(client.ask("GET", mirror.url("/moved")).body)["method"] == "GET"
    missing = client.ask("GET", mirror.url("/nothing"))
    assert (missing.status, missing.body) == (404, b"no such page")
    last = json.loads(client.ask("DELETE", mirror.url("/who")).body)
    assert last["method"] == "DELETE"
    if type(client).__name__ != "Urllib":  # which asks for a close each time
        assert last["port"] == first["port"]


def test_uploads_with_a_length_and_in_chunks(mirror: Server, client: Any) -> None:
    assert json.loads(client.ask("POST", mirror.url("/size"), DATA).body) == EXPECTED
    assert json.loads(client.ask("PUT", mirror.url("/size"), blocks()).body) == EXPECTED
    assert json.loads(client.ask("POST", mirror.url("/size"), b"").body)["size"] == 0
    assert client.ask("POST", mirror.url("/echo"), b"abc").body == b"abc"


def test_a_large_download_and_a_packed_one(mirror: Server, client: Any) -> None:
    large = client.ask("GET", mirror.url("/large?8000000"))
    assert len(large.body) == int(large.headers["Content-Length"]) == 8_000_000
    assert hashlib.sha256(large.body).digest() == hashlib.sha256(bytes(range(256)) * 31250).digest()
    packed = client.ask("GET", mirror.url("/packed"))
    plain = gzip.decompress(packed.body) if packed.body.startswith(b"\x1f\x8b") else packed.body
    assert plain == b"shard " * 10_000


def test_who_leaves_early_ends_the_stream_and_is_served_again(mirror: Server, client: Any) -> None:
    left = mirror.log.count("the client left /endless")
    assert client.peek(mirror.url("/endless")).startswith(b"data")
    mirror.wait_for("the client left /endless", count=left + 1)
    assert client.ask("GET", mirror.url("/who")).status == 200


def test_many_at_once(mirror: Server, make: type[Any]) -> None:
    def ask() -> list[bytes]:
        client = make()
        try:
            return [client.ask("POST", mirror.url("/echo"), b"%d" % number).body for number in range(10)]
        finally:
            client.close()

    assert together(8, ask) == [[b"%d" % number for number in range(10)]] * 8

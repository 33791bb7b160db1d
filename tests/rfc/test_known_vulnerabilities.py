"""Known vulnerabilities of other servers that are not about how a request is read: responses, names, time.

Those about reading are cases/known_vulnerabilities.py; storms of connections and the log: tests/e2e/test_storms.py.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.corpus import Recorder, get
from support.wire import PARSERS, Driver, sending

from shardserve.errors import ProtocolError
from shardserve.http.parsers import make_parser
from shardserve.http.request import Limits, read_request

SPLITTING = [
    (b"x-a", b"1\r\nx-injected: yes"),
    (b"x-a", b"1\nx-injected: yes"),
    (b"x-a", b"1\rx-injected: yes"),
    (b"x-a", b"1\0x-injected: yes"),
    (b"x-a: 1\r\nx-injected", b"yes"),
    (b"x-a\n", b"1"),
    (b"x a", b"1"),
    (b"", b"1"),
    (b"content-length", b"0\r\n\r\nHTTP/1.1 200 OK"),
    (b"location", b"/\r\n\r\n<script>"),
    (b"connection", b"x\r\nx-injected: yes"),
    (b"transfer-encoding", b"x\r\nx-injected: yes"),
]


@pytest.mark.parametrize(("name", "value"), SPLITTING)
def test_cve_2018_1000164_and_2020_7695_a_response_cannot_be_split_by_asgi(name: bytes, value: bytes) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(name, value)]}
    with Driver.asgi(sending(start, {"type": "http.response.body", "body": b"ok"})) as wire:
        wire.feed(get())
        assert b"x-injected" not in wire.output.replace(b"x-a: 1 x-injected", b"")
        assert wire.output.count(b"HTTP/1.1") == 1
        assert wire.statuses() in ([500], [200])  # what is not sent at all cannot split: Transfer-Encoding, Connection
        if wire.statuses() == [200]:
            assert name in (b"connection", b"transfer-encoding")


@pytest.mark.parametrize(("name", "value"), SPLITTING)
def test_cve_2018_1000164_a_response_cannot_be_split_by_wsgi(name: bytes, value: bytes) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [(name.decode("latin-1"), value.decode("latin-1"))])
        return [b"ok"]

    with Driver.wsgi(app) as wire:
        wire.feed(get()).finish()
        assert b"x-injected" not in wire.output
        assert wire.output.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("status", ["200 OK\r\nx-injected: yes", "200 OK\nx: y", "200 OK\0"])
def test_cve_2018_1000164_nor_by_a_reason(status: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, [])
        return [b"ok"]

    with Driver.wsgi(app) as wire:
        wire.feed(get()).finish()
        assert b"x-injected" not in wire.output
        assert len(wire.answers()) == 1


def test_cve_2016_5385_a_proxy_field_is_no_setting_of_the_server() -> None:
    environs: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environs.append(environ)
        start_response("200 OK", [])
        return [b""]

    with Driver.wsgi(app) as wire:
        wire.feed(get(b"Proxy: http://evil", b"PROXY: http://evil", b"X-Proxy: kept")).finish()
    assert "HTTP_PROXY" not in environs[0]
    assert environs[0]["HTTP_X_PROXY"] == "kept"


def test_cve_2024_49768_after_each_of_1000_errors_nothing_is_served() -> None:
    recorder = Recorder()
    with Driver.asgi(recorder.asgi) as wire:
        for number in range(1000):
            transport = wire.connect()
            wire.feed(get(b"X A: b") + get() if number % 2 else get(b"X A: b"), *([] if number % 2 else [get()]))
            assert wire.statuses() == [400]
            assert transport.write_ended
            wire.reset()
    assert not recorder.seen


# Patterns that go back and forth (CVE-2020-5236), and one of our own that took 13 s for 2,000 spaces


HOSTILE = {
    "a value of many octets and a bad one": b"X-A: " + b"x" * 8000 + b"\x01",
    "a value of white space": b"X-A: " + b" \t" * 4000 + b"\x01",
    "a coding of white space": b"Transfer-Encoding:" + b" " * 8000 + b"\n",
    "white space in a coding": b"Transfer-Encoding: a" + b" " * 8000 + b"b",
    "white space in a length": b"Content-Length: 5" + b" " * 8000 + b"5",
    "identities": b"Transfer-Encoding: " + b"identity, " * 800,
    "a host": b"Host: " + b"a" * 8000 + b"\xe9",
    "a host of escapes": b"Host: " + b"%41" * 2600 + b"%",
    "connection options": b"Connection: " + b"close," * 1300 + b"\x01",
    "a name": b"a" * 8000 + b"\x01: b",
    "commas": b"Expect: " + b", " * 4000,
}


def _seconds(head: bytes, parser: str) -> float:
    made = make_parser(parser)
    best = 60.0
    for _ in range(3):
        began = time.process_time()
        try:
            read_request(head, made, Limits())
        except ProtocolError:
            pass
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("field", HOSTILE.values(), ids=HOSTILE)
def test_cve_2020_5236_eight_times_the_octets_take_no_more_than_linear_time(field: bytes, parser: str) -> None:
    line = b"POST / HTTP/1.1\r\n"
    plain = _seconds(line + (b"X-A: " + b"x" * 8000 + b"\r\n") * 8 + b"\r\n", parser)
    hostile = _seconds(line + (field + b"\r\n") * 8 + b"\r\n", parser)  # 64 KB
    assert hostile < 50 * plain + 0.05  # the square is 8,000 times


def test_cve_2023_39326_framing_is_never_much_more_than_the_body() -> None:
    recorder = Recorder()
    sent = 0
    with Driver.asgi(recorder.asgi) as wire:
        wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not wire.closed and sent < 1_000_000:
            chunk = b"1;a=" + b"b" * 500 + b"\r\nx\r\n"
            wire.feed(chunk)
            sent += len(chunk)
        assert wire.statuses() == [400]
    assert sent < 20_000

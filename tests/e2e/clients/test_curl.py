"""curl, as it is."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.server import Server

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None, reason="needs curl: apt-get install curl")

DATA = random.Random(11).randbytes(4_000_000)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("curl") / "upload.bin"
    path.write_bytes(DATA)
    return path


def curl(*arguments: str, **settings: object) -> subprocess.CompletedProcess[bytes]:
    command = [str(CURL), "--silent", "--show-error", "--max-time", "30", "--noproxy", "*", *arguments]
    done = subprocess.run(command, capture_output=True, **settings)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return done


def test_it_waits_for_100_continue_before_it_sends(mirror: Server, file: Path) -> None:
    sent = ("--data-binary", f"@{file}", "--header", "Expect: 100-continue", "--expect100-timeout", "20")
    done = curl("--verbose", *sent, "--write-out", "%{time_total}", "--output", "/dev/null", mirror.url("/size"))
    assert b"< HTTP/1.1 100 Continue" in done.stderr
    assert b"< HTTP/1.1 200 OK" in done.stderr
    assert float(done.stdout) < 20  # it did not send for want of an answer


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(mirror: Server, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as sparse:
        sparse.truncate(40_000_000)
    sent = ("--data-binary", f"@{large}", "--header", "Expect: 100-continue", "--expect100-timeout", "20")
    done = curl(*sent, "--write-out", "%{http_code} %{size_upload}", "--output", "/dev/null", mirror.url("/size"))
    assert done.stdout == b"413 0"


def test_an_upload_from_a_pipe_is_chunked_and_comes_back(mirror: Server) -> None:
    done = curl("--verbose", "--upload-file", "-", mirror.url("/echo"), input=DATA)
    assert b"> Transfer-Encoding: chunked" in done.stderr
    assert done.stdout == DATA


def test_one_connection_for_several_urls_and_a_form(mirror: Server, file: Path) -> None:
    urls = [mirror.url("/who?1"), mirror.url("/packed"), mirror.url("/moved"), mirror.url("/who?2")]
    done = curl("--compressed", "--location", "--write-out", "\n%{num_connects}\n", *urls)
    lines = done.stdout.splitlines()
    assert lines[1::2] == [b"1", b"0", b"0", b"0"]
    assert json.loads(lines[0])["port"] == json.loads(lines[-2])["port"]
    assert lines[2] == b"shard " * 10_000
    form = json.loads(curl("--form", f"file=@{file}", mirror.url("/size")).stdout)
    assert form["size"] > len(DATA)


def test_head_http_1_0_and_an_offer_of_http_2(mirror: Server) -> None:
    assert curl("--head", mirror.url("/who")).stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    old = curl("--http1.0", "--include", "--data", "abc", mirror.url("/echo")).stdout
    head, _, body = old.partition(b"\r\n\r\n")
    assert (b"chunked" in head, body) == (False, b"abc")
    # `Upgrade: h2c` with a body: it is ignored, and the body is not lost.
    assert curl("--http2", "--data", "abc", mirror.url("/echo")).stdout == b"abc"


def test_many_in_parallel(mirror: Server) -> None:
    urls = [argument for number in range(50) for argument in ("--output", "/dev/null", mirror.url(f"/who?{number}"))]
    done = curl("--parallel", "--parallel-max", "25", "--write-out", "%{http_code} ", *urls)
    assert done.stdout.split() == [b"200"] * 50

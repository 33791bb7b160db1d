"""How many Python functions of ours run for one request: a cost that would else creep up unseen.

Where the hot path is compiled none of its functions counts: what is left is what has been forgotten there.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.wire import Driver, hello, request

import shardserve
from shardserve.build import uncompiled

if TYPE_CHECKING:
    from types import FrameType

OURS = str(Path(shardserve.__file__).parent)
PURE = bool(uncompiled())
PLAIN = request()
BROWSER = request(b"/items/42?page=1", b"User-Agent: x", b"Accept: */*", b"Cookie: a=b", b"Connection: keep-alive")


def called(wire: Driver, octets: bytes) -> Counter[str]:
    """The functions of ours that run while one request is answered, after some like it."""
    for _ in range(3):
        wire.feed(octets)
    counts: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            counts[frame.f_code.co_qualname] += 1

    sys.setprofile(profile)
    try:
        wire.feed(octets)
    finally:
        sys.setprofile(None)
    return counts


def wsgi_hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


# What was counted last (27, 21; 37, 30), and two for names that find no place in a table any more:
# other tests may have filled it.
@pytest.mark.parametrize(("octets", "pure"), [(PLAIN, 29), (BROWSER, 23)], ids=["plain", "with some fields"])
def test_an_asgi_request_takes_so_many_calls(octets: bytes, pure: int) -> None:
    with Driver.asgi(hello, "builtin") as wire:
        counts = called(wire, octets)
    assert counts.total() <= (pure if PURE else 0), counts


@pytest.mark.parametrize(("octets", "pure"), [(PLAIN, 39), (BROWSER, 32)], ids=["plain", "with some fields"])
def test_a_wsgi_request_takes_so_many_calls(octets: bytes, pure: int) -> None:
    with Driver.wsgi(wsgi_hello, "builtin", inline=True) as wire:
        counts = called(wire, octets)
    assert counts.total() <= (pure if PURE else 0), counts

"""The request cases of shared/http1cases (outside this repository), octet by octet: judged by their own runner's rules.

Whole and over sockets: tests/e2e/test_smuggling.py.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.corpus import in_pieces
from support.wire import PARSERS, Driver

from shardserve.gateway.wsgi_pool import PoolGateway

if TYPE_CHECKING:
    from types import ModuleType

CASES = Path(__file__).parents[3] / "shared" / "http1cases"
LARGE = 16384  # octets; what is larger is left to the sockets

pytestmark = pytest.mark.skipif(not (CASES / "visible.jsonl").is_file(), reason=f"{CASES} is not here")

# What no server can do, or what the cases contradict each other about, by id.
KNOWN = {
    "gunicorn-valid-rfc9112_smuggle_gzip_chunked_01": "own-te-gzip-chunked wants the same octets refused",
    "h11probe-COMP-CHUNKED-NO-FINAL": "what is missing may still come",
    "h11probe-COMP-POST-CL-UNDERSEND": "what is missing may still come",
    "h11probe-MAL-INCOMPLETE-REQUEST": "what is missing may still come",
    "h11probe-MAL-POST-CL-HUGE-NO-BODY": "what is missing may still come",
}
# A body is read whole before a WSGI application is called, or one that does not come would hold the thread: a client
# that is told to continue and does not is answered when it gives up, or after --body-timeout.
KNOWN_WSGI = {"own-expect-100-noread"}


def _import(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"http1cases_{name}", CASES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _observe(wire: Driver, case: dict[str, Any], runner: ModuleType, marker: bytes) -> dict[str, Any]:
    """Send one case octet by octet, and the question whether the connection is still usable; what the runner judges."""
    heads = set(case.get("heads") or ([0] if case.get("head") else []))
    seen = {"got100": False, "late": False, "hang": False, "error": None, "rst": False, "t": 0.0}

    def send(octets: bytes) -> None:
        wire.feed(*in_pieces(octets))
        settle()

    def settle() -> None:
        if isinstance(wire.gateway, PoolGateway):
            wire.finish()  # its calls are on threads, and begin once the body is complete

    def finals() -> list[Any]:
        return [one for one in runner.parse(wire.output, wire.closed, heads)[0] if one.status >= 200 and one.complete]

    for octets, wait in runner.octets(case):
        octets = octets.replace(b"/smuggled", marker)
        send(octets.replace(b"HTTP/1.1", b"HTTP/1.0") if case.get("http10") else octets)
        seen["got100"] = seen["got100"] or (wait == "100" and b"HTTP/1.1 100" in wire.output)
    if case.get("fin"):
        wire.end()
        settle()
    elif not finals() and not wire.closed:
        seen["hang"] = True
        wire.end()
        settle()
    answers, rest = runner.parse(wire.output, wire.closed, heads)
    seen.update(
        resps=answers, rest=rest, eof=wire.closed, buf=wire.output, follow="closed" if wire.closed else "skipped"
    )
    if answers and not wire.closed and not seen["hang"]:
        before = len(finals())
        send(b"GET /after HTTP/1.1\r\nHost: localhost\r\n\r\n")
        after = finals()[before:]
        usable = len(after) == 1 and (after[0].js() or {}).get("path") == "/after"
        seen["follow"] = "ok" if usable else "closed" if wire.closed else f"desync: {len(after)} answers"
    return seen


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the runner opens its files
@pytest.mark.parametrize(("gateway", "parser"), [*(("asgi", name) for name in PARSERS), ("wsgi", PARSERS[0])])
def test_every_case_passes_octet_by_octet(gateway: str, parser: str) -> None:
    runner, echo = _import("run"), _import("echo_app")
    known = {*KNOWN, *(KNOWN_WSGI if gateway == "wsgi" else ())}
    wrong: Counter[str] = Counter()
    told = {}
    for file in ("visible", "public"):
        for line in (CASES / f"{file}.jsonl").read_text().splitlines():
            case = json.loads(line)
            if sum(len(octets) for octets, _ in runner.octets(case)) > LARGE:
                continue
            echo.SEEN.clear()
            driver = Driver.asgi(echo.app, parser) if gateway == "asgi" else Driver.wsgi(echo.wsgi_app, parser)
            with driver as wire:
                verdict, why = runner.judge(case, _observe(wire, case, runner, b"/smug0001"))
            if echo.SEEN and not case.get("marker_ok"):
                verdict, why = "SMUGGLE", "the marker request reached the application"
            if verdict != "PASS" and not (case["id"] in known and verdict != "SMUGGLE"):
                wrong[verdict] += 1
                told[case["id"]] = f"{verdict}: {why}"
    assert not wrong, told

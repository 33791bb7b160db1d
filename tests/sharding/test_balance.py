"""How evenly held connections spread over four workers, for each way of steering; 25 % each is even."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import mean
from typing import TYPE_CHECKING

import pytest
from support.holding import held, worst_share
from support.matrix import FULL, Link
from support.privileges import need_bpf

if TYPE_CHECKING:
    from pathlib import Path

    from support.server import Server

    Serve = Callable[..., Server]
    Trial = Callable[[int, float], float]

Tell = Callable[[str, object], None]
MANY = (8, 32, 256)
SPACED, AT_ONCE = 0.002, 0.0  # seconds between arrivals
TRIALS = 20 if FULL else 2
LIMITS = {8: 38, 32: 31, 256: 28}
"""Worst share in percent, by connections held, for arrivals that are spaced: of cbpf always, of the gate on average."""


def try_all(
    tell: Tell, server: Server, steering: str, address: tuple[str, int] | str
) -> dict[tuple[int, float], list[float]]:
    """Worst shares of all trials, by how many connections and how far apart."""
    shares = {}
    for apart in (SPACED, AT_ONCE):
        for many in MANY:
            found = []
            for _ in range(TRIALS):
                with held(server, address, many, apart) as holders:
                    found.append(worst_share(holders))
            shares[many, apart] = found
            p95 = sorted(found)[math.ceil(0.95 * len(found)) - 1]
            figures = (f"{figure:.1f} %" for figure in (mean(found), p95, max(found)))
            tell("balance", (steering, f"{apart * 1000:g} ms apart" if apart else "at once", many, TRIALS, *figures))
    return shares


def test_ebpf_is_exact_however_long_a_handshake_takes(serve: Serve, link: Link, record_property: Tell) -> None:
    need_bpf()
    server = serve("echo:asgi", "--workers", "4", "--steering", "ebpf", bind=link.bind)
    with link.far():
        shares = try_all(record_property, server, f"ebpf{link.name}", (link.host, server.port))
    exact = [share for (_, apart), found in shares.items() for share in found if apart or FULL]
    assert set(exact) == {25.0}, shares
    assert max(shares[8, AT_ONCE]) <= 37.5, "one connection too many"


def test_cbpf_needs_no_privilege_and_is_nearly_even(serve: Serve, record_property: Tell) -> None:
    server = serve("echo:asgi", "--workers", "4", "--steering", "cbpf")
    shares = try_all(record_property, server, "cbpf", ("127.0.0.1", server.port))
    assert all(round(max(shares[many, SPACED])) <= LIMITS[many] for many in MANY), shares


def test_the_kernels_hash_is_measured(serve: Serve, record_property: Tell) -> None:
    server = serve("echo:asgi", "--workers", "4", "--steering", "hash")
    try_all(record_property, server, "hash", ("127.0.0.1", server.port))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_shared_listener_with_a_load_gate(serve: Serve, record_property: Tell, tmp_path: Path, kind: str) -> None:
    path = f"{tmp_path}/app.sock"
    if kind == "unix":
        server = serve("echo:asgi", "--workers", "4", bind=f"unix:{path}")
    else:
        server = serve("echo:asgi", "--workers", "4", "--steering", "shared")
    address = path if kind == "unix" else ("127.0.0.1", server.port)
    shares = try_all(record_property, server, f"shared ({kind})", address)
    if FULL:
        assert all(mean(shares[many, SPACED]) <= LIMITS[many] for many in MANY), shares
    assert mean(shares[256, SPACED]) < 50, "without the gate one or two workers take most of them"

"""Sending in step with the client and with the others on the loop: what every `send` of an ASGI application awaits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shardserve.native import monotonic_ns

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from shardserve.http.exchange import Wire

# Of a worker's streams together, after which the one that sends gives up its turn if it has lasted long enough. A send
# takes 1 to 20 us, a turn of the loop as much and a system call.
SENDS_MAX = 16
_TURN = 200_000  # nanoseconds


def pace(wire: Wire) -> Coroutine[Any, Any, None] | None:
    """What is to be awaited before more is sent: None mostly; else the client, or that others have had their turn.

    Without that a stream whose client reads as fast as the application writes would never come back to the loop: no
    other request, no tick and no signal would be seen until it ends. Its parts leave before the others' turn.
    """
    if wire.paused is None:
        service = wire.service
        service.sends += 1
        if service.sends < SENDS_MAX:
            return None
        service.sends = 0
        now = monotonic_ns()
        if now < service.sends_until:
            return None
        service.sends_until = now + _TURN
        wire.count_waiting()
    return _wait(wire)


async def keep_up(wire: Wire) -> None:
    """Await what is to be awaited before more is sent: see `pace`."""
    waiting = pace(wire)
    if waiting is not None:
        await waiting


async def _wait(wire: Wire) -> None:
    if wire.paused is None:
        await asyncio.sleep(0)
    else:
        await asyncio.shield(wire.paused)  # others wait for it too: being cancelled must not cancel it for them

"""Sending in step with the client and with the others on the loop: what every `send` of an ASGI application awaits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardserve.http.exchange import Wire

# Of a worker's streams together, after which the one that sends gives up its turn. A send takes 5 to 20 us; a turn each
# time would cost a stream of small parts a third of its speed, each 16th time less than the noise of the measurement.
SENDS_MAX = 16


async def keep_up(wire: Wire) -> None:
    """Wait while the client does not keep up; if it does, now and then let other connections have their turn.

    Without that a stream whose client reads as fast as the application writes would never come back to the loop: no
    other request, no tick and no signal would be seen until it ends.
    """
    if wire.paused is not None:
        await asyncio.shield(wire.paused)  # others wait for it too: being cancelled must not cancel it for them
        return
    service = wire.service
    service.sends += 1
    if not service.sends % SENDS_MAX:
        await asyncio.sleep(0)

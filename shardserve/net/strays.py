"""Strays: what the kernel's program has steered to a shard, and no worker of it will ever accept.

STEERED less TAKEN (loads.py) is what is under way to a shard: handshakes, and what its queue holds. But half-open
connections of a scan stay in it, and so does what a sibling has accepted; and one that was never counted (its queue has
moved, SYN cookies) makes it too small. Which is which cannot be seen, only that a handshake ends: what was steered more
than half a second ago, and is neither queued nor made up for by what has been accepted since, is forgotten. Under load
that leaves a few in doubt; should they matter, the shard gets no connections, and soon none is in doubt.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from shardserve.net.listener import queue_length
from shardserve.net.loads import Load

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

_LOOKS = 5  # at ten a second
_MODULUS = 1 << 64


class Strays:
    """Those of one shard; `line` is its line of the loads, of which this writes FORGOTTEN."""

    def __init__(self, line: memoryview) -> None:
        self._line = line
        self._steered: deque[int] = deque(maxlen=_LOOKS)  # at the last looks, the oldest first

    def look(self, listeners: Iterable[socket.socket]) -> None:
        """Forget what will not come to the shard, whose listeners these are."""
        line = self._line
        taken = line[Load.TAKEN]  # first: what is accepted while we look counts as under way
        queued = sum(map(queue_length, listeners))  # a worker that stands still will accept it one day
        steered = line[Load.STEERED]
        wrong = min(0, _under_way(line, steered, taken))
        if len(self._steered) == _LOOKS:
            wrong = wrong or max(0, _under_way(line, self._steered[0], taken) - queued)
        if wrong:
            line[Load.FORGOTTEN] = (line[Load.FORGOTTEN] + wrong) % _MODULUS
        self._steered.append(steered)


def under_way(line: memoryview) -> int:
    """What is steered to a shard and neither accepted nor forgotten; below 0 if more has been accepted."""
    return _under_way(line, line[Load.STEERED], line[Load.TAKEN])


def _under_way(line: memoryview, steered: int, taken: int) -> int:
    difference: int = (steered - taken - line[Load.FORGOTTEN]) % _MODULUS
    return difference if difference < _MODULUS // 2 else difference - _MODULUS

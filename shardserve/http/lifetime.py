"""How long a connection is kept: after so many requests, or so long, its next answer is its last."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What connections may have: `requests` (0 = any number) and `age` in seconds (0 = any). Each draws its own."""

    requests: int = 0
    age: float = 0.0

    def draw(self, now: float) -> Remaining:
        """What one connection has that opens at `now`: up to a tenth more, so that they do not all end at once."""
        spread = 1 + random.random() * 0.1  # noqa: S311 no secret
        return Remaining(
            int(self.requests * spread) if self.requests else math.inf,
            now + self.age * spread if self.age else math.inf,
        )


class Remaining:
    """What is left to one connection."""

    __slots__ = ("_ends", "_requests")

    def __init__(self, requests: float, ends: float) -> None:
        self._requests = requests
        self._ends = ends

    def spend(self, now: float) -> bool:
        """A request has come; whether the connection may be kept after it."""
        self._requests -= 1
        return self._requests > 0 and now < self._ends

"""When a worker has served enough: after so many requests, so long, or at so much memory it asks to be replaced."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardserve.config.settings import Config


class Recycling:
    """The limits of one worker, jitter drawn, so that workers that started together do not leave together."""

    def __init__(self, config: Config) -> None:
        jitter = random.randint(0, config.max_requests_jitter)  # noqa: S311 no secret
        self._requests = config.max_requests + jitter if config.max_requests else 0
        spread = 1 + random.random() * 0.1  # noqa: S311
        self._ends = time.monotonic() + config.max_lifetime * spread if config.max_lifetime else 0.0
        self._octets = config.max_rss

    def reason(self, requests: int) -> str:
        """Why to leave now, in words; "" if there is no reason. `requests` is how many the worker has begun."""
        if self._requests and requests >= self._requests:
            return f"has begun {requests} requests (--max-requests)"
        if self._ends and time.monotonic() >= self._ends:
            return "has served its time (--max-lifetime)"
        if self._octets and (used := resident_octets()) >= self._octets:
            return f"uses {used / 1e6:.0f} MB of memory (--max-rss)"
        return ""


def resident_octets(pid: int | None = None) -> int:
    """A process's resident memory in octets (proc_pid_statm(5)), this one's if none is named; 0 if it is not said."""
    try:
        return int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0

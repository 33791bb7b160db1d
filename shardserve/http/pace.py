"""How fast a request body comes: silence and the average rate, counted only while we read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardserve.http.service import Timeouts

_GRACE = 10.0  # seconds of reading before the least rate is asked for


class BodyPace:
    """The pace of one body, looked at about once a second. Times are seconds of the service's clock."""

    __slots__ = ("_heard", "_looked", "_seconds", "_silent", "octets")

    def __init__(self, now: float) -> None:
        self.octets = 0  # of the body, without its framing
        self._seconds = 0.0  # of reading
        self._silent = 0.0  # between looks, since the last octet
        self._heard = False  # octets have come since the last look
        self._looked = now

    def took(self, octets: int) -> None:
        """Octets of the body have come; 0 counts as a sign of life, too (a chunk's size line)."""
        self.octets += octets
        self._silent = 0.0
        self._heard = True

    def fault(self, now: float, reading: bool, timeouts: Timeouts) -> str:
        """What is wrong with the pace, "" if nothing is. While we do not read (`reading`), time stands still."""
        passed, self._looked = now - self._looked, now
        if not reading:
            return ""
        self._seconds += passed
        if not self._heard:  # else they may have come at any time since, and been read only now
            self._silent += passed
        self._heard = False
        if timeouts.body and self._silent > timeouts.body:
            return "the request body paused for too long"
        rate = timeouts.body_min_rate
        if rate and self._seconds > _GRACE + self.octets / rate:
            return "the request body came too slowly"
        return ""

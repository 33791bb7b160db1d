"""A head that is not complete yet: refused as soon as it cannot become a good one, and the same however it is cut."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.grammar import CRLF
from shardserve.http.request import Request
from shardserve.http.request_line import check_method, read_line

if TYPE_CHECKING:
    from shardserve.http.request import Limits


class PartialHead:
    """A head of which a part has come: refused as soon as it cannot become a good one, so that it holds no place.

    Looked at is what comes behind `seen`, the end of the last complete line: a head in dribbles would else cost the
    square of its length.
    """

    __slots__ = ("_fields", "_first", "seen")

    def __init__(self) -> None:
        self.seen = 0
        self._first = 0  # octets of the request line with its end, 0 while it is not complete
        self._fields = 0  # complete field lines

    def look(self, data: bytes, limits: Limits) -> None:
        """Look at the head so far, which begins with what was there at the last look.

        Raises ProtocolError, and the same one however the octets are cut: limits count octets of the head.
        """
        seen = self.seen
        end = data.rfind(CRLF, seen) + 2
        if not self._first:
            self._first = data.find(CRLF, seen) + 2 if end > 1 else 0
            line = data[: self._first - 2] if self._first else data
            if len(line) - line.endswith(b"\r") > limits.line:
                raise ProtocolError(414, "request line too long")
            if self._first:
                read_line(Request(), line, limits)
            else:
                check_method(line, limits)
        if self._first and len(data) - self._first > limits.section:
            raise ProtocolError(431, "header section too large")
        new = data[seen:]
        pairs = new.count(CRLF)
        if new.count(b"\n") != pairs or new.count(b"\r") - new.endswith(b"\r") != pairs:
            raise ProtocolError(400, "line that does not end in CRLF")
        if end > 1:
            self._fields += pairs - (seen == 0)
            self.seen = end
        if self._fields > limits.fields:
            raise ProtocolError(431, "too many header fields")
        if len(new) > limits.field_size and self._first:
            lines = data[max(seen, self._first) : len(data) - data.endswith(b"\r")].split(CRLF)
            if max(map(len, lines)) > limits.field_size:
                raise ProtocolError(431, "header field too large")


def earliest_fault(data: bytes, limits: Limits) -> ProtocolError | None:
    """What PartialHead would have refused first, had the octets come one by one; None: nothing.

    So a head with several faults gets one answer however it is cut. (What has a refused beginning is refused itself.)
    """

    def fault(end: int) -> ProtocolError | None:
        try:
            PartialHead().look(data[:end], limits)
        except ProtocolError as error:
            return error
        return None

    return fault(bisect_left(range(len(data) + 1), True, lo=1, key=lambda end: fault(end) is not None))

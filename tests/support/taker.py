"""A sink for the access log, in memory."""

from __future__ import annotations


class Taker:
    """A sink that takes what it is told to: any number of octets, then none."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.octets = b""
        self.closed = False

    def take(self, lines: bytes | bytearray) -> int:
        taken = lines[: self.room]
        self.room -= len(taken)
        self.octets += taken
        return len(taken)

    def close(self) -> None:
        self.closed = True

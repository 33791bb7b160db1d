"""Connections between workers: taken from the shard's inbox, given to one that replaces us or that has a free thread.

A worker that executes one call at a time must not make a request wait while another worker is idle. So a request that
finds no thread free goes, with its connection, to a worker that has one; and a worker with a free thread asks for one
that waits. What is free and what waits stands in shared memory (net/loads.py).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from shardserve.http.h1 import H1Connection
from shardserve.logs import log
from shardserve.net.inbox import GIVEN, PUSHED, WANTED, put, take
from shardserve.net.loads import Load, claim_free

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from shardserve.gateway.turns import Turns
    from shardserve.http.exchange import Give
    from shardserve.http.service import Service
    from shardserve.net.inbox import Packet
    from shardserve.net.loads import Loads
    from shardserve.worker.accept import Opening

_BATCH = 16  # packets taken in one turn of the loop


class Handover:
    """One worker's part in it. `writing` are the ends of all shards' inboxes to put into, by shard; it may grow."""

    def __init__(
        self, service: Service, opening: Opening, shard: int, loads: Loads, writing: list[socket.socket]
    ) -> None:
        self._service = service
        self._opening = opening
        self._shard = shard
        self._loads = loads
        self.writing = writing
        self._reading: dict[int, socket.socket] = {}  # by shard: ours, and those of shards we have adopted
        self._give_waiting: Callable[[Give], None] | None = None

    def pass_requests_on(self) -> None:
        """Have requests that wait here given to workers that are idle (for inline calls; the deputy does the rest)."""
        self._service.give_idle = self._give_idle
        self._service.takes_calls = True

    def share_work(self, turns: Turns[Any]) -> None:
        """Take part in executing what waits for its turn, here or elsewhere."""
        self._give_waiting = turns.give_waiting
        self._service.give_idle = self._give_idle
        self._service.ask_for_work = self._ask_for_work
        self._service.takes_calls = True
        turns.look_for_work(self._service)

    def read(self, shard: int, reading: socket.socket) -> None:
        """Take what is put into the inbox of a shard."""
        self.stop_reading(shard)
        self._reading[shard] = reading
        self._service.loop.add_reader(reading.fileno(), self._take, reading)

    def stop_reading(self, shard: int) -> None:
        """Leave what is put into the inbox of a shard to another; closes this process's copy."""
        reading = self._reading.pop(shard, None)
        if reading is not None:
            self._service.loop.remove_reader(reading.fileno())
            reading.close()

    def descriptors(self) -> Iterator[int]:
        """Of all inboxes' ends."""
        yield from (reading.fileno() for reading in self._reading.values())
        yield from (writing.fileno() for writing in self.writing)

    def close(self) -> None:
        """Stop reading everywhere."""
        for shard in list(self._reading):
            self.stop_reading(shard)

    def pass_on(self, reading: int, give: Give) -> bool:
        """Have what was put first into an inbox, by its descriptor, served elsewhere. For the deputy: the loop is busy.

        What `give` cannot pass on after all is opened here. False if nothing was there.
        """
        ours = next((one for one in self._reading.values() if one.fileno() == reading), None)
        packet = take(ours) if ours is not None else None
        if packet is None:
            return False
        connection = packet.connection
        if connection is not None and not give(connection.fileno(), packet.octets, packet.answer_by):
            make = partial(_make_connection, packet=packet)
            self._service.loop.call_soon_threadsafe(self._opening.open, connection, make)
        elif connection is not None:
            connection.close()
        return True

    def inboxes(self) -> list[int]:
        """The descriptors that are read here."""
        return [reading.fileno() for reading in self._reading.values()]

    def empty(self) -> None:
        """Take everything that is there now."""
        for reading in self._reading.values():
            self._take(reading, most=1 << 16)

    def give_on(self, descriptor: int, octets: bytes, answer_by: float) -> bool:
        """Give a connection to the worker that replaces this one: it reads the same inbox."""
        return put(self.writing[self._shard], GIVEN, octets, descriptor, answer_by)

    def _give_idle(self, descriptor: int, octets: bytes, answer_by: float) -> bool:
        target = self._loads.free(but=self._shard)
        return target is not None and self.push(target, descriptor, octets, answer_by)

    def free(self) -> int | None:
        """A shard that has a free thread; during a call, our own if its next worker serves it already."""
        target = self._loads.free(but=self._shard)
        if target is not None and target >= len(self.writing):
            return None  # a new one, that we have not been told of yet
        if target is None and self._loads.line(self._shard)[Load.FREE] and self._service.takes_calls:
            return self._shard
        return target

    def push(self, shard: int, descriptor: int, octets: bytes, answer_by: float) -> bool:
        """Put a connection into the inbox of a shard, and take that for the call that it can make."""
        if shard >= len(self.writing) or not put(self.writing[shard], PUSHED, octets, descriptor, answer_by):
            return False
        claim_free(self._loads.line(shard))
        return True

    def _give_to(self, shard: int, descriptor: int, octets: bytes, answer_by: float) -> bool:
        # It asked some time ago: by now it may have found work, or be leaving, when it says that nothing is free.
        free = self._loads.line(shard)[Load.FREE] > 0
        return free and put(self.writing[shard], PUSHED, octets, descriptor, answer_by)

    def _ask_for_work(self) -> None:
        target = self._loads.waiting(but=self._shard)
        if target is not None:
            put(self.writing[target], WANTED, bytes((self._shard,)))

    def _take(self, reading: socket.socket, most: int = _BATCH) -> None:
        for _ in range(most):
            packet = take(reading)
            if packet is None:
                return
            kind, octets, connection, _ = packet
            if connection is not None:
                make = partial(_make_connection, packet=packet)
                self._opening.open(connection, make)
            elif kind != WANTED:
                log.error("a connection given by another worker is lost: this one has no descriptor left for it")
            elif self._give_waiting is not None and octets[0] < len(self.writing):
                self._give_waiting(partial(self._give_to, octets[0]))


def _make_connection(service: Service, packet: Packet) -> H1Connection:
    made = H1Connection(service, packet.octets, moved=packet.kind == PUSHED, answer_by=packet.answer_by)
    made.shared = True
    return made

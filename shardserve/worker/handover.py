"""Connections between workers: taken from the shard's inbox, given to one that replaces us or that has a free thread.

A worker that executes one call at a time must not make a request wait while another worker is idle. So a request that
finds no thread free goes, with its connection, to a worker that has one; and a worker with a free thread asks for one
that waits. What is free and what waits stands in shared memory (net/loads.py).
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from shardserve.http.h1 import H1Connection
from shardserve.logs import log
from shardserve.net.inbox import GIVEN, PUSHED, WANTED, Packet, end, has_room, put, take
from shardserve.net.loads import Aim, Load, claim_free, claim_room, note_one_free
from shardserve.worker.forks import has_children

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Iterator

    from shardserve.gateway.turns import Turns
    from shardserve.http.exchange import Give
    from shardserve.http.service import Service
    from shardserve.net.loads import Loads
    from shardserve.worker.opening import Opening

_BATCH = 16  # packets taken in one turn of the loop
_COUNT = int(Aim.COUNT)
_PAUSE = 0.25  # seconds until it is looked again whether there is a descriptor for what waits
_SAY_AGAIN = 60.0  # seconds between two lines that say that there is none


class Handover:
    """One worker's part in it. `writing` are the ends of all shards' inboxes to put into, by shard; more may come."""

    def __init__(
        self, service: Service, opening: Opening, shard: int, loads: Loads, writing: list[socket.socket]
    ) -> None:
        self._service = service
        self._opening = opening
        self._shard = shard
        self._loads = loads
        self.writing = dict(enumerate(writing))
        self._reading: dict[int, socket.socket] = {}  # by shard: ours, and those of shards we have adopted
        self._turns: Turns | None = None
        self._resume: asyncio.TimerHandle | None = None  # while nothing is taken, for want of a descriptor
        self._say_after = 0.0

    def pass_requests_on(self) -> None:
        """Have requests that wait here given to workers that are idle (during an inline call the deputy does)."""
        self._service.give_idle, self._service.has_idle = self._give_idle, self._has_idle
        self._service.takes_calls = True

    def has_siblings(self) -> bool:
        """Whether there are other shards than this worker's."""
        return self._loads.aim[_COUNT] > 1

    def share_work(self, turns: Turns) -> None:
        """Take part in executing what waits for its turn, here or elsewhere."""
        self._turns = turns
        self.pass_requests_on()
        self._service.ask_for_work = self._ask_for_work
        turns.look_for_work(self._service)

    def read(self, shard: int, reading: socket.socket) -> None:
        """Take what is put into the inbox of a shard."""
        self.stop_reading(shard)
        self._reading[shard] = reading
        if self._resume is None:
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
        yield from (writing.fileno() for writing in self.writing.values())

    def close(self) -> None:
        """Stop reading everywhere."""
        for shard in list(self._reading):
            self.stop_reading(shard)
        if self._resume is not None:
            self._resume.cancel()

    def pass_on(self, reading: int, give: Give) -> bool:
        """Have what was put first into an inbox, by its descriptor, served elsewhere. For the deputy: the loop is busy.

        What `give` cannot pass on after all is opened here. False if nothing was there.
        """
        ours = next((one for one in self._reading.values() if one.fileno() == reading), None)
        try:
            packet = take(ours) if ours is not None else None
        except (OSError, EOFError):
            return False  # the loop sees to that
        if packet is None:
            return False
        connection = packet.connection
        if connection is not None and not give(connection.fileno(), packet.octets, packet.answer_by, packet.copied):
            self._service.loop.call_soon_threadsafe(self._open, packet)
        elif connection is not None:
            connection.close()
        return True

    def inboxes(self) -> list[int]:
        """The descriptors that are read here."""
        return [reading.fileno() for reading in self._reading.values()]

    def empty(self) -> None:
        """The service ends: have nobody put anything there any more, and take what is there."""
        for reading in self._reading.values():
            end(reading)
            self._take(reading, most=1 << 16)

    # To others

    def give_on(self, descriptor: int, octets: bytes, answer_by: float, copied: bool) -> bool:
        """Give a connection to the worker that replaces this one: it reads the same inbox."""
        return self._put(self._shard, GIVEN, descriptor, octets, answer_by, copied)

    def _has_idle(self) -> bool:
        return self._loads.free(but=self._shard) is not None

    def _give_idle(self, descriptor: int, octets: bytes, answer_by: float, copied: bool) -> bool:
        target = self._loads.free(but=self._shard)
        return target is not None and self.push(target, descriptor, octets, answer_by, copied)

    def free(self) -> int | None:
        """A shard that has a free thread; during a call, our own if its next worker serves it already."""
        target = self._loads.free(but=self._shard)
        if target is not None and target not in self.writing:
            return None  # a new one, that we have not been told of yet
        if target is None and self._loads.line(self._shard)[Load.FREE] and self._service.takes_calls:
            return self._shard
        return target

    def room(self, most: int) -> int | None:
        """Another shard that may have one more connection, where a worker may have `most`."""
        target = self._loads.with_room(most, but=self._shard)
        return target if target in self.writing else None

    def send(self, shard: int, descriptor: int) -> bool:
        """Give a connection that has just been accepted to a shard with room, and take that for it."""
        if not self._put(shard, GIVEN, descriptor, b"", math.inf, False):
            return False
        claim_room(self._loads.line(shard))
        return True

    def push(self, shard: int, descriptor: int, octets: bytes, answer_by: float, copied: bool) -> bool:
        """Put a connection into the inbox of a shard, and take that for the call that it can make.

        Where calls are made inline it stays open here until the one under way has ended: a copy, to whoever gets it.
        """
        inline = self._turns is None
        if not self._put(shard, PUSHED, descriptor, octets, answer_by, copied or inline):
            return False
        claim_free(self._loads.line(shard))
        return True

    def _give_to(self, shard: int, descriptor: int, octets: bytes, answer_by: float, copied: bool) -> bool:
        # It asked some time ago: by now it may have found work, or be leaving, when it says that nothing is free.
        free = self._loads.line(shard)[Load.FREE] > 0
        return free and self._put(shard, PUSHED, descriptor, octets, answer_by, copied)

    def _put(self, shard: int, kind: bytes, descriptor: int, octets: bytes, answer_by: float, copied: bool) -> bool:
        writing = self.writing.get(shard)
        if writing is None:  # the shard is new, and we have not been told yet
            return False
        service = self._service
        if not service.forked and has_children():  # since the last tick
            service.forked = True
        return put(writing, kind, octets, descriptor, answer_by, copied=copied or service.forked)

    def _ask_for_work(self) -> None:
        target = self._loads.waiting(but=self._shard)
        if target in self.writing:
            put(self.writing[target], WANTED, bytes((self._shard,)))

    # From others

    def _take(self, reading: socket.socket, most: int = _BATCH) -> None:
        for _ in range(most):
            try:
                packet = take(reading)
            except EOFError:  # ended by whoever stood in for us when the service ended
                self._service.loop.remove_reader(reading.fileno())
                return
            except OSError as error:
                self._pause(error)
                return
            if packet is None:
                return
            if packet.connection is not None:
                self._open(packet)
            elif packet.kind != WANTED:
                log.error("a connection given by another worker is lost: this one has no descriptor left for it")
            elif self._turns is not None:
                self._turns.give_waiting(partial(self._give_to, packet.octets[0]))

    def _open(self, packet: Packet) -> None:
        assert packet.connection is not None  # of this packet
        packet.connection.setblocking(False)
        self._opening.open(packet.connection.detach(), partial(_make, packet), None, False)

    def _pause(self, error: OSError) -> None:
        """No descriptor is free for the connection that comes next: leave it there, and have no more sent to us."""
        service = self._service
        if service.now >= self._say_after:
            self._say_after = service.now + _SAY_AGAIN
            log.warning("taking requests from other workers pauses: %s; raise the open-file limit", error.strerror)
        for reading in self._reading.values():
            service.loop.remove_reader(reading.fileno())
        self._cut_off(True)
        if self._resume is None:
            self._resume = service.loop.call_later(_PAUSE, self._look_again)

    def _look_again(self) -> None:
        self._resume = None
        if not all(map(has_room, self._reading.values())):
            self._resume = self._service.loop.call_later(_PAUSE, self._look_again)
            return
        for reading in self._reading.values():
            self._service.loop.add_reader(reading.fileno(), self._take, reading)
        self._cut_off(False)

    def _cut_off(self, is_so: bool) -> None:
        service = self._service
        service.cut_off = is_so
        if self._turns is not None:
            self._turns.cut_off = is_so
            self._turns.look_for_work(service)
        elif service.takes_calls:
            note_one_free(service.load, cut_off=is_so)


def _make(packet: Packet, service: Service) -> H1Connection:
    connection = H1Connection(service, packet.octets, moved=packet.kind == PUSHED, answer_by=packet.answer_by)
    connection.copied = packet.copied
    return connection

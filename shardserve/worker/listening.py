"""How connections come to one worker: from its listeners, from those of shards it stands in for, and from inboxes."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

from shardserve.http.h1 import H1Connection
from shardserve.net.closing import open_door
from shardserve.net.listener import Listener
from shardserve.worker.accept import Acceptor
from shardserve.worker.handover import Handover
from shardserve.worker.opening import Opening

if TYPE_CHECKING:
    import socket
    from collections.abc import Container, Iterator, Sequence

    from shardserve.http.service import Service
    from shardserve.worker.place import Place


_OPENED = 0.1  # seconds by which what has been accepted is among the service's connections
HANDSHAKE = 0.5  # seconds a handshake that is under way at the end has to complete: the round trip of a far client


class Listening:
    """All of it. `handover` is None where a worker never has siblings."""

    def __init__(self, service: Service, place: Place, backlog: int) -> None:
        """`backlog` is the most connections that one listener's queue holds."""
        self._service = service
        self._place = place
        self._most = backlog + 1
        self._opening = Opening(service)
        self.handover: Handover | None = None
        if (siblings := place.siblings) is not None:
            self.handover = Handover(service, self._opening, place.shard, siblings.loads, siblings.writing)
        self._own = [self._acceptor(listener) for listener in place.listeners]
        self._adopted: dict[int, list[Acceptor]] = {}  # of shards that have no worker now
        self._inherited: list[Acceptor] = []  # of addresses that are given up
        self._started = self._over = False

    def start(self) -> None:
        """Take connections from now on."""
        self._started = True
        for acceptor in self._own:
            acceptor.start()
        if self.handover is not None and self._place.siblings is not None:
            self.handover.read(self._place.shard, self._place.siblings.reading)

    def add(self, listeners: Sequence[Listener]) -> None:
        """There are more listeners of our own: the service has come to listen on more addresses."""
        if self._over:  # the replacement has them
            for listener in listeners:
                listener.socket.close()
            return
        for listener in listeners:
            if listener.sharded and self._place.siblings is not None and self._place.siblings.table is not None:
                self._place.siblings.table.add(listener.socket)
            acceptor = self._acceptor(listener)
            self._own.append(acceptor)
            if self._started:
                acceptor.start()

    def part(self, inodes: Container[int]) -> None:
        """The service gives addresses up: close our listeners of these inodes, of which a sibling takes care."""
        for acceptor in [one for one in self._own if one.fileno() >= 0 and os.fstat(one.fileno()).st_ino in inodes]:
            self._own.remove(acceptor)
            acceptor.stop()
            acceptor.close()
        self._service.loop.call_later(_OPENED, self._open_doors)

    def adopt(self, shard: int, sockets: Sequence[socket.socket]) -> None:
        """Stand in for a shard that has no worker now: `sockets` are its inbox and its listeners."""
        if self._over or self.handover is None:
            for sock in sockets:
                sock.close()  # the supervisor finds another
            return
        self.release(shard)
        inbox, *listeners = sockets
        self.handover.read(shard, inbox)
        self._adopted[shard] = adopted = [self._acceptor(Listener(sock, sharded=True), own=False) for sock in listeners]
        for acceptor in adopted:
            acceptor.start()

    def release(self, shard: int) -> None:
        """The shard has a worker of its own again; what was accepted for it stays here."""
        if self.handover is not None:
            self.handover.stop_reading(shard)
        for acceptor in self._adopted.pop(shard, ()):
            acceptor.stop()
            acceptor.close()

    def inherit(self, sockets: Sequence[socket.socket]) -> None:
        """Answer what waits on listeners that the service gives up, let nobody else in, and close them."""
        for sock in sockets:
            acceptor = self._acceptor(Listener(sock, sharded=True), own=False)
            acceptor.shut()
            acceptor.start()
            self._inherited.append(acceptor)
        self._service.loop.call_later(HANDSHAKE, self._close_inherited)

    def _close_inherited(self) -> None:
        for acceptor in self._inherited:
            acceptor.stop()
            acceptor.empty(self._most)
            acceptor.close()
        self._inherited.clear()

    def meet(self, shard: int, writing: socket.socket) -> None:
        """There is one shard more, with this end of its inbox to put into."""
        if self.handover is None:
            writing.close()
        else:
            self.handover.writing[shard] = writing

    def sharded(self) -> dict[int, Acceptor]:
        """Whoever accepts from a listener that no other worker accepts from, by its descriptor."""
        return {acceptor.fileno(): acceptor for acceptor in self._acceptors() if acceptor.sharded}

    def aim(self) -> None:
        """Steer by what the loads say now."""
        siblings = self._place.siblings
        if siblings is not None and siblings.table is not None:
            siblings.table.aim()

    def keeps(self) -> bool:
        """Whether connections keep anything that `send_kept` can have sent."""
        return self._service.poller is not None

    def send_kept(self) -> None:
        """Have sent what connections keep for the end of the loop's turn. For the deputy: the loop is busy."""
        if self._service.poller is not None:
            self._service.poller.send_written()

    def send_at_once(self) -> None:
        """Have connections keep nothing for the end of the turn: it may be long, and nobody sees to it meanwhile."""
        if self._service.poller is not None:
            self._service.poller.patient = False

    # The end

    def shut(self) -> bool:
        """The service ends: let nobody in any more; returns whether handshakes under way need a moment to complete."""
        shut = [acceptor.shut() for acceptor in self._acceptors()]
        if any(shut):
            self._open_doors()
        return any(shut)

    def _open_doors(self) -> None:
        """One of the connections may have come in through a door that a sibling has shut."""
        for connection in self._service.connections:
            open_door(connection.fileno())

    async def end(self, *, replaced: bool) -> None:
        """Take no more connections; if not `replaced`, all that have come so far. Then every one is the service's."""
        self._over = True
        adopted = [one for adopted in self._adopted.values() for one in adopted]
        self._adopted.clear()
        for acceptor in (*self._own, *adopted):
            acceptor.stop()
            if not replaced:
                acceptor.empty(self._most)
            # If not replaced, this is the real end of the listener: the kernel refuses from here on. Else others hold
            # it, and a copy kept here would keep a socket open that nobody accepts from, should the service end now.
            acceptor.close()
        if self._inherited and replaced:  # nobody else has these: as long as they would have been served
            await asyncio.sleep(HANDSHAKE)
        self._close_inherited()
        if self.handover is not None:
            if replaced:
                self.handover.close()  # the replacement reads it
            else:
                self.handover.empty()
        await self._opening.done()

    def close(self) -> None:
        """The worker ends, and nothing is open any more."""
        self._opening.close()

    async def take_late(self) -> bool:
        """Whether something was still in the inbox, for which there was no descriptor before; takes it."""
        if self.handover is not None:
            self.handover.empty()
        await self._opening.done()
        return bool(self._service.connections)

    def let_go(self, null: int) -> None:
        """Part with all listeners, from a signal handler; what waited on them is answered here.

        `null` is a descriptor of /dev/null.
        """
        for acceptor in self._acceptors():
            acceptor.let_go(null)

    def descriptors(self) -> Iterator[int]:
        """What a process that is forked from this one must not keep: listeners, inboxes, clients."""
        yield from (acceptor.fileno() for acceptor in self._acceptors())
        yield from self._opening.descriptors()
        yield from (connection.fileno() for connection in self._service.connections)
        if self.handover is not None:
            yield from self.handover.descriptors()

    def _acceptors(self) -> list[Acceptor]:
        return [*self._own, *(one for adopted in self._adopted.values() for one in adopted), *self._inherited]

    def _acceptor(self, listener: Listener, *, own: bool = True) -> Acceptor:
        siblings = self._place.siblings
        gate = accepted = None
        if siblings is not None:
            gate = partial(siblings.loads.is_above_least, self._place.shard)
            accepted = siblings.table.aim if siblings.table is not None else None
        return Acceptor(
            self._service,
            self._opening,
            listener,
            H1Connection,
            own=own,
            handover=self.handover,
            gate=gate,
            accepted=accepted,
        )

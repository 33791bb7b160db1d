"""All of a worker's connections behind one epoll(7) descriptor, and the end of a turn of the loop for all of them.

The loop waits for that one descriptor and calls once a turn, however many connections are ready. What is written during
a turn leaves together at its end (docs/decisions/0018-transport.md).
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from shardserve.native import control, poll_ready

if TYPE_CHECKING:
    import asyncio
    from contextvars import Context

    from shardserve.net.transport import SocketTransport

_ADD, _DELETE, _MODIFY = 1, 2, 3  # EPOLL_CTL_ADD ...
_DESCRIPTOR = 14  # the bit of an event (see poll_ready) from which on it is the descriptor
_TOGETHER = 32  # connections whose answers leave together: the first of them waits for the last


class Poller:
    """Tells transports when their sockets are ready, and has what they were given sent. One per worker.

    `patient`: what is written may wait for the end of the loop's turn, to leave with what others write.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        """`context` is what connections are called in. Raises OSError where no descriptor is free."""
        self.loop = loop
        self.context = context
        self.patient = True
        self._watched: list[SocketTransport | None] = []  # by descriptor
        self._new: list[SocketTransport] = []
        self._written: list[SocketTransport] = []
        self._lost: list[SocketTransport] = []
        self._gathers = False
        self._left: list[int] = []  # events of a turn that others had to have their turn in
        self._resting = False
        self._ends = False  # the turn, by a call of ours that is under way or to come
        self._epoll = select.epoll()
        context.copy().run(loop.add_reader, self._epoll.fileno(), self._look)

    def fileno(self) -> int:
        """The descriptor that the loop waits for."""
        return self._epoll.fileno()

    def watch(self, transport: SocketTransport, before: int, events: int) -> None:
        """Tell a transport of these events of its socket, and no longer of those `before`. Raises OSError.

        Each is told once, also where it is the case already, until it happens again (epoll(7), edge-triggered).
        """
        descriptor = transport.descriptor
        watched = self._watched
        if not before:
            if descriptor >= len(watched):
                watched.extend([None] * (descriptor + 1 - len(watched)))
            control(self._epoll, _ADD, descriptor, events)
            watched[descriptor] = transport
        elif events:
            control(self._epoll, _MODIFY, descriptor, events)
        else:
            # Closing would not do: it is the socket that is watched, and another process may hold a copy.
            watched[descriptor] = None
            try:  # not by `suppress`: that takes longer than all else here
                control(self._epoll, _DELETE, descriptor, 0)
            except OSError:
                pass

    def begin(self, transport: SocketTransport) -> None:
        """A transport is new: its request may be here already, or come within this turn of the loop.

        One that is answered and closed before it is watched is never watched, which saves two system calls and a look.
        """
        if not self._new and not self._gathers:
            self.loop.call_soon(self.look_at_new, context=self.context)
        self._new.append(transport)

    def gather(self) -> None:
        """Several new ones are about to come: `look_at_new` will be called behind them."""
        self._gathers = True

    def look_at_new(self) -> None:
        """See whether the requests of those that are new are here."""
        self._gathers = False
        new, self._new = self._new, []
        if not new:
            return
        busy = []
        self._ends = True
        try:
            for transport in new:
                if self._resting or not transport.look():
                    transport.watch()
                else:
                    busy.append(transport)
        finally:
            self._end_turn()
            if busy:  # behind the tasks that have come of it
                self.loop.call_soon(self._watch_new, busy, context=self.context)

    def _watch_new(self, new: list[SocketTransport]) -> None:
        for transport in new:
            transport.watch()

    def _look(self) -> None:
        if not self._resting:
            self._see_to_ready()

    def _see_to_ready(self) -> None:
        """See to every connection that is ready, or to some of them (`rest`), then end the turn."""
        watched = self._watched
        events, self._left = self._left or poll_ready(self._epoll), []
        seen = 0
        self._ends = True
        try:
            for event in events:
                seen += 1
                transport = watched[event >> _DESCRIPTOR]
                if transport is not None:  # else it has been closed in this turn
                    transport.ready(event)
                    if self._resting:
                        break
        finally:
            if seen < len(events):
                self._left = events[seen:]
            self._end_turn()

    def rest(self) -> None:
        """Read from no further connection until `go_on`: the loop is to turn first.

        So what is read is also executed at once. A connection that waits unread can be given to another worker, costs
        little, and what is made of its request is still in the processor's caches when the application gets it.
        """
        self._resting = True

    def go_on(self) -> None:
        """See to the connections that were left."""
        self._resting = False
        if self._left:
            self._see_to_ready()

    def _end_turn(self) -> None:
        """Have sent what has been written in this turn, and tell the connections that are lost: none of them calls."""
        self._ends = False
        self.send_written()
        lost, self._lost = self._lost, []
        for transport in lost:
            transport.end()

    def wrote(self, transport: SocketTransport) -> None:
        """A transport has something to send at the end of the turn."""
        self._written.append(transport)
        if len(self._written) >= _TOGETHER:
            self.send_written()
        else:
            self._see_to_end()

    def lost(self, transport: SocketTransport) -> None:
        """A transport has come to its end, of which its connection is to be told."""
        self._lost.append(transport)
        self._see_to_end()

    def _see_to_end(self) -> None:
        if not self._ends:
            self._ends = True
            self.loop.call_soon(self._end_turn, context=self.context)

    def send_written(self) -> None:
        """Have what has been written since the last time sent."""
        written, self._written = self._written, []
        for transport in written:
            transport.send()

    def close(self) -> None:
        """No connection is left."""
        self.loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

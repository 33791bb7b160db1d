"""Accepting: from a listener's readiness to a connection, with the worker in control of when.

We accept ourselves instead of leaving it to `create_server`: pausing, emptying the queue before leaving and adopting a
sibling's queue need to know when the queue is empty, and create_server would call listen() again with a backlog of its
own (docs/decisions/0002-accept.md).
"""

from __future__ import annotations

import errno
import math
from typing import TYPE_CHECKING

from shardserve.logs import log
from shardserve.native import accept, close_socket
from shardserve.net.board import Word
from shardserve.net.closing import blank, open_door, shut_door

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from shardserve.http.exchange import Give
    from shardserve.http.service import Service
    from shardserve.native import Name
    from shardserve.net.listener import Listener
    from shardserve.worker.handover import Handover
    from shardserve.worker.opening import Make, Opening

_BATCH = 16  # connections taken in one turn of the loop from a listener of our own
_SHARED_BATCH = 1  # from a shared one: siblings that wake with us get theirs
_HOLD_BACK = 0.002  # seconds for which a shared listener is left to workers with fewer connections
_PAUSE = 0.25  # seconds without accepting when the process or the machine has no descriptor left
_LOOK_AROUND = 0.25  # seconds until a full worker looks again whether a sibling has room
_SAY_AGAIN = 60.0  # seconds between two lines that say that there is no room
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Acceptor:
    """Accepts from one listener onto one loop. `make_connection` makes the protocol of a connection.

    `gate` says whether it is others that should accept from a shared listener now; `accepted` is called after a batch.
    `own`: the listener is of the worker's own shard, not of one that it stands in for. `handover` leads to siblings:
    what finds this worker full goes to one that has room.
    """

    def __init__(
        self,
        service: Service,
        opening: Opening,
        listener: Listener,
        make_connection: Make,
        *,
        own: bool = True,
        handover: Handover | None = None,
        gate: Callable[[], bool] | None = None,
        accepted: Callable[[], None] | None = None,
    ) -> None:
        self._service = service
        self._opening = opening
        self._socket = listener.socket
        self._batch = _BATCH if listener.sharded else _SHARED_BATCH
        self._gate = None if listener.sharded else gate
        self._handover = handover if listener.sharded else None  # from a shared one siblings accept themselves
        self._accepted = accepted
        self._make_connection = make_connection
        self._resume: asyncio.TimerHandle | None = None
        self._accepting = False
        self._held_back = False
        self._waits = False  # for room
        self._say_full_after = 0.0
        self._gone = False  # the listener has been let go
        self._shut = False  # it lets nobody in any more
        self.sharded = listener.sharded
        self._own = own and listener.sharded

    def start(self) -> None:
        """Accept whenever a connection waits."""
        if not self._accepting:
            self.stop()
            self._accepting = True
            # What is read at once is read here: not in the context of whoever starts us.
            self._service.context.copy().run(self._service.loop.add_reader, self._socket.fileno(), self._on_readable)

    def stop(self) -> None:
        """Accept no more; what waits in the queue stays there."""
        self._waits = False
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._accepting:
            self._accepting = False
            self._service.loop.remove_reader(self._socket.fileno())

    def shut(self) -> bool:
        """Let nobody in any more, if the listener is our own (another's may be served again); returns whether it works.

        Goes on accepting: handshakes that are under way may complete for a moment.
        """
        self._shut = self.sharded and shut_door(self._socket)
        return self._shut

    def empty(self, most: int) -> None:
        """Accept what waits in the queue now, at most `most` connections. For use after `stop`."""
        self._take(most)

    def let_go(self, null: int) -> None:
        """Take what waits and part with the listener now, from a signal handler: the loop may be busy for long.

        `null` is a descriptor of /dev/null; what was taken is opened when the loop runs again.
        """
        if self._gone or self._socket.fileno() < 0:
            return
        self._gone = True
        taken = list(self._waiting())
        blank(self._socket.fileno(), null)
        for descriptor, peer_name in taken:
            self._service.loop.call_soon_threadsafe(self._open, descriptor, peer_name)

    def close(self) -> None:
        """Close this process's copy of the listener. For use after `stop`."""
        self._socket.close()

    def _on_readable(self) -> None:
        if self._gate is not None and not self._held_back and self._gate():
            # Not for longer than this: what others should take may also be more than they can.
            self.stop()
            self._held_back = True
            self._resume = self._service.loop.call_later(_HOLD_BACK, self.start)
            return
        self._held_back = False
        poller = self._service.poller
        if poller is None:
            self._take(self._batch)
        else:
            poller.gather()
            try:
                self._take(self._batch)
            finally:
                poller.look_at_new()
        if self._accepted is not None:
            self._accepted()

    def fileno(self) -> int:
        """The listener's descriptor; -1 once closed."""
        return self._socket.fileno()

    def pass_on(self, give: Give) -> bool:
        """Accept one connection and have it served elsewhere. For the deputy: the loop is busy.

        One that `give` cannot pass on after all is opened here. False if none waited.
        """
        if not self._accepting or self._gone:
            return False
        try:
            accepted = accept(self._socket)
        except OSError:
            return False
        if accepted is None:
            return False
        self._count_given()
        if give(accepted[0], b"", math.inf, False):
            close_socket(accepted[0])
        else:
            self._service.loop.call_soon_threadsafe(self._open_given, *accepted)
        return True

    def _open_given(self, descriptor: int, peer_name: Name) -> None:
        """One that was not passed on after all; it has been counted."""
        self._opening.open(descriptor, self._make_connection, peer_name, False)

    def _count_given(self) -> None:
        """Write down that a connection has been accepted that another worker serves."""
        self._service.board[Word.ACCEPTED] += 1
        if self._own:
            self._service.count_taken()

    def _waiting(self) -> Iterator[tuple[int, Name]]:
        """What waits in the queue, as far as there are descriptors for it."""
        while True:
            try:
                accepted = accept(self._socket)
            except ConnectionAbortedError:
                continue
            except OSError:
                return
            if accepted is None:
                return
            yield accepted

    def _take(self, most: int) -> None:
        if self._gone:
            return
        for _ in range(most):
            target = None
            if self._accepting and self._service.is_full():
                target = self._room_elsewhere()
                if target is None:
                    self._wait_for_room()
                    return
            try:
                accepted = accept(self._socket)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return
                continue  # the client gave up while it waited (accept(2): ECONNABORTED and network errors)
            if accepted is None:
                return
            descriptor, peer_name = accepted
            if target is None or not self._give(target, descriptor):
                self._open(descriptor, peer_name)

    def _open(self, descriptor: int, peer_name: Name) -> None:
        if self._shut:
            open_door(descriptor)
        self._opening.open(descriptor, self._make_connection, peer_name, self._own)

    def _room_elsewhere(self) -> int | None:
        """A shard that may have one more connection, where this worker may not; none at the end of the service."""
        if self._handover is None or self._shut:
            return None
        return self._handover.room(self._service.most_connections)

    def _give(self, target: int, descriptor: int) -> bool:
        """Have an accepted connection served by another shard."""
        assert self._handover is not None  # it named the shard
        if not self._handover.send(target, descriptor):
            return False
        close_socket(descriptor)
        self._count_given()
        return True

    def _wait_for_room(self) -> None:
        """Every worker has all the connections it may have: what comes waits in the queue until one of them closes."""
        service = self._service
        if service.now >= self._say_full_after:
            self._say_full_after = service.now + _SAY_AGAIN
            log.warning("accepting pauses: there are %d connections (--worker-connections)", service.most_connections)
        self.stop()
        self._waits = True
        if self._go_on not in service.when_room:
            service.when_room.append(self._go_on)
        if self._handover is not None:
            self._resume = service.loop.call_later(_LOOK_AROUND, self.start)

    def _go_on(self) -> None:
        if self._waits:
            self.start()

    def _pause(self, error: OSError) -> None:
        """Give open connections time to close: accepting again at once would only spin."""
        if self._accepting:
            log.warning("accepting pauses: %s; raise the open-file limit or lower the load", error.strerror)
            self.stop()
            self._resume = self._service.loop.call_later(_PAUSE, self.start)

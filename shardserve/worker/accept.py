"""Accepting: from a listener's readiness to a connection, with the worker in control of when.

We accept ourselves instead of leaving it to `create_server`: pausing, emptying the queue before leaving and adopting a
sibling's queue need to know when the queue is empty, and create_server would call listen() again with a backlog of its
own (docs/decisions/0002-accept.md).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from shardserve.logs import log
from shardserve.net.closing import blank, open_door, shut_door

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Iterator

    from shardserve.http.service import Service
    from shardserve.net.listener import Listener

_BATCH = 16  # connections taken in one turn of the loop from a listener of our own
_SHARED_BATCH = 1  # from a shared one: siblings that wake with us get theirs
_PAUSE = 0.25  # seconds without accepting when the process or the machine has no descriptor left
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Acceptor:
    """Accepts from one listener onto one loop. `make_connection` makes the protocol of a connection."""

    def __init__(
        self,
        service: Service,
        listener: Listener,
        make_connection: Callable[[Service], asyncio.BaseProtocol],
        opening: dict[asyncio.Task[object], socket.socket],
    ) -> None:
        """`opening` gets what was accepted and is not yet known to the service."""
        self._service = service
        self._socket = listener.socket
        self._batch = _BATCH if listener.sharded else _SHARED_BATCH
        self._make_connection = make_connection
        self._opening = opening
        self._resume: asyncio.TimerHandle | None = None
        self._accepting = False
        self._gone = False  # the listener has been let go
        self._shut = False  # it lets nobody in any more
        self._sharded = listener.sharded

    def start(self) -> None:
        """Accept whenever a connection waits."""
        if not self._accepting:
            self._accepting = True
            self._service.loop.add_reader(self._socket.fileno(), self._take, self._batch)

    def stop(self) -> None:
        """Accept no more; what waits in the queue stays there."""
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
        self._shut = self._sharded and shut_door(self._socket)
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
        for sock in taken:
            self._service.loop.call_soon_threadsafe(self._open, sock)

    def close(self) -> None:
        """Close this process's copy of the listener. For use after `stop`."""
        self._socket.close()

    def fileno(self) -> int:
        """The listener's descriptor; -1 once closed."""
        return self._socket.fileno()

    def _waiting(self) -> Iterator[socket.socket]:
        """What waits in the queue, as far as there are descriptors for it."""
        while True:
            try:
                yield self._socket.accept()[0]
            except ConnectionAbortedError:
                continue
            except OSError:
                return

    def _take(self, most: int) -> None:
        if self._gone:
            return
        for _ in range(most):
            try:
                accepted, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return
                continue  # the client gave up while it waited (accept(2): ECONNABORTED and network errors)
            self._open(accepted)

    def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        if self._shut:
            open_door(accepted)
        service = self._service
        task: asyncio.Task[object] = service.loop.create_task(
            service.loop.connect_accepted_socket(lambda: self._make_connection(service), accepted)
        )
        self._opening[task] = accepted
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[object]) -> None:
        del self._opening[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("a connection was lost while it was taken up: %s", error)

    def _pause(self, error: OSError) -> None:
        """Give open connections time to close: accepting again at once would only spin."""
        if self._accepting:
            log.warning("accepting pauses: %s; raise the open-file limit or lower the load", error.strerror)
            self.stop()
            self._resume = self._service.loop.call_later(_PAUSE, self.start)

"""A request body that a thread reads while it comes: the loop's thread puts octets in, the call's takes them out.

docs/decisions/0017-streamed-request-bodies.md
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

from shardserve.errors import ClientDisconnected
from shardserve.gateway.spool import Body
from shardserve.http.exchange import HELD_MAX
from shardserve.net.blackbox import SIGN_EVERY

if TYPE_CHECKING:
    from collections.abc import Callable

_RESUMED_AT = HELD_MAX // 2  # octets that are left when it is read on
_BUFFER = 65536  # octets that the application's end reads at once


class StreamedBody(Body):
    """One body.

    `put`, `end` and `close` are for the loop's thread (`close` for any), `file` and what it returns for the call's.
    """

    __slots__ = ("_alive", "_asked", "_changed", "_closed", "_data", "_ended", "_held", "_more")

    def __init__(
        self, size: int | None, *, invited: bool, more: Callable[[], None], alive: Callable[[], object]
    ) -> None:
        """`size` is what was declared, if it was.

        `more` is called, on the reading thread, when a client that is held, or waits for 100 (Continue), is to send.
        The latter is one that is not `invited`. `alive` is called when the thread gets something and, every
        SIGN_EVERY, while it waits.
        """
        self.size = -1 if size is None else size
        self._changed = threading.Condition(threading.Lock())
        self._data = bytearray()
        self._ended = False
        self._closed = False
        self._held = False
        self._asked = invited
        self._more: Callable[[], None] | None = more
        self._alive = alive

    # On the loop

    def put(self, data: bytes) -> bool:
        """Append octets; whether the client is to be held until `more` asks for it."""
        with self._changed:
            if self._closed:
                return False
            self._data += data
            self._held = self._held or len(self._data) > HELD_MAX
            self._changed.notify()
            return self._held

    def end(self) -> None:
        """The body is complete."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """See Body.close. Nothing can be read from now on: forget what has come, and have every read fail."""
        with self._changed:
            self._closed = True
            self._more = None  # which knows whoever knows us
            self._data = bytearray()
            self._changed.notify_all()

    # On a thread that reads

    def file(self) -> io.BufferedReader:
        """See Body.file: it blocks until there is something to give.

        Its methods raise ClientDisconnected where the rest of the body will not come.
        """
        return io.BufferedReader(_Raw(self), _BUFFER)

    def read_into(self, target: memoryview) -> int:
        """Wait until there are octets and take what there is, as far as it fits; 0 at the end.

        Raises ClientDisconnected once there will be no end.
        """
        with self._changed:
            while not self._data and not self._closed and not self._ended:
                self._ask(not self._asked)
                self._changed.wait(SIGN_EVERY)
                self._alive()
            if self._closed:
                raise ClientDisconnected("the rest of the request body will not come")
            count = min(len(target), len(self._data))
            with memoryview(self._data) as held:
                target[:count] = held[:count]
            del self._data[:count]
            self._alive()
            self._ask(self._held and len(self._data) <= _RESUMED_AT)
            return count

    def _ask(self, wanted: bool) -> None:
        """Have the client send, or send on, if that has to be said."""
        if wanted and self._more is not None:
            self._asked = True
            self._held = False
            self._more()


class _Raw(io.RawIOBase):
    """The body as the standard library wants what it is to buffer."""

    def __init__(self, body: StreamedBody) -> None:
        self._body = body

    def readable(self) -> bool:
        """See IOBase.readable."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed: any writable buffer
        """See RawIOBase.readinto."""
        with memoryview(buffer).cast("B") as target:
            return self._body.read_into(target)

"""Files on their way to a client: sendfile(2) where the socket is bare, else blocks that are read beside the loop.

Whoever has a file sent frames it (h1_writing.py). Here octets move, behind what the transport has buffered already.
"""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.http.connection import Connection

_BLOCK_MAX = 65536  # octets that are read at once where sendfile cannot be used
_TURN_MAX = 1 << 20  # octets that one sendfile moves, then other connections get their turn


class FilePart:
    """Octets of an open file, by a descriptor of its own that `close` gives back.

    `count` is how many the application asked for; None: as many as the response has room for, at most to the file's
    end. `offset` is where they begin, None for a file that has no places (a pipe): it is read as it comes.
    """

    __slots__ = ("count", "descriptor", "offset", "regular")

    def __init__(self, descriptor: int, offset: int | None = None, count: int | None = None) -> None:
        """Duplicates `descriptor`; without `offset` the part begins at its position. Raises OSError, ValueError."""
        if (offset is not None and offset < 0) or (count is not None and count < 0):
            raise ValueError("offset and count of a file cannot be negative")
        self.descriptor = os.dup(descriptor)
        try:
            self.regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if self.regular and offset is None:
                offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        except OSError:
            self.close()
            raise
        self.offset = offset if self.regular else None
        self.count = count

    @classmethod
    def open(cls, path: str) -> FilePart:
        """The whole of a regular file. Raises OSError, ValueError for anything but a regular file."""
        # Not blocking: to open a pipe would wait for somebody at its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            part = cls(descriptor)
        finally:
            os.close(descriptor)
        if not part.regular:
            part.close()
            raise ValueError(f"{path!r} is not a regular file")
        return part

    def size(self) -> int | None:
        """How many octets there are to send now; None where only its end will tell."""
        if self.offset is None:
            return self.count
        rest = max(0, os.fstat(self.descriptor).st_size - self.offset)
        return rest if self.count is None else min(rest, self.count)

    def close(self) -> None:
        """Give the descriptor back; once."""
        os.close(self.descriptor)


class FileTransfer:
    """One part on its way.

    `sent` counts the octets that went past the transport, `waiting` those that only the client's slowness keeps here.
    """

    __slots__ = (
        "_connection",
        "_deliver",
        "_done",
        "_drained",
        "_left",
        "_loop",
        "_offset",
        "_part",
        "_started",
        "_task",
        "sent",
        "waiting",
    )

    def __init__(
        self,
        connection: Connection,
        part: FilePart,
        most: int | None,
        deliver: Callable[[bytes], None] | None,
        done: Callable[[OSError | None], None],
    ) -> None:
        """Begin to send `part`, at most `most` octets (None: to its end), and close it in any case.

        Without `deliver` the octets go to the connection's socket, else they are read and given to it block by block.
        `done` is called at the end, with what went wrong with the file, if anything did; not after `stop`. The
        connection tells by `drained` when its transport has become empty; its high-water mark is to be 0.
        """
        self._connection = connection
        self._loop = connection.service.loop
        self._part = part
        self._offset = part.offset
        self._left = most
        self._deliver = deliver
        self._done = done
        self._drained: asyncio.Future[None] | None = None
        self._started = False
        self.sent = 0
        self.waiting = 0
        # In a context of the server's: here the application's is current.
        context = connection.service.context.copy()
        self._task = context.run(self._loop.create_task, self._run())

    def drained(self) -> None:
        """The transport's buffer is empty."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def stop(self) -> None:
        """Send no more."""
        self._task.cancel()
        if not self._started:  # and never will: what a coroutine does in the end, it does only once it has begun
            self._part.close()

    async def _run(self) -> None:
        self._started = True
        fault = None
        descriptor = self._part.descriptor
        try:
            await asyncio.sleep(0)  # a loop may write only at the end of its turn what the transport was given
            await self._drain()
            if self._connection.transport.is_closing():
                return  # connection_lost comes
            if self._deliver is None:
                await self._send()
            else:
                await self._read(self._deliver, descriptor)
        except ConnectionError:
            self._connection.transport.abort()  # the client is gone: connection_lost comes
            return
        except OSError as error:
            fault = error
        finally:
            self.waiting = 0
            self._part.close()
        self._done(fault)

    async def _drain(self) -> None:
        """Wait until nothing is left in the transport's buffer."""
        while self._connection.transport.get_write_buffer_size():
            self._drained = self._loop.create_future()
            await self._drained

    async def _send(self) -> None:
        """By sendfile(2), on a copy of the socket's descriptor: a loop lets nobody wait for its transports' own."""
        assert self._offset is not None  # the file is regular
        assert self._left is not None
        socket = os.dup(self._connection.fileno())
        try:
            while self._left:
                try:
                    moved = os.sendfile(socket, self._part.descriptor, self._offset, min(self._left, _TURN_MAX))
                except BlockingIOError:
                    self.waiting = self._left
                    self._connection.watch_writing()
                    await self._ready(socket, self._loop.add_writer, self._loop.remove_writer)
                    self.waiting = 0
                    continue
                if not moved:
                    return  # the file has become shorter
                self.sent += moved
                self._offset += moved
                self._left -= moved
                await asyncio.sleep(0)
        finally:
            os.close(socket)

    async def _read(self, deliver: Callable[[bytes], None], descriptor: int) -> None:
        """By blocks, each when the one before it has left."""
        while self._left is None or self._left:
            block = await self._next_block(descriptor)
            if not block:
                return
            if self._offset is not None:
                self._offset += len(block)
            if self._left is not None:
                self._left -= len(block)
            deliver(block)
            await self._drain()

    async def _next_block(self, descriptor: int) -> bytes:
        size = _BLOCK_MAX if self._left is None else min(_BLOCK_MAX, self._left)
        if self._offset is not None:
            return await self._beside_the_loop(_pread, size, self._offset)
        try:
            await self._ready(descriptor, self._loop.add_reader, self._loop.remove_reader)
        except PermissionError:  # a device that cannot be waited for (epoll_ctl(2)) has always something to say
            return await self._beside_the_loop(_read, size)
        return os.read(descriptor, size)  # a thread could be stuck in it until the process ends

    async def _beside_the_loop(self, read: Callable[..., bytes], *args: int) -> bytes:
        # The thread has a copy of its own, and is left alone: it may read on after the transfer has been stopped.
        return await asyncio.shield(self._loop.run_in_executor(None, read, os.dup(self._part.descriptor), *args))

    async def _ready(self, descriptor: int, add: Callable[..., object], remove: Callable[[int], object]) -> None:
        """Wait until a descriptor can be written to, or read from."""
        ready = self._loop.create_future()
        add(descriptor, _wake, ready)
        try:
            await ready
        finally:
            remove(descriptor)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _pread(descriptor: int, size: int, offset: int) -> bytes:
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int) -> bytes:
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)

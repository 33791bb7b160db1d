"""One accepted connection, whatever it speaks: transport, peer, back-pressure, deadline, and closing without loss.

Subclasses speak a version of HTTP. Who closes: `close` when both sides are done, `linger` when the client may still be
sending (so that a reset does not eat the answer), `cut` when time is up.
"""

from __future__ import annotations

import math
import select
from typing import TYPE_CHECKING

from shardserve.http.exchange import Wire
from shardserve.net.closing import end_stream
from shardserve.net.transport import SocketTransport

if TYPE_CHECKING:
    import asyncio

    from shardserve.http.exchange import Give
    from shardserve.http.service import Service

NEVER = math.inf


class Connection(Wire):
    """The transport's protocol, by the methods of asyncio.Protocol (not by inheriting: it is compiled).

    `deadline` is a time of the service's clock at which `expire` is called, or NEVER. `answer_by` is when the response
    under way must be complete, else `expire_answer` is called (--request-timeout).
    `ours` is the transport where it is one of ours: compiled, its methods are then called without a look-up.
    `copied`: another process may hold a copy of the socket: a worker that gave it to us, or a child of one.
    """

    __slots__ = (
        "_put_off",
        "_reading",
        "_waiting_octets",
        "_waiting_since",
        "answer_by",
        "client",
        "copied",
        "deadline",
        "lingering",
        "moved",
        "ours",
        "paused",
        "scheme",
        "server",
        "service",
        "transport",
    )

    def set_up(self, service: Service) -> None:
        """Be a new one. Not __init__: compiled, each class's is a call of Python's, of its base's."""
        self.service = service
        self.scheme = "http"
        self.paused: asyncio.Future[None] | None = None
        self.lingering = False
        self.moved = False
        self.copied = False
        self.calls = 0
        self.memo: object = None
        self.answer_by = NEVER
        self._reading = True
        self._put_off = NEVER  # a deadline
        # Of the octets that wait for the client: how many at the last look, and since when not one has left.
        self._waiting_octets = 0
        self._waiting_since = 0.0

    # Called by the loop

    def connection_made(self, transport: SocketTransport | asyncio.Transport) -> None:
        """Take a new connection."""
        self.transport = transport
        self.ours = ours = transport if isinstance(transport, SocketTransport) else None
        if ours is not None:
            peer_name, name = ours.get_extra_info("peername"), ours.get_extra_info("sockname")
        else:
            peer_name, name = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.client = _host_port(peer_name)
        self.server = _host_port(name) or _path(name)
        if self.client is None and isinstance(name, tuple):
            # It has reset already. Without an address it would be taken for a peer on a unix socket, who is trusted.
            self.transport.abort()
        service = self.service
        timeouts = service.timeouts  # without keep-alive there is still a first request to wait for
        self.deadline = service.now + (timeouts.keep_alive or timeouts.header or 10.0)
        service.opened(self)
        if service.draining:
            self.drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self.deadline = NEVER
        self.resume_writing()
        self.service.closed(self)

    def pause_writing(self) -> None:
        """The client does not keep up (the transport's buffer passed its high-water mark)."""
        if self.paused is None:
            self.paused = self.service.loop.create_future()
            self.watch_writing()

    def resume_writing(self) -> None:
        """The client has caught up, or is gone."""
        paused, self.paused = self.paused, None
        if paused is not None and not paused.done():
            paused.set_result(None)

    # Called by exchanges and subclasses

    def hold(self) -> None:
        """See Wire.hold."""
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def release(self) -> None:
        """See Wire.release."""
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            # asyncio's loop reads on in the context of this call, which may be an application's.
            self.service.context.copy().run(self.transport.resume_reading)

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""
        if self.ours is not None:
            return self.ours.fileno()
        sock = self.transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    def close(self) -> None:
        """Send what is buffered, then close."""
        if self._is_copied() and not self.lingering:
            if self.transport.get_write_buffer_size() and self.transport.can_write_eof():
                self.linger()  # its end has to wait for what is buffered
                return
            end_stream(self.fileno())
        if self.ours is not None:
            self.ours.close()
        else:
            self.transport.close()
        self.watch_writing()

    def linger(self) -> None:
        """End our side, then read and throw away for a moment: data that nobody read would turn the close into a reset.

        RFC 9112 section 9.6.
        """
        if self.lingering or self.transport.is_closing():
            return
        if not self.transport.can_write_eof():
            self.close()
            return
        self.lingering = True
        try:
            self.transport.write_eof()
        except OSError:  # asyncio's: the client has reset, which nobody has seen yet
            self.transport.abort()
            return
        self.watch_writing()
        self.deadline = self.service.now + self.service.timeouts.close_linger
        self.release()

    def part(self, give: Give, octets: bytes) -> bool:
        """Let another worker serve the connection, if `give` can pass it on with what was read; it then ends here.

        Not while octets wait for the client, or once either side is about to close.
        """
        transport = self.transport
        if self.lingering or transport.is_closing() or transport.get_write_buffer_size():
            return False
        if not give(self.fileno(), octets, self.answer_by, self.copied):
            return False
        # What has come since is the other's to read. This closes our copy of the descriptor, which ends nothing.
        transport.abort()
        return True

    # Called by the service

    def expire(self) -> None:
        """The deadline has passed."""
        if self._waits_for_client():
            if self._has_stalled():
                self.cut()
            else:
                self.deadline = self.service.now + 1.0
        elif self.lingering or self.transport.is_closing():
            self.transport.abort()  # its stream has been ended
        elif not self._catches_up():
            self.deadline = NEVER
            self.expire_reading()

    def _catches_up(self) -> bool:
        """Whether something that the client sent in time, and that had not been read yet, gives it more time.

        Calls of the application on the loop's thread may have lasted beyond the deadline, with this connection unread
        behind them: to close now would lose a request, by a reset.
        """
        if not self._reading:
            return False
        if self.ours is None:
            # Only the loop can read it, which it will have done by the next tick: a deadline is put off by that, once.
            again, self._put_off = self._put_off == self.deadline, self.deadline
            return not again and _has_come(self.fileno())
        self.ours.look()
        return self.deadline > self.service.now or self.ours.is_closing()

    def expire_reading(self) -> None:
        """The deadline has passed, and it is not the client's slowness in reading that it was set for."""
        raise NotImplementedError

    def expire_answer(self) -> None:
        """The time for the response has passed."""
        raise NotImplementedError

    def drain(self) -> None:
        """The worker leaves: answer what is under way, then close."""
        raise NotImplementedError

    def is_idle(self) -> bool:
        """Whether another worker could serve what comes next (`pass_on`)."""
        raise NotImplementedError

    def has_request(self) -> bool:
        """Whether, of a connection that is idle, a request waits for its turn."""
        raise NotImplementedError

    def pass_on(self, give: Give) -> bool:
        """Let another worker serve the connection, which is idle, if `give` can pass it on."""
        raise NotImplementedError

    def is_answering(self) -> bool:
        """Whether nobody waits here for an answer to begin: one is being sent, or the connection is ending."""
        raise NotImplementedError

    def cut(self) -> None:
        """End it now, whatever is under way."""
        if self._is_copied():
            end_stream(self.fileno())
        self.transport.abort()

    def _is_copied(self) -> bool:
        """Whether its stream has to be ended, since closing a descriptor may leave another one open."""
        return self.copied or self.service.forked

    # A client that does not read

    def watch_writing(self) -> None:
        """Look once a second whether the client takes what waits for it."""
        self._waiting_octets = self.count_waiting()
        self._waiting_since = self.service.now
        self.deadline = self.service.now + 1.0

    def count_waiting(self) -> int:
        """See Wire.count_waiting."""
        if self.ours is not None:
            return self.ours.get_write_buffer_size()
        return self.transport.get_write_buffer_size()

    def _waits_for_client(self) -> bool:
        waits = self.paused is not None or self.lingering or self.transport.is_closing()
        return waits and self.count_waiting() > 0

    def _has_stalled(self) -> bool:
        """Whether the client has taken no octet for the write timeout (0: however long)."""
        octets, now = self.count_waiting(), self.service.now
        if octets != self._waiting_octets:
            self._waiting_octets = octets
            self._waiting_since = now
        timeout = self.service.timeouts.write
        return bool(timeout) and now - self._waiting_since >= timeout


def _has_come(descriptor: int) -> bool:
    """Whether there is something to read."""
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _host_port(name: object) -> tuple[str, int] | None:
    """An address of the socket module as ASGI wants it; None for unix sockets."""
    if not isinstance(name, tuple):
        return None
    return name if len(name) == 2 else name[:2]


def _path(name: object) -> tuple[str, None] | None:
    return (name, None) if isinstance(name, str) and name else None

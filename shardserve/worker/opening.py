"""From accepted sockets to connections: on a transport of ours, or on the loop's where that is the better one.

Ours needs epoll(7). Uncompiled a request takes 8 % more instructions with it than with uvloop's, which is C, and 4 %
fewer than with asyncio's, which is Python too (docs/decisions/0018-transport.md).
"""

from __future__ import annotations

import asyncio
import select
import socket
from functools import partial
from typing import TYPE_CHECKING, cast

from shardserve.logs import log
from shardserve.net.poller import Poller
from shardserve.net.transport import COMPILED, SocketTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from shardserve.http.connection import Connection
    from shardserve.http.service import Service
    from shardserve.native import Name

    Make = Callable[[Service], Connection]
    Opened = Coroutine[asyncio.Future[object], None, object]


class Opening:
    """One per worker. It makes the service's poller where transports are ours."""

    def __init__(self, service: Service) -> None:
        self._service = service
        if hasattr(select, "epoll") and (COMPILED or not type(service.loop).__module__.startswith("uvloop")):
            service.poller = Poller(service.loop, service.context)
        self._waiting: dict[asyncio.Future[object], tuple[Opened, socket.socket]] = {}

    def open(self, descriptor: int, make_connection: Make, peer_name: Name, taken: bool) -> None:
        """Begin to serve a socket that does not block; `make_connection` makes its protocol.

        `peer_name` is the client's as far as it is known (native.accept). For `taken`, see Service.count_taken.
        """
        service = self._service
        service.opening += 1
        if taken:  # either at once: others steer by it
            service.count_taken()
        else:
            service.count()
        if service.poller is None:
            self._open_by_loop(socket.socket(fileno=descriptor), make_connection)
        else:
            SocketTransport(service.poller, descriptor, make_connection(service), peer_name)

    async def done(self) -> None:
        """Wait until every socket that was accepted is known to the service."""
        if self._waiting:
            await asyncio.wait(self._waiting)

    def descriptors(self) -> Iterator[int]:
        """Of what has been accepted and is not known to the service yet, and of the poller."""
        yield from (sock.fileno() for _, sock in self._waiting.values())
        if self._service.poller is not None:
            yield self._service.poller.fileno()

    def close(self) -> None:
        """The worker ends; a connection that is still there has been cut, and is told by the end of the process."""
        service = self._service
        if service.poller is not None and not service.connections:
            service.poller.close()

    def _open_by_loop(self, accepted: socket.socket, make_connection: Make) -> None:
        """Drive the loop's coroutine from here: a task for the one thing it waits for costs more than the rest."""
        service = self._service
        opened = cast(
            "Opened",
            service.loop.connect_accepted_socket(
                cast("Callable[[], asyncio.BaseProtocol]", partial(make_connection, service)), accepted
            ),
        )
        try:
            waiter = opened.send(None)
        except StopIteration:
            return
        except Exception as error:  # whatever the loop finds wrong with the socket
            self._lost(error)
            return
        self._waiting[waiter] = opened, accepted
        waiter.add_done_callback(self._go_on)

    def _go_on(self, waiter: asyncio.Future[object]) -> None:
        opened, _ = self._waiting.pop(waiter)
        try:
            opened.send(None)
        except StopIteration:
            pass  # the connection is open
        except Exception as error:  # reset by its client, say
            self._lost(error)

    def _lost(self, error: Exception) -> None:
        log.debug("a connection was lost while it was taken up: %s", error)
        self._service.opening -= 1
        self._service.count()

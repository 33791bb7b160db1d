"""The life of a worker on its loop: start the application, accept, drain, leave. How it came to be is not its business.

It holds no process-wide state (signals, current directory, globals), so that a worker could be a thread as well.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shardserve.gateway.asgi import AsgiGateway
from shardserve.gateway.lifespan import Lifespan
from shardserve.gateway.target import TrustedProxies
from shardserve.gateway.threads import ThreadPool
from shardserve.gateway.wsgi import WsgiGateway
from shardserve.http.access import AccessLog, open_sink
from shardserve.http.h1 import H1Connection
from shardserve.http.parsers import make_parser
from shardserve.http.request import Limits
from shardserve.http.service import Service, Timeouts
from shardserve.logs import Sink, log
from shardserve.net.board import Word, WorkerState
from shardserve.net.listener import Listener
from shardserve.worker.accept import Acceptor
from shardserve.worker.loop import make_spawn
from shardserve.worker.recycle import Recycling

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from shardserve.config.settings import Config
    from shardserve.gateway.loader import LoadedApp
    from shardserve.worker.channel import Command

_TICK = 1.0  # seconds between looks at deadlines
_DRAIN_TICK = 0.1  # the same while draining, when a deadline holds up a reload
_LIFESPAN_SHUTDOWN = 5.0  # seconds an application has to shut down
_ASK_AGAIN = 30.0  # seconds between askings to be replaced: a replacement may fail to start
_QUICK = 1.0  # seconds the same has when the worker must leave at once, and that cancelled requests have to end


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands: its shard (0-based) and generation, its listeners, its line of the board."""

    shard: int
    generation: int
    listeners: Sequence[Listener]
    board: memoryview
    access: Sink | None = None  # opened before privileges are dropped


class Worker:
    """One application on one loop."""

    def __init__(
        self,
        config: Config,
        place: Place,
        loaded: LoadedApp,
        loop: asyncio.AbstractEventLoop,
        retire: Callable[[str], None] | None = None,
    ) -> None:
        """`retire` asks for a replacement and is given the reason; without it the worker never does."""
        self._config = config
        self._place = place
        self._loop = loop
        proxies = TrustedProxies(config.forwarded_allow_ips)
        identity = {"shard": place.shard, "generation": place.generation}
        self.interface = loaded.interface
        self._pool: ThreadPool | None = None
        self._lifespan: Lifespan | None = None
        gateway: AsgiGateway | WsgiGateway
        if loaded.interface == "wsgi":
            self._pool = ThreadPool(config.threads)
            extra: dict[str, Any] = {f"shardserve.{key}": value for key, value in identity.items()}
            gateway = WsgiGateway(loaded.app, self._pool, proxies, config.root_path, extra)
        else:
            gateway = AsgiGateway(loaded.app, make_spawn(loop), proxies, config.root_path, {"shardserve": identity})
            self._lifespan = Lifespan(loaded.app, config.lifespan, gateway.state)
        self._access = None
        if config.access_logfile:
            self._access = AccessLog(loop, place.access or open_sink(config.access_logfile), config.access_logformat)
        self.service = Service(
            loop, make_parser(config.http), gateway.open, place.board, _limits(config), _timeouts(config), self._access
        )
        self._own = [Acceptor(self.service, listener, H1Connection) for listener in place.listeners]
        self._adopted: dict[int, list[Acceptor]] = {}  # of shards that have no worker now
        self.leaving: asyncio.Future[Command] = loop.create_future()  # done once told to leave
        self._hurry: asyncio.Future[None] = loop.create_future()
        self._recycling = Recycling(config)
        self._retire = retire
        self._ask_after = 0.0
        self._tick_every = _TICK
        self._ticker: asyncio.TimerHandle | None = None

    async def start(self) -> bool:
        """Start the application and accept; false if told to leave before it had started. Raises AppError."""
        if self._lifespan is not None:
            starting = asyncio.ensure_future(self._lifespan.startup())
            await asyncio.wait((starting, self.leaving), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                return False
            starting.result()
        self._tick()
        for acceptor in self._own:
            acceptor.start()
        self._place.board[Word.STATE] = WorkerState.READY
        return True

    def leave(self, command: Command) -> None:
        """Begin to leave, as the command says (see channel.py), or hurry where that has begun. Returns at once."""
        if not self.leaving.done():
            self.leaving.set_result(command)
        if command == "quit" and not self._hurry.done():
            self._hurry.set_result(None)

    def adopt(self, shard: int, sockets: Sequence[socket.socket]) -> None:
        """Accept for a shard that has no worker now, from copies of its listeners."""
        if self.leaving.done():
            for sock in sockets:
                sock.close()  # the supervisor finds another
            return
        self.release(shard)
        adopted = [Acceptor(self.service, Listener(sock, sharded=True), H1Connection) for sock in sockets]
        for acceptor in adopted:
            acceptor.start()
        self._adopted[shard] = adopted

    def log_to(self, descriptor: int) -> None:
        """Write the access log to this descriptor from now on."""
        if self._access is None:
            os.close(descriptor)
        else:
            self._access.write_to(Sink(descriptor))

    def release(self, shard: int) -> None:
        """The shard has a worker of its own again; what was accepted for it stays here."""
        for acceptor in self._adopted.pop(shard, ()):
            acceptor.stop()
            acceptor.close()

    async def serve_until_left(self) -> None:
        """Serve until told to leave; return when everything has been answered or the graceful timeout is over."""
        command = await self.leaving
        acceptors = [*self._own, *(acceptor for adopted in self._adopted.values() for acceptor in adopted)]
        self._adopted.clear()
        for acceptor in acceptors:
            acceptor.stop()
            if command == "stop":
                acceptor.empty(self._config.backlog + 1)
            # At "stop" this is the real end of the listener: the kernel refuses from here on. At "drain" others hold
            # it, and a copy kept here would keep a socket open that nobody accepts from, should the service end now.
            acceptor.close()
        for acceptor in acceptors:
            await acceptor.opened()
        await self._drain()
        if self._lifespan is not None:
            await self._lifespan.shutdown(_QUICK if self._hurry.done() else _LIFESPAN_SHUTDOWN)
        if self._access is not None:
            self._access.flush()
        if self._pool is not None:
            self._pool.stop(_QUICK)
        if self._ticker is not None:
            self._ticker.cancel()

    async def _drain(self) -> None:
        self._tick_every = _DRAIN_TICK
        self._tick()
        emptied = self.service.drain()
        timeout = self._config.graceful_timeout
        await asyncio.wait((emptied, self._hurry), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not emptied.done():
            left = f"{len(self.service.connections)} connections and {len(self.service.running)} requests"
            log.warning("leaving with %s not finished%s", left, "" if self._hurry.done() else f" after {timeout:g} s")
            self.service.cut()
            await asyncio.wait((emptied,), timeout=_QUICK)

    def _tick(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        self._ticker = self._loop.call_later(self._tick_every, self._tick)
        self.service.tick()
        if self._retire is not None and self.service.now >= self._ask_after:
            reason = self._recycling.reason(self.service.requests)
            if reason:
                self._retire(reason)
                self._ask_after = self.service.now + _ASK_AGAIN


def _limits(config: Config) -> Limits:
    return Limits(
        line=config.limit_request_line,
        fields=config.limit_request_fields,
        field_size=config.limit_request_field_size,
        section=config.limit_request_section,
        body=config.limit_request_body,
        spool=config.limit_request_spool,
    )


def _timeouts(config: Config) -> Timeouts:
    return Timeouts(
        keep_alive=config.keep_alive,
        header=config.header_timeout,
        body=config.body_timeout,
        write=config.write_timeout,
        body_min_rate=config.body_min_rate,
    )

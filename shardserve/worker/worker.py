"""The life of a worker on its loop: start the application, accept, drain, leave. How it came to be is not its business.

It holds no process-wide state (signals, current directory, globals), so that a worker could be a thread as well.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from shardserve.gateway.asgi import AsgiGateway
from shardserve.gateway.lifespan import Lifespan
from shardserve.gateway.limited import LimitedAsgiGateway
from shardserve.gateway.target import TrustedProxies
from shardserve.gateway.threads import ThreadPool
from shardserve.gateway.websocket import websocket_opener
from shardserve.gateway.wsgi_inline import InlineGateway
from shardserve.gateway.wsgi_pool import PoolGateway
from shardserve.gateway.wsgi_streamed import StreamingGateway
from shardserve.http.access import AccessLog, open_sink
from shardserve.http.lifetime import Lifetime
from shardserve.http.parsers import make_parser
from shardserve.http.request import Limits
from shardserve.http.service import Service, Timeouts
from shardserve.http.websocket import WebSocketSettings
from shardserve.logs import Sink, log
from shardserve.net.board import Word, WorkerState
from shardserve.worker.deputy import Deputy
from shardserve.worker.forks import has_children
from shardserve.worker.leaving import TICK, Leaving
from shardserve.worker.listening import HANDSHAKE, Listening
from shardserve.worker.loop import make_spawn
from shardserve.worker.recycle import Recycling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shardserve.config.settings import Config
    from shardserve.gateway.loader import LoadedApp
    from shardserve.worker.channel import Command
    from shardserve.worker.place import Place

_TICK = 1.0  # seconds between looks at deadlines
_LIFESPAN_SHUTDOWN = 5.0  # seconds an application has to shut down
_ASK_AGAIN = 30.0  # seconds between askings to be replaced: a replacement may fail to start
_QUICK = 1.0  # seconds the same has when the worker must leave at once, and that cancelled requests have to end
_LOG_PATIENCE = 0.5  # seconds the access log's last lines have, where nobody takes them
LEAVING_EXTRA = 8.0  # seconds beyond graceful-timeout until a worker that leaves is killed: the above, and some


class Worker:
    """One application on one loop."""

    def __init__(
        self,
        config: Config,
        place: Place,
        loaded: LoadedApp,
        loop: asyncio.AbstractEventLoop,
        say: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """`say` takes the words of channel.py: {"retire": reason}, {"streaming": True}."""
        self._config = config
        self._place = place
        self._loop = loop
        mount = not {"SCRIPT_NAME", "*"}.isdisjoint(config.forwarder_headers)
        proxies = TrustedProxies(config.forwarded_allow_ips, mount)
        identity = {"shard": place.shard, "generation": place.generation}
        self.interface = loaded.interface
        self._pool: ThreadPool | None = None
        self._lifespan: Lifespan | None = None
        gateway: AsgiGateway | PoolGateway | InlineGateway
        limit = config.limit_concurrency
        patience = config.queue_timeout if limit else 0.0
        if loaded.interface == "wsgi":
            extra: dict[str, Any] = {f"shardserve.{key}": value for key, value in identity.items()}
            if config.calls_inline:
                gateway = InlineGateway(loaded.app, loop, proxies, config.root_path, extra)
            else:
                self._pool = ThreadPool(min(config.threads, limit or config.threads))
                make = PoolGateway if config.request_buffering else StreamingGateway
                gateway = make(loaded.app, self._pool, loop, proxies, config.root_path, extra, patience)
        else:
            settings = (
                loaded.app,
                make_spawn(loop),
                proxies,
                config.root_path,
                {"shardserve": identity},
                websocket_opener(_websockets(config)),
            )
            gateway = LimitedAsgiGateway(limit, patience, *settings) if limit else AsgiGateway(*settings)
            self._lifespan = Lifespan(loaded.app, config.lifespan, gateway.state)
        self._access = None
        if config.access_logfile:
            self._access = AccessLog(loop, place.access or open_sink(config.access_logfile), config.access_logformat)
        self.service = Service(
            loop,
            make_parser(config.http),
            gateway,
            place.board,
            _limits(config),
            _timeouts(config),
            self._access,
            place.siblings.loads.line(place.shard) if place.siblings is not None else None,
            _lifetime(config),
        )
        self.service.trusted_limits = _limits(config, config.forwarder_headers)
        self.service.trusts = proxies.trusts
        if self._pool is not None:
            self.service.box.limit(self._pool.size)
        self.service.most_connections = config.worker_connections
        self._turns = gateway.turns if isinstance(gateway, PoolGateway | LimitedAsgiGateway) else None
        self._inline = gateway if isinstance(gateway, InlineGateway) else None
        self._deputy: Deputy | None = None
        self.listening = Listening(self.service, place, config.backlog)
        self.leaving: asyncio.Future[Command] = loop.create_future()  # done once told to leave
        self._hurry: asyncio.Future[None] = loop.create_future()
        self._recycling = Recycling(config)
        self._say = say
        self._leaving: Leaving | None = None
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
        self.listening.start()
        if self._turns is not None and self.listening.handover is not None:
            self.listening.handover.share_work(self._turns)
        if self._inline is not None and self.listening.handover is not None:
            self._deputy = Deputy(self.service, self._inline, self.listening, self.listening.handover)
            self._deputy.start()
        elif self._inline is not None:
            self.listening.send_at_once()
        self._place.board[Word.STATE] = WorkerState.READY
        return True

    def leave(self, command: Command) -> None:
        """Begin to leave, as the command says (see channel.py), or hurry where that has begun. Returns at once."""
        if not self.leaving.done():
            self.leaving.set_result(command)
        if command == "quit" and not self._hurry.done():
            self._hurry.set_result(None)

    def log_to(self, descriptor: int) -> None:
        """Write the access log to this descriptor from now on."""
        if self._access is None:
            os.close(descriptor)
        else:
            self._access.write_to(Sink(descriptor))

    async def serve_until_left(self) -> None:
        """Serve until told to leave; return when everything has been answered or the graceful timeout is over."""
        if self._inline is None:
            command = await self.leaving
        else:
            self._inline.hide_loop()
            try:
                command = await self.leaving
            finally:
                self._inline.show_loop()
        if command == "stop":
            await self._shut_doors()
        if self._deputy is not None:
            self._deputy.stop()
        await self.listening.end(replaced=command == "drain")
        await self._drain(command)
        if self._lifespan is not None:
            await self._lifespan.shutdown(_QUICK if self._hurry.done() else _LIFESPAN_SHUTDOWN)
        if self._access is not None:
            await self._access.finish(_LOG_PATIENCE)
        if self._pool is not None:
            self._pool.stop(_QUICK)
        if self._ticker is not None:
            self._ticker.cancel()
        self.listening.close()

    async def _shut_doors(self) -> None:
        """The service ends: let nobody in any more, and let those in who are at the door."""
        self.service.wind_down()
        if self.listening.shut():
            await asyncio.wait((self._hurry,), timeout=HANDSHAKE)

    async def _drain(self, command: Command) -> None:
        say = self._say
        streaming = (lambda: say({"streaming": True})) if say is not None and command == "drain" else None
        self._leaving = Leaving(self.service, self._config.graceful_timeout, streaming)
        self._tick_every = TICK
        self._tick()
        handover = self.listening.handover
        give_on = handover.give_on if handover is not None and command == "drain" else None
        timeout = self._config.graceful_timeout
        ends = self._loop.time() + timeout
        while True:
            emptied = self.service.drain(give_on)
            self._share_work()
            left = max(0.0, ends - self._loop.time())
            await asyncio.wait((emptied, self._hurry), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if give_on is not None or not emptied.done() or not await self.listening.take_late():
                break
        if not emptied.done():
            rest = f"{len(self.service.connections)} connections and {len(self.service.running)} requests"
            log.warning("leaving with %s not finished%s", rest, "" if self._hurry.done() else f" after {timeout:g} s")
            self.service.cut()
            await asyncio.wait((emptied,), timeout=_QUICK)

    def _share_work(self) -> None:
        """Have nothing wait for its turn in vain: here, where the replacement is idle, or elsewhere."""
        if self._deputy is not None:
            self._deputy.inside.say_free()
        if self._turns is not None:
            self._turns.look_for_work(self.service)
            if self.service.give_on is not None:
                self._turns.give_waiting(self.service.give_on, all_of_them=True)

    def _tick(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        self._ticker = self._loop.call_later(self._tick_every, self._tick)
        self.service.tick()
        self._share_work()
        if not self.service.forked and has_children():
            self.service.forked = True
        if self._leaving is not None:
            self._leaving.tick()
        elif self._say is not None and self.service.now >= self._ask_after:
            reason = self._recycling.reason(self.service.requests)
            if self._pool is not None and self.service.overdue.stuck:
                reason = f"has lost a thread to {self.service.overdue.stuck} (--request-timeout)"
            if reason:
                self._say({"retire": reason})
                self._ask_after = self.service.now + _ASK_AGAIN


def _limits(config: Config, underscored: Iterable[str] = ()) -> Limits:
    return Limits(
        line=config.limit_request_line,
        fields=config.limit_request_fields,
        field_size=config.limit_request_field_size,
        section=config.limit_request_section,
        body=config.limit_request_body,
        spool=config.limit_request_spool,
        any_method=config.permit_unconventional_http_method,
        header_map=config.header_map,
        underscored=frozenset(name.lower().encode() for name in underscored),
    )


def _lifetime(config: Config) -> Lifetime | None:
    if config.max_connection_requests or config.max_connection_age:
        return Lifetime(config.max_connection_requests, config.max_connection_age)
    return None


def _websockets(config: Config) -> WebSocketSettings:
    return WebSocketSettings(
        max_size=config.ws_max_size,
        ping_interval=config.ws_ping_interval,
        ping_timeout=config.ws_ping_timeout,
        deflate=config.ws_deflate,
        deflate_threshold=config.ws_deflate_threshold,
    )


def _timeouts(config: Config) -> Timeouts:
    return Timeouts(
        keep_alive=config.keep_alive,
        header=config.header_timeout,
        body=config.body_timeout,
        write=config.write_timeout,
        request=config.request_timeout,
        body_min_rate=config.body_min_rate,
        disconnect_grace=config.disconnect_grace,
    )

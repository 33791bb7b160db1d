"""Serving in the calling process, without a supervisor: `--workers 0` and `shardserve.run(app)`.

For debuggers, profilers and tests: one worker, one listener per address, the application imported here, no boot timeout
(a breakpoint in the application's start is not a fault).
"""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardserve.gateway.loader import load, prepare
from shardserve.http.access import open_sink
from shardserve.logs import log, reserve_standard_descriptors, set_up_logging
from shardserve.net.board import Board
from shardserve.net.listener import ShardGroup, bind_all, close_all
from shardserve.worker.loop import new_loop
from shardserve.worker.place import Place
from shardserve.worker.process import raise_open_file_limit, remove_pidfile, write_pidfile
from shardserve.worker.worker import Worker

if TYPE_CHECKING:
    from shardserve.config.settings import Config
    from shardserve.gateway.loader import LoadedApp
    from shardserve.logs import Sink


def serve_here(config: Config, app: Any = None) -> int:
    """Serve `app`, or the one the configuration names, until SIGTERM or SIGINT (a second one: at once); returns 0.

    Off the main thread no signal can be caught, and it serves until the process ends. Raises ShardserveError.
    """
    reserve_standard_descriptors()
    set_up_logging(config.log_level)
    if config.preload:
        log.info("--preload is for workers: without any, the application is imported in this process")
    raise_open_file_limit()
    # Before --chdir moves us: a relative path means the directory the command was given in.
    pidfile = str(Path(config.pidfile).absolute()) if config.pidfile else None
    access = open_sink(config.access_logfile) if config.access_logfile else None
    loaded = load(config) if app is None else prepare(app, config.interface, _name(app))
    groups = bind_all(config.bind, 1, config.backlog, umask=config.umask)
    try:
        with asyncio.Runner(loop_factory=lambda: new_loop(config.loop)) as runner:
            runner.run(_serve(config, loaded, groups, access, pidfile))
    finally:
        close_all(groups)
        remove_pidfile(pidfile)
    return 0


def _name(app: Any) -> str:
    return str(getattr(app, "__qualname__", type(app).__qualname__))


async def _serve(
    config: Config, loaded: LoadedApp, groups: list[ShardGroup], access: Sink | None, pidfile: str | None
) -> None:
    loop = asyncio.get_running_loop()
    listeners = [group.listener(0) for group in groups]
    worker = Worker(config, Place(0, 1, listeners, Board(1).claim(0, 1), access), loaded, loop)
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:
            worker.leave("quit")
        elif config.drain_delay:
            worker.service.closing = True
            loop.call_later(config.drain_delay, worker.leave, "stop")
        else:
            worker.leave("stop")
        asked = True

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
    if not await worker.start():
        return
    write_pidfile(pidfile)
    where = ", ".join(group.address.url for group in groups)
    log.info("serving %s (%s) in this process on %s", loaded.name, loaded.interface, where)
    await worker.serve_until_left()

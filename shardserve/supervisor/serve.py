"""From a configuration to a running service: bind, say so, load what workers share, hand over to the supervisor."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shardserve.config.cpus import choose_workers
from shardserve.errors import ConfigError
from shardserve.http.access import compile_format, open_sink
from shardserve.http.parsers import make_parser
from shardserve.logs import log, reserve_standard_descriptors, set_up_logging
from shardserve.supervisor.announce import announce_start, announce_stop
from shardserve.supervisor.sharding import Sharding
from shardserve.supervisor.signals import SignalQueue
from shardserve.supervisor.supervisor import Supervisor
from shardserve.supervisor.watcher import require_watchfiles
from shardserve.worker.inprocess import serve_here
from shardserve.worker.loop import choose_loop
from shardserve.worker.process import find_owner, raise_open_file_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.config.settings import Config

_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


def serve(config: Config, reread: Callable[[], Config]) -> int:
    """Serve until told to stop; returns the exit code. `reread` resolves the configuration again, for a reload.

    Raises ConfigError, BindError, or AppError if no worker could start.
    """
    if config.workers == 0:
        return serve_here(config)
    if sys.platform != "linux":
        raise ConfigError("workers need Linux (SO_REUSEPORT shards, pidfd); elsewhere serve with --workers 0")
    reserve_standard_descriptors()
    set_up_logging(config.log_level)
    signals = SignalQueue()  # first of all: a stop that comes while we start must be a stop
    _check(config)
    raise_open_file_limit()
    loop, parser = choose_loop(config.loop), make_parser(config.http).name
    count, why = choose_workers(config.workers)
    uid, gid, _ = find_owner(config)
    sharding = Sharding(config, count, (uid, gid))
    announce_start(sharding, f"workers: {count} ({why}); loop {loop}, parser {parser}")
    announce_stop(config)
    _warn_of_backlog(config)
    # What workers need has been imported here, once, and the collector leaves it alone: they share these pages
    # (measured with four workers of the demo: 8.6 MB PSS each, 5.5 MB of it their own).
    gc.collect()
    gc.freeze()
    supervisor = Supervisor(config, sharding, reread, signals)
    try:
        return supervisor.run()
    finally:
        supervisor.close()


def _check(config: Config) -> None:
    """Raise ConfigError for what would otherwise be found out by a worker, or too late."""
    if config.pidfile and not os.access(Path(config.pidfile).absolute().parent, os.W_OK):
        raise ConfigError(f"--pidfile: {config.pidfile} cannot be written; choose a directory that is there and yours")
    if config.access_logfile:
        open_sink(config.access_logfile).close()
        compile_format(config.access_logformat)
    if config.reload:
        require_watchfiles()
        missing = next((folder for folder in config.reload_dir if not Path(folder).is_dir()), None)
        if missing is not None:
            raise ConfigError(f"--reload-dir: there is no directory {missing!r}")


def _warn_of_backlog(config: Config) -> None:
    try:
        most = int(_SOMAXCONN.read_text())
    except (OSError, ValueError):
        return
    if config.backlog > most:
        log.warning("--backlog %d is capped at %d by net.core.somaxconn", config.backlog, most)

"""What is said at start: the few lines an operator needs, and nothing that is not known yet."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from shardserve.logs import log
from shardserve.worker.worker import LEAVING_EXTRA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shardserve.config.settings import Config
    from shardserve.net.listener import ShardGroup
    from shardserve.supervisor.shard import Shard

_GRACE = 30.0  # seconds that Kubernetes waits before it kills, unless told otherwise


def announce_start(groups: Iterable[ShardGroup], count: int, workers: str) -> None:
    """Say what is about to serve: version, addresses with their shards; `workers` says how many, and on what."""
    from shardserve import __version__

    python = f"{platform.python_implementation()} {platform.python_version()}"
    log.info("shardserve %s (%s) starts as pid %d", __version__, python, os.getpid())
    for group in groups:
        how = "one listener per worker" if group.sharded else "one listener, shared: it cannot be sharded"
        shards = f"{count} shards, " if group.sharded and count > 1 else ""
        log.info("listening on %s (%s%s)", group.address.url, shards, how)
    log.info("%s", workers)


def announce_stop(config: Config) -> None:
    """Say how long a stop may take, where more than the default was asked for and a platform may not wait so long."""
    longest = config.drain_delay + config.graceful_timeout + LEAVING_EXTRA
    if longest > _GRACE and (config.drain_delay or config.graceful_timeout > _GRACE):
        parts = f"--drain-delay {config.drain_delay:g}, --graceful-timeout {config.graceful_timeout:g}"
        platforms = "terminationGracePeriodSeconds is 30 s if not set, docker stop's 10 s"
        log.info("a stop may take %g s (%s, %g to end); Kubernetes' %s", longest, parts, LEAVING_EXTRA, platforms)


def announce_ready(config: Config, groups: Iterable[ShardGroup], shards: list[Shard], interface: str) -> None:
    """Say that the service is up, once the first worker of every shard has become ready or failed."""
    serving = sum(shard.current is not None for shard in shards)
    where = ", ".join(group.address.url for group in groups)
    log.info("ready: %d of %d workers serve %s (%s) on %s", serving, len(shards), config.app, interface, where)

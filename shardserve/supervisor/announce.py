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
    from shardserve.supervisor.sharding import Sharding

_GRACE = 30.0  # seconds that Kubernetes waits before it kills, unless told otherwise


_WAYS = {
    "ebpf": "ebpf (a connection goes to the worker with the fewest)",
    "cbpf": "cbpf (a connection goes to one of the workers with few)",
    "hash": "hash (the kernel's, which knows no load)",
    "shared": "shared (a connection goes to one of the workers with the fewest)",
}


def announce_start(sharding: Sharding, workers: str) -> None:
    """Say what is about to serve: version, addresses with their shards, steering; `workers`: how many, on what."""
    from shardserve import __version__
    from shardserve.build import describe

    python = f"{platform.python_implementation()} {platform.python_version()}"
    log.info("shardserve %s (%s; %s) starts as pid %d", __version__, describe(), python, os.getpid())
    for group in sharding.groups:
        how = "one listener per worker" if group.sharded else "one listener, shared by all workers"
        shards = f"{sharding.count} shards, " if group.sharded and sharding.count > 1 else ""
        log.info("listening on %s (%s%s)", group.address.url, shards, how)
    if sharding.count > 1:
        steering = sharding.steering
        log.info("steering: %s%s%s", _WAYS[steering.mode], "; " if steering.why else "", steering.why)
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

"""The access log's file, held by the supervisor: a worker without its privileges may not be able to open it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.errors import ConfigError
from shardserve.http.access import open_sink
from shardserve.logs import Sink, log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shardserve.config.settings import Config
    from shardserve.supervisor.child import Child


class AccessFile:
    """The sink of the configured path. Workers inherit it when they are forked."""

    def __init__(self) -> None:
        self._path = ""
        self._sink: Sink | None = None

    def open(self, config: Config) -> Sink | None:
        """The sink of the configured access log, None without one; one that cannot be opened is logged."""
        path = config.access_logfile
        if path is None:
            return None
        if path != self._path:
            try:
                opened = open_sink(path)
            except ConfigError as error:
                log.error("%s", error)
                return self._sink
            if self._sink is not None:
                self._sink.close()
            self._path, self._sink = path, opened
        return self._sink

    def reopen(self, config: Config, children: Iterable[Child]) -> None:
        """The file has been renamed: open it anew, here and, by its descriptor, in the workers."""
        self._path = ""
        sink = self.open(config)
        if sink is not None:
            log.info("the access log has been opened again")
            for child in children:
                child.channel.send({"command": "log"}, [sink])

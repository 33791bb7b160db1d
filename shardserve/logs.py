"""The log: one logger, one format, to stderr. Open to every layer, as errors.py is."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger("shardserve")

FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S %z"


def set_up_logging(level: str) -> None:
    """Write the shardserve log to stderr at `level` ("debug" to "critical"); calling it again changes the level."""
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))
        log.addHandler(handler)
        log.propagate = False
    log.setLevel(level.upper())


def printable(text: str) -> str:
    """Text from a client, with every control character escaped so that it cannot forge a line or drive a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")

"""Content-Length and Transfer-Encoding under a name that means nothing, for parsers with rules of their own on them.

What those fields may say is for http/request.py alone, so that every parser refuses the same with the same status.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shardserve.http.parsers import Sink

_STAND_IN = b"!"  # a client's own field of this name goes the same way, and so keeps it
_NAMES = re.compile(rb"(?<=\r\n)(content-length|transfer-encoding|!)(?=:)", re.IGNORECASE)


class Hidden:
    """A sink that gives the names back. Parse `head` into it: what was given, with the stand-in for each such name."""

    def __init__(self, head: bytes, sink: Sink) -> None:
        self.head = _NAMES.sub(_STAND_IN, head)
        self._names: Iterator[bytes] = iter(_NAMES.findall(head))
        self._sink = sink

    def on_header(self, name: bytes, value: bytes) -> None:
        """See Sink.on_header."""
        self._sink.on_header(next(self._names) if name == _STAND_IN else name, value)

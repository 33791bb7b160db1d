"""Content-Length and Transfer-Encoding under a name that means nothing, for parsers with rules of their own on them.

What those fields may say is for http/request.py alone, so that every parser refuses the same with the same status.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardserve.http.request import Request

_STAND_IN = b"!"  # a client's own field of this name goes the same way, and so keeps it
_NAMES = re.compile(rb"(?<=\r\n)(content-length|transfer-encoding|!)(?=:)", re.IGNORECASE)


class Hidden:
    """Takes fields for a request and gives the names back. `head` is what a parser may see: a line, then the fields."""

    def __init__(self, line: bytes, fields: list[bytes], request: Request) -> None:
        head = b"\r\n".join((line, *fields, b"", b""))
        self.head = _NAMES.sub(_STAND_IN, head)
        self._names = iter(_NAMES.findall(head))
        self._request = request

    def on_header(self, name: bytes, value: bytes) -> None:
        """See Request.on_header."""
        self._request.on_header(next(self._names) if name == _STAND_IN else name, value)

"""What an ASGI application may send beyond the core of the specification: files, early hints, trailers.

asgiref, "Extensions"; `http.response.pathsend` as its draft and Starlette have it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from shardserve.errors import ClientDisconnected
from shardserve.gateway.fair import keep_up
from shardserve.http.exchange import Exchange
from shardserve.http.files import FilePart
from shardserve.http.head import with_length

if TYPE_CHECKING:
    from collections.abc import MutableMapping

# As they stand in a scope. (websocket.http.response belongs to the other kind of scope.)
EXTENSIONS: dict[str, dict[str, Any]] = {
    "http.response.pathsend": {},
    "http.response.zerocopysend": {},
    "http.response.trailers": {},
    "http.response.early_hint": {},
}


class AsgiExtensions(Exchange):
    """The part of an ASGI exchange that takes the extensions' messages."""

    __slots__ = ("_done", "_ending", "_head", "_sent", "_trailers")

    _head: MutableMapping[str, Any] | None  # http.response.start, held until the first body octets
    _sent: bool  # the head has left
    _done: bool  # the response is complete
    _ending: bool  # the application has given all of the body, but the response is not complete yet
    _trailers: list[tuple[bytes, bytes]] | None  # that have been given, where the application has announced some

    def _wake(self) -> None:
        """Have `receive` look again."""
        raise NotImplementedError

    def _await_trailers(self, head: MutableMapping[str, Any]) -> bool:
        """All of the body has been given; whether http.response.start has said that trailers would follow."""
        if head.get("trailers"):
            self._ending = True
            self._trailers = []
        return self._ending

    async def _send_extension(self, kind: str, message: MutableMapping[str, Any]) -> bool:
        """Take a message of an extension; False for one that is none, or out of turn.

        Raises OSError, TypeError or ValueError for a file or a field that cannot be sent.
        """
        if kind == "http.response.early_hint":
            self.wire.inform(self, 103, [(b"link", link) for link in message["links"]])
            return True
        if kind == "http.response.trailers" and self._trailers is not None and not self._done:
            self._trailers += [(name, value) for name, value in message.get("headers", ())]
            if not message.get("more_trailers", False):
                self.wire.trail(self, self._trailers)
                self._complete()
            return True
        if self._head is None or self._ending or self._done:
            return False
        if kind == "http.response.pathsend":
            await self._send_file(FilePart.open(message["path"]), more=False)
        elif kind == "http.response.zerocopysend":
            await self._send_file(_part_of(message), more=message.get("more_body", False))
        else:
            return False
        return True

    async def _send_file(self, part: FilePart, more: bool) -> None:
        """Send a file, or a part of one, as part of the body; wait until it has left."""
        head = self._head
        assert head is not None  # the caller has looked
        trailers = not more and bool(head.get("trailers"))
        wire = self.wire
        if not self._sent:
            try:
                headers = head.get("headers", ())
                whole = not more and not trailers
                wire.respond(self, head["status"], with_length(headers, part.size()) if whole else headers, b"", True)
            except BaseException:
                part.close()
                raise
            self._sent = True
        if not more:
            self._await_trailers(head)
            self._ending = True
        wire.send_file(self, part, more or trailers)
        await keep_up(wire)
        if self.gone:
            raise ClientDisconnected("the client has gone")
        if not more and not trailers:
            self._complete()

    def _complete(self) -> None:
        self._done = True
        self._wake()


def _part_of(message: MutableMapping[str, Any]) -> FilePart:
    file, offset, count = message["file"], message.get("offset"), message.get("count")
    part = FilePart(file if isinstance(file, int) else file.fileno(), offset, count)
    if offset is None and part.regular:
        # As sendfile(2) would: what is sent from the file's position moves it on. (A copy of a descriptor shares it.)
        os.lseek(part.descriptor, part.size() or 0, os.SEEK_CUR)
    return part

"""The WebSocket handshake over HTTP/1.1: what a request must be to become a WebSocket (RFC 6455 section 4.2), once.

Whether the application wants the connection (its path, its Origin) is the application's to say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http import deflate
from shardserve.http.grammar import TOKEN_PATTERN, split_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from websockets.extensions.permessage_deflate import PerMessageDeflate
    from websockets.typing import ExtensionHeader

    from shardserve.http.request import Request

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_VERSION = b"13"
_WANTED = ((b"upgrade", b"websocket"), (b"sec-websocket-version", _VERSION))
# What the answer says of the handshake itself. A subprotocol may also come as a field, as other servers let it.
_OURS = frozenset((b"upgrade", b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-version"))
_PROTOCOL = b"sec-websocket-protocol"


class Handshake:
    """A good one. `subprotocols` are those that the client offers, the best first."""

    __slots__ = ("_key", "_offers", "subprotocols")

    def __init__(self, key: bytes, subprotocols: list[str], offers: list[ExtensionHeader]) -> None:
        self._key = key
        self._offers = offers  # of extensions
        self.subprotocols = subprotocols

    def answer(
        self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]], compress: bool
    ) -> tuple[list[tuple[bytes, bytes]], PerMessageDeflate | None]:
        """The fields of the accepting answer with those of the application, and the extension in use, if any.

        Raises ValueError where the application gives a field that is the server's.
        """
        accept = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        fields = [(b"sec-websocket-accept", accept)]
        if subprotocol is not None:
            fields.append((_PROTOCOL, subprotocol.encode("ascii")))
        agreed = deflate.agree(self._offers) if compress else None
        if agreed is not None:
            fields.append((b"sec-websocket-extensions", agreed[0].encode()))
        for name, value in headers:
            if name.lower() in _OURS or (name.lower() == _PROTOCOL and subprotocol is not None):
                raise ValueError(
                    f"{name.decode('latin-1')} is not the application's to send when it accepts a WebSocket"
                )
            fields.append((name, value))
        return fields, agreed[1] if agreed is not None else None


def read_handshake(request: Request) -> Handshake | None:
    """What a request that asks for an upgrade (`Request.upgrade`) offers; None if it is not to a WebSocket.

    Raises ProtocolError: 426 for another version, 400 for whatever else is wrong with it.
    """
    if b"websocket" not in (name.partition(b"/")[0].lower() for name in _items(request, b"upgrade")):
        return None
    if request.method != "GET" or request.length != 0:
        raise ProtocolError(400, "a WebSocket handshake is a GET without a body")
    versions = _values(request, b"sec-websocket-version")
    if versions != [_VERSION]:
        raise ProtocolError(426, "only version 13 of WebSocket is spoken here", _WANTED)
    keys = _values(request, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise ProtocolError(400, "Sec-WebSocket-Key is not 16 octets in base64")
    subprotocols = _items(request, _PROTOCOL)
    if len(set(subprotocols)) != len(subprotocols) or not all(map(TOKEN_PATTERN.fullmatch, subprotocols)):
        raise ProtocolError(400, "Sec-WebSocket-Protocol is not a list of different tokens")
    try:
        offers = deflate.read_offers(b", ".join(_values(request, b"sec-websocket-extensions")).decode("latin-1"))
    except ValueError:
        raise ProtocolError(400, "malformed Sec-WebSocket-Extensions") from None
    return Handshake(keys[0], [name.decode() for name in subprotocols], offers)


def _values(request: Request, name: bytes) -> list[bytes]:
    return [value for key, value in request.headers if key == name]


def _items(request: Request, name: bytes) -> list[bytes]:
    """The items of a list, which may come in several fields (RFC 9110 section 5.6.1)."""
    return [item for value in _values(request, name) for item in split_list(value) if item]


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False

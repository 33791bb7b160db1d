"""Compression of WebSocket messages (permessage-deflate, RFC 7692), by the extension of the websockets library.

Here is what it leaves to us: which messages are worth it, and that no message inflates beyond the limit.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from websockets.exceptions import InvalidHeader, NegotiationError, PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.headers import build_extension, parse_extension

from shardserve.errors import FrameError
from shardserve.http.frames import TOO_BIG, WRONG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from websockets.typing import ExtensionHeader

# Windows of 4 KiB instead of 32, and little memory for the compressor: 55 KiB a connection instead of 153 (resident,
# after a message of 2 KB each way), for answers that are somewhat longer.
_OFFER = ServerPerMessageDeflateFactory(
    server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
)


def read_offers(field: str) -> list[ExtensionHeader]:
    """What a client offers in Sec-WebSocket-Extensions. Raises ValueError if that is malformed."""
    try:
        return parse_extension(field) if field else []
    except InvalidHeader as error:
        raise ValueError(str(error)) from None


def agree(offers: Iterable[ExtensionHeader]) -> tuple[str, PerMessageDeflate] | None:
    """Take the first offer that we can: the field of the answer, and the extension; None if there is none."""
    for name, parameters in offers:
        if name == _OFFER.name:
            try:
                agreed, extension = _OFFER.process_request_params(parameters, ())
            except NegotiationError:
                continue
            return build_extension([(name, agreed)]), extension
    return None


class Deflate:
    """The compression of one connection. Messages of fewer octets than `threshold` are sent as they are."""

    __slots__ = ("_extension", "_threshold")

    def __init__(self, extension: PerMessageDeflate, threshold: int) -> None:
        self._extension = extension
        self._threshold = threshold

    def inflate(self, opcode: int, packed: bytes, fin: bool, room: int | None) -> bytes:
        """Inflate the payload of a frame to at most `room` octets (None: any number). Raises FrameError."""
        extension = self._extension
        try:
            data = extension.decode(Frame(Opcode(opcode), packed, fin, rsv1=opcode != Opcode.CONT), max_size=room).data
        except PayloadTooBig:
            raise FrameError(TOO_BIG, "a message that is too large when inflated") from None
        except ProtocolError as error:
            raise FrameError(WRONG, str(error)) from None
        if fin and not extension.remote_no_context_takeover and extension.decoder.eof:
            # The client has ended its stream (section 7.2.3.4), and begins another one with its next message.
            extension.decoder = zlib.decompressobj(wbits=-extension.remote_max_window_bits)
        return bytes(data)

    def deflate(self, opcode: int, payload: bytes) -> tuple[bytes, bool]:
        """A message's payload as it is sent, and whether it is compressed."""
        if len(payload) < self._threshold:
            return payload, False
        return bytes(self._extension.encode(Frame(Opcode(opcode), payload)).data), True

"""A WebSocket client's octets, written and read by hand (RFC 6455 section 5): nothing of the server's own code."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Self

from support.wire import Driver, Puppet, read_answers, request

if TYPE_CHECKING:
    from support.wire import Answer

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x01\xf2\x37\x80"

# Those of the example in section 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def handshake(
    *fields: bytes, target: bytes = b"/", version: bytes = b"13", key: bytes = KEY, method: bytes = b"GET"
) -> bytes:
    """A good handshake, or one with another version, key or method."""
    own = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: " + version)
    return request(target, *own, b"Sec-WebSocket-Key: " + key, *fields, method=method)


def masked(data: bytes, mask: bytes = MASK) -> bytes:
    """Section 5.3."""
    return bytes(octet ^ key for octet, key in zip(data, cycle(mask), strict=False))


def frame(
    opcode: int, data: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bytes | None = MASK, bits: int = 0
) -> bytes:
    """A frame; `bits` (7, 16 or 64) forces how its length is written, `mask` None leaves it unmasked."""
    length = len(data)
    bits = bits or (7 if length < 126 else 16 if length < 65536 else 64)
    short = {7: length, 16: 126, 64: 127}[bits]
    head = bytes((fin << 7 | reserved << 4 | opcode, (mask is not None) << 7 | short))
    head += {7: b"", 16: struct.pack("!H", length & 0xFFFF), 64: struct.pack("!Q", length)}[bits]
    return head + data if mask is None else head + mask + masked(data, mask)


def text(message: str) -> bytes:
    return frame(TEXT, message.encode())


def closing(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def deflated(data: bytes) -> bytes:
    """A message's payload as permessage-deflate has it (RFC 7692 section 7.2.1)."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


@dataclass(frozen=True)
class Frame:
    """A frame from the server."""

    opcode: int
    data: bytes
    fin: bool = True
    reserved: int = 0

    @property
    def code(self) -> int | None:
        """Of a close frame."""
        assert self.opcode == CLOSE
        return struct.unpack("!H", self.data[:2])[0] if self.data else None


def read_frames(octets: bytes) -> list[Frame]:
    """Read what a server sent after its handshake, strictly; it must end with a frame."""
    frames = []
    while octets:
        assert len(octets) >= 2, octets
        first, length = octets[0], octets[1]
        assert length < 128, "a server does not mask"
        start = 2
        if length == 126:
            start, length = 4, struct.unpack("!H", octets[2:4])[0]
            assert length > 125
        elif length == 127:
            start, length = 10, struct.unpack("!Q", octets[2:10])[0]
            assert length > 65535
        assert len(octets) >= start + length, "a frame without its end"
        frames.append(Frame(first & 15, octets[start : start + length], first > 127, first >> 4 & 7))
        octets = octets[start + length :]
    return frames


class Client:
    """The client of a driver's connection: `with Client(app) as client:` has done the handshake."""

    def __init__(self, app: Any, *fields: bytes, open: bool = True, **settings: Any) -> None:  # noqa: A002 as is said
        self.wire = Driver.asgi(app, **settings)
        if open:
            self.wire.feed(handshake(*fields))

    def __enter__(self) -> Self:
        self.wire.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self.wire.__exit__(*raised)

    def feed(self, *pieces: bytes) -> Client:
        self.wire.feed(*pieces)
        return self

    @property
    def answer(self) -> Answer:
        """The answer to the handshake."""
        head, end, _ = self.wire.output.partition(b"\r\n\r\n")
        return read_answers(head + end)[0]

    @property
    def frames(self) -> list[Frame]:
        assert self.answer.status == 101, self.wire.output
        return read_frames(self.wire.output.partition(b"\r\n\r\n")[2])

    @property
    def last(self) -> Frame:
        return self.frames[-1]

    @property
    def ended(self) -> int | None:
        """The code of the close frame behind which the server has ended its side."""
        assert self.wire.closed, self.frames
        return self.last.code


def puppet(*fields: bytes, **settings: Any) -> tuple[Client, Puppet]:
    """A client whose application does what the test does; the handshake is not answered yet."""
    app = Puppet()
    return Client(app, *fields, **settings), app


def accepted(*fields: bytes, **settings: Any) -> tuple[Client, Puppet]:
    """The same, with the handshake accepted."""
    client, app = puppet(*fields, **settings)
    client.wire.run(app.call.receive(), app.call.send({"type": "websocket.accept"}))
    return client, app


def receives(client: Client, app: Puppet) -> Any:
    """What the application's receive() returns now; it must not wait."""
    (task,) = client.wire.run(app.call.receive())
    assert task.done(), "receive() waits"
    return task.result()


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


class Echo:
    """ASGI application that sends back what it gets; `ends` are its websocket.disconnect messages."""

    def __init__(self) -> None:
        self.ends: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        self.ends.append(message)

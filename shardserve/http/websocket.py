"""An open WebSocket: messages both ways with bounds, keep-alive, the closing handshake (RFC 6455 sections 5.5 and 7).

It is an exchange whose two bodies do not end: below it is any wire that can `upgrade`, above it a gateway.

What the client sends is answered before what it did after it: its close, or the close for octets that break the rules,
leaves when the application has asked for more than the messages before it, or a moment later.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shardserve.errors import FrameError
from shardserve.http.connection import NEVER
from shardserve.http.deflate import Deflate
from shardserve.http.exchange import Exchange
from shardserve.http.frames import (
    ABNORMAL,
    BINARY,
    FAILED,
    PING,
    PONG,
    RESTART,
    FrameReader,
    close_frame,
    frame_head,
    read_close,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shardserve.http.exchange import Wire
    from shardserve.http.handshake import Handshake
    from shardserve.http.request import Request

_MESSAGES_MAX = 32  # messages that wait for the application before the client is held,
_HELD_MAX = 65536  # and their size in octets (characters, of text) from which on it is
_JOIN_MAX = 65536  # octets of a message that are copied to leave with their head in one write
_ANSWERS = 2.0  # seconds (the clock is coarse: 1 to 2) for what came before a close to be answered
_CLOSING = 10.0  # seconds for the client to answer our close


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """`max_size` in octets of a message, inflated; `ping_interval` and `ping_timeout` in seconds. 0 each: none.

    `deflate`: whether messages are compressed, from `deflate_threshold` octets on.
    """

    max_size: int = 16 * 1024**2
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    deflate: bool = False
    deflate_threshold: int = 1024


class WebSocket(Exchange):
    """A connection from its handshake to its end. `over` is the code and reason of that end as the application is told.

    Once it is set, nothing is sent any more for the application; messages that came before may still be taken.
    """

    __slots__ = (
        "_deflate",
        "_heard",
        "_held",
        "_last",
        "_messages",
        "_next_ping",
        "_owed",
        "_pong_by",
        "_reader",
        "_settings",
        "_until",
        "_upgraded",
        "_waiting",
        "over",
    )

    def __init__(self, wire: Wire, request: Request, settings: WebSocketSettings) -> None:
        self.wire = wire
        self.request = request
        self.gone = False
        self.slot = -1
        self._settings = settings
        self._upgraded = False
        self._reader: FrameReader | None = None
        self._deflate: Deflate | None = None
        self._messages: deque[str | bytes] = deque()
        self._waiting = 0  # their size
        self._held = False  # the client is held until they have been taken
        self._last: tuple[int, str] | None = None  # close to be sent once they have been answered
        self.over: tuple[int, str] | None = None
        self._until = NEVER  # how long that, or the client's answer to our close, may take
        # Keep-alive
        self._heard = False  # something has come since the last look
        self._next_ping = self._pong_by = NEVER
        self._owed: bytes | None = None  # what the newest ping held that has not been answered

    # The gateway's

    def news(self) -> None:
        """A message has come, or the end."""
        raise NotImplementedError

    def open(self, handshake: Handshake, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Accept the handshake. Raises ValueError or TypeError, with nothing sent, for fields that must not be sent."""
        settings = self._settings
        fields, extension = handshake.answer(subprotocol, headers, settings.deflate)
        if extension is not None:
            self._deflate = Deflate(extension, settings.deflate_threshold)
        self._reader = FrameReader(settings.max_size, self._deflate)
        self.wire.upgrade(self, fields)
        self._upgraded = True
        if settings.ping_interval:
            self._next_ping = self.wire.service.now + settings.ping_interval
            self.wire.wake(self, self._next_ping)

    def send_message(self, opcode: int, payload: bytes) -> None:
        """Send a message; not once it is `over`."""
        compressed = False
        if self._deflate is not None:
            payload, compressed = self._deflate.deflate(opcode, payload)
        head = frame_head(opcode, len(payload), compressed)
        if len(payload) <= _JOIN_MAX:
            self.wire.write(self, head + payload, True)
        else:
            self.wire.write(self, head, True)
            self.wire.write(self, payload, True)

    def take(self) -> str | bytes | None:
        """The next message that has come; None if there is none now, or, `over` being set, no more at all."""
        if not self._messages:
            if self._last is not None:
                self._conclude()
            return None
        message = self._messages.popleft()
        self._waiting -= len(message)
        if self._held and not self._messages:
            # In a turn of its own: what waits in the reader may be many messages, and other connections have theirs.
            service = self.wire.service
            service.loop.call_soon(self._read, context=service.context)
        return message

    def close(self, code: int, reason: str) -> None:
        """Close from our side, unless that has begun from the other. Raises ValueError for a code not to be sent."""
        octets = close_frame(code, reason)
        if self._last is not None:
            self._conclude()
        elif self.over is None:
            self.over = (code, reason)
            self.wire.write(self, octets, True)
            self._wait_at_most(_CLOSING)
            self._read()  # on to the client's close, past what waits to be read

    # From the wire

    def feed(self, data: bytes) -> None:
        """See Exchange.feed: octets of frames."""
        reader = self._reader
        assert reader is not None  # the wire feeds only after the upgrade
        self._heard = True
        if self._last is None and not self.gone:
            reader.feed(data)
            if not self._held:
                self._read()

    def lost(self) -> None:
        """See Exchange.lost."""
        if self.over is None:
            self.over = self._last or (ABNORMAL, "")
        self._last = None
        self._until = NEVER
        self.news()

    def hung_up(self) -> None:
        """See Exchange.hung_up: before the handshake is answered. Nobody asks for a WebSocket and ends their side."""
        self.wire.abort(self)
        self.gone = True
        self.lost()

    def is_streaming(self) -> bool:
        """See Exchange.is_streaming."""
        return self._upgraded and self.over is None

    def dismiss(self) -> None:
        """See Exchange.dismiss: close with 1012."""
        if self.is_streaming():
            self.close(RESTART, "")
            self.news()

    def look(self, now: float) -> None:
        """See Exchange.look."""
        if now >= self._until:
            if self._last is not None:
                self._conclude()
                self.news()
            elif not self.gone:
                self._finish(b"")
            return
        self.wire.wake(self, self._until)
        if self.over is None:
            self._keep_alive(now)

    # Reading

    def _read(self) -> None:
        """Take what has come, up to the bounds."""
        reader = self._reader
        if reader is None or self.gone or self._last is not None:
            return
        held, self._held = self._held, False
        messages = self._messages
        try:
            while self.over is not None or (len(messages) < _MESSAGES_MAX and self._waiting < _HELD_MAX):
                event = reader.read()
                if event is None:
                    break
                kind, payload = event
                if kind <= BINARY:
                    if self.over is None:
                        messages.append(payload)
                        self._waiting += len(payload)
                elif kind != PONG:
                    assert isinstance(payload, bytes)
                    if kind == PING:
                        self._pong(payload)
                    else:
                        self._settle(*read_close(payload))
                        break
            else:
                # Not for nothing: to stop and to go on reading costs more than the message, if it is taken at once.
                self._held = reader.has_more()
        except FrameError as error:
            self._settle(error.code, error.reason)
        if self._held:
            self.wire.hold()
        elif held:
            self._heard = True  # it may have answered a ping meanwhile
            self.wire.release()
        if messages or self._last is not None:
            self.news()

    def _settle(self, code: int, reason: str) -> None:
        """The client has closed, or must be closed: at once if ours was the first close, else when all is answered."""
        if self.over is not None:
            self._finish(b"")
        else:
            self._last = (code, reason)
            self._wait_at_most(_ANSWERS)

    def _conclude(self) -> None:
        """Answer the client's close with its own code (section 5.5.1), or fail the connection."""
        assert self._last is not None
        self.over, self._last = self._last, None
        self._finish(close_frame(*self.over))

    def _finish(self, octets: bytes) -> None:
        """Send the last octets; the connection is over. The server is the first to close it (section 7.1.1)."""
        self._until = NEVER
        self.gone = True
        self.wire.write(self, octets, False)

    def _wait_at_most(self, seconds: float) -> None:
        self._until = self.wire.service.now + seconds
        self.wire.wake(self, self._until)

    # Keep-alive

    def _pong(self, payload: bytes) -> None:
        """Answer a ping; only the newest (section 5.5.3) of a client that does not read, once it does."""
        if self.over is not None:
            return
        if self.wire.paused is not None:
            self._owed = payload
        else:
            self.wire.write(self, frame_head(PONG, len(payload)) + payload, True)

    def _keep_alive(self, now: float) -> None:
        """Ping at the interval; anything that comes is a sign of life, and of one who is held none can come."""
        if self._owed is not None:
            owed, self._owed = self._owed, None
            self._pong(owed)
        if self._heard or self._held:
            self._heard = False
            self._pong_by = NEVER
        if now >= self._pong_by:
            self.over = (FAILED, "keep-alive ping timeout")
            self.wire.write(self, close_frame(*self.over), True)
            self.gone = True
            self.wire.abort(self)  # without waiting: nobody is there
            self.news()
            return
        if now >= self._next_ping:
            self._next_ping = now + self._settings.ping_interval
            self.wire.write(self, frame_head(PING, 0), True)
            if self._settings.ping_timeout and self._pong_by == NEVER:
                self._pong_by = now + self._settings.ping_timeout
        self.wire.wake(self, min(self._next_ping, self._pong_by))

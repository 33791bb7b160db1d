"""The contract between a protocol (the wire) and a gateway (the exchange): these two classes and nothing else.

    wire -> exchange    start()   feed(data)   end()   hung_up()   lost()   is_streaming()   dismiss()   cancel()
                        look(now)
    exchange -> wire    respond(...)   write(...)   send_file(...)   trail(...)   inform(...)   abort(...)   refuse(...)
                        paused   hold()   release()   upgrade(...)   wake(...)   move(...)

A wire implements one HTTP version on one connection (later: one stream of HTTP/2 is a wire as well). An exchange is one
request and its response; gateways subclass it. All of it happens on the worker's loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from shardserve.errors import ProtocolError
    from shardserve.http.files import FilePart
    from shardserve.http.head import CheckedHead
    from shardserve.http.request import Request
    from shardserve.http.service import Service

    # Passes a connection on: its descriptor, the octets read from it, when the request in them must have been answered
    # (infinity: whenever), whether other processes may hold copies of it. False if it cannot.
    Give = Callable[[int, bytes, float, bool], bool]


# Calls of an application for one connection that may go on at once. An application that works on after its responses
# would otherwise be given more and more to do by a client that does not wait either. (gunicorn's number.)
CALLS_MAX = 16
HELD_MAX = 65536  # octets of a body that the application has not taken, beyond which the client is held (Wire.hold)


class Exchange:
    """One request and its response. `request` is the parsed head; `gone` is set once the client has left.

    `slot` is its place in the black box while the application's code runs, else -1. There is no __init__: to make an
    object without arguments, and have a method of its class fill it (`open`), costs half.
    """

    __slots__ = ("gone", "request", "slot", "wire")

    wire: Wire
    request: Request
    gone: bool
    slot: int

    def start(self) -> None:
        """Begin: called once, after the part of the body that came with the head has been fed."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Take the next octets of the request body, or, once upgraded, of the connection; never called with nothing."""
        raise NotImplementedError

    def end(self) -> None:
        """The request body is complete; called once, not where there is none (`request.length` is 0)."""
        raise NotImplementedError

    def hung_up(self) -> None:
        """The client has ended its side after a complete request: it is gone, or still reads (RFC 9112, 9.6)."""
        raise NotImplementedError

    def lost(self) -> None:
        """The connection is gone before the response was complete; no verb of the wire has any effect from now on."""
        raise NotImplementedError

    def is_streaming(self) -> bool:
        """Whether the response has begun, is not complete, and the application could be told to end it (`dismiss`)."""
        raise NotImplementedError

    def dismiss(self) -> None:
        """The graceful timeout is nearly over: tell the application to end."""
        raise NotImplementedError

    def cancel(self) -> None:
        """The graceful timeout or the request's own is over: end the application's work, if it can be ended."""
        raise NotImplementedError

    def look(self, now: float) -> None:
        """For one that has upgraded: it is `now`, a time that it asked for (`Wire.wake`) or another."""
        raise NotImplementedError


class Gateway:
    """One per worker: what all exchanges of it share, and how one is opened."""

    def open(self, wire: Wire, request: Request) -> Exchange:
        """Open the exchange for a request. Raises ProtocolError for one that is not to be served."""
        raise NotImplementedError


class Wire:
    """What an exchange may ask of its connection. Calls for an exchange that is no longer the current one do nothing.

    `paused` is None while the client keeps up, else a future that is done once the client has read enough. `client`
    and `server` are (host, port) or None, `scheme` is "http" or "https". `calls` counts the application's calls for
    this connection that have not returned, also those that are answered: exchanges that go on then keep it up to date.
    `memo` is the gateway's: what it has made of the connection, None before.
    """

    __slots__ = ("calls", "memo")

    service: Service
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str
    paused: asyncio.Future[None] | None
    moved: bool
    calls: int
    memo: object

    def respond(
        self,
        exchange: Exchange,
        status: int,
        headers: Iterable[tuple[bytes, bytes]] | CheckedHead,
        body: bytes,
        more: bool,
    ) -> None:
        """Send the head of the response with the first octets of its body; `more` says that `write` will follow.

        Raises ValueError or TypeError, with nothing sent, if the head is not one that may be sent.
        """
        raise NotImplementedError

    def write(self, exchange: Exchange, body: bytes, more: bool) -> None:
        """Send further octets of the body; with `more` false the response is complete."""
        raise NotImplementedError

    def overrun(self, exchange: Exchange) -> None:
        """Log that more than the declared length was to be sent, behind a complete response, and close as `write` does.

        It may be asked for although the exchange is no longer the current one.
        """
        raise NotImplementedError

    def send_file(self, exchange: Exchange, part: FilePart, more: bool) -> None:
        """Send octets of a file as further octets of the body, and close the part; `paused` is set until it has left.

        Of a part without a count as much is sent as a declared length has room for. What is asked for meanwhile waits.
        """
        raise NotImplementedError

    def trail(self, exchange: Exchange, headers: list[tuple[bytes, bytes]]) -> None:
        """Complete the response with trailer fields; they are dropped where the client or the framing takes none.

        Raises ValueError or TypeError, with nothing sent, if they are not ones that may be sent.
        """
        raise NotImplementedError

    def inform(self, exchange: Exchange, status: int, headers: Iterable[tuple[bytes, bytes]] | CheckedHead) -> None:
        """Send an interim (1xx) response."""
        raise NotImplementedError

    def abort(self, exchange: Exchange) -> None:
        """End a response that cannot be completed so that the client can tell it was cut."""
        raise NotImplementedError

    def refuse(self, exchange: Exchange, error: ProtocolError) -> None:
        """Answer the request with an error status of the server's own, if its answer has not begun, and close."""
        raise NotImplementedError

    def upgrade(self, exchange: Exchange, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Answer that this is a WebSocket from now on: all octets are the exchange's (`feed`, `write`).

        There are no deadlines but those that it asks for (`wake`). A `write` with `more` false ends the connection,
        once the client has got what was written. Raises ValueError or TypeError, with nothing sent, for fields that
        must not be sent.
        """
        raise NotImplementedError

    def wake(self, exchange: Exchange, at: float) -> None:
        """Call `look` at this time of the service's clock, or a little later; an earlier time asked for stays."""
        raise NotImplementedError

    def move(self, exchange: Exchange, give: Give) -> bool:
        """Let another worker serve this request, and the connection from then on, if `give` can pass it on.

        For an exchange that has not answered; what has come of its body goes along. True: it is not the current one any
        more. `moved` says that the request came here like that.
        """
        raise NotImplementedError

    def returned(self) -> None:
        """One of CALLS_MAX calls has returned: the next request need not wait any more."""
        raise NotImplementedError

    def count_waiting(self) -> int:
        """Octets that were asked to be sent and have not left: the client does not keep up, or the loop is to turn."""
        raise NotImplementedError

    def hold(self) -> None:
        """Stop reading the request body: the application does not keep up."""
        raise NotImplementedError

    def release(self) -> None:
        """Read the request body again."""
        raise NotImplementedError

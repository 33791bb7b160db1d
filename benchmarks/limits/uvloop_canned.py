"""The limit on uvloop: a protocol that answers each end of a request head with the same octets, and looks at nothing.

    python uvloop_canned.py PORT

A yardstick, not a server.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
    b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nHello, world!"
)


class Canned(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        heads = data.count(b"\r\n\r\n")
        self._write(ANSWER if heads == 1 else ANSWER * heads)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

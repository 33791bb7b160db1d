"""What the user asked to listen on: text such as "127.0.0.1:8000" becomes an Address. No socket is opened here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from shardserve.errors import ConfigError

_HOST_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]/]*))(?::(?P<port>\d+))?")

DEFAULT_PORT = 8000


@dataclass(frozen=True, slots=True)
class Address:
    """One thing to listen on.

    `kind` is "tcp" (`host` and `port`; port 0 lets the kernel choose), "unix" (`path`) or "fd" (`fd`, an inherited
    listening socket).
    """

    kind: Literal["tcp", "unix", "fd"]
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind == "fd":
            return f"fd://{self.fd}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL where it has one."""
        return f"http://{self}" if self.kind == "tcp" else str(self)


def parse_address(text: str) -> Address:
    """Read `HOST:PORT`, `HOST`, `:PORT`, `[IPV6]:PORT`, `unix:PATH`, `unix:@ABSTRACT` or `fd://N`.

    Raises ConfigError when the text is none of these.
    """
    if text.startswith("unix:"):
        path = text[5:].removeprefix("//")
        if not path:
            raise ConfigError(f"--bind: {text!r} names no path; write unix:/run/app.sock")
        return Address("unix", path=path)
    if text.startswith("fd://"):
        if not text[5:].isdecimal():
            raise ConfigError(f"--bind: {text!r} names no file descriptor; write fd://3")
        return Address("fd", fd=int(text[5:]))
    found = _HOST_PORT.fullmatch(text)
    if found is None or not text:
        raise ConfigError(f"--bind: {text!r} is not an address; write HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N")
    if text.isdecimal():
        raise ConfigError(f"--bind: {text!r} is a host without a port; for a port write :{text} or 127.0.0.1:{text}")
    port = int(found["port"]) if found["port"] is not None else DEFAULT_PORT
    if port > 65535:
        raise ConfigError(f"--bind: the port of {text!r} is above 65535")
    host = found["six"] or found["host"] or "0.0.0.0"  # noqa: S104 ":8000" means every interface, as everywhere
    return Address("tcp", host=host, port=port)

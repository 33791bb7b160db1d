"""Listening sockets: N SO_REUSEPORT sockets of one TCP address, or one shared socket where sharding is impossible.

The supervisor calls `bind` once and holds what it returns for its whole life, so that no reload and no crash of a
worker closes an accept queue with connections in it. Nothing here accepts.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shardserve.errors import BindError
from shardserve.net.address import Address, parse_address
from shardserve.net.keepalive import probe_silent_clients
from shardserve.net.owner import describe_port_owner, describe_unix_owner

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket. `sharded` says that it is one worker's own; else all workers accept from it."""

    socket: socket.socket
    sharded: bool


@dataclass(frozen=True, slots=True)
class ShardGroup:
    """All listeners of one address: one a shard where `sharded`, else a single one that every shard shares.

    `address` is the address in force (the port is the kernel's choice where 0 was asked for), `asked` the text that it
    stands for in the configuration.
    """

    address: Address
    sockets: list[socket.socket]
    sharded: bool
    unlink: tuple[int, int] | None = None  # (device, inode) of a unix socket's path that is ours to remove
    asked: str = ""

    def prepare(self, shards: int) -> list[socket.socket]:
        """Bind as many sockets as there are too few for `shards`; nobody connects to one before `join`.

        So what takes descriptors is over before anybody could be lost. Raises BindError, with nothing left bound.
        """
        made: list[socket.socket] = []
        try:
            while self.sharded and len(self.sockets) + len(made) < shards:
                made.append(_bind_another(self.sockets[0]))
        except OSError as error:
            for sock in made:
                sock.close()
            raise _explain(self.address, error) from None
        return made

    def join(self, prepared: list[socket.socket], backlog: int) -> None:
        """Listen with these as well. Raises BindError; then they are not among `sockets`, and to be closed."""
        try:
            for sock in prepared:
                sock.listen(backlog)
        except OSError as error:
            raise _explain(self.address, error) from None
        self.sockets.extend(prepared)

    def inodes(self) -> list[int]:
        """What tells its sockets from others, in whatever process (fstat(2))."""
        return [os.fstat(sock.fileno()).st_ino for sock in self.sockets]

    def listener(self, shard: int) -> Listener:
        """The listener that the worker of `shard` (0-based) accepts from."""
        return Listener(self.sockets[shard if self.sharded else 0], self.sharded)

    def close(self) -> None:
        """Close this process's copies: the real end of the listeners once no worker holds one."""
        for sock in self.sockets:
            sock.close()

    def remove_path(self) -> None:
        """Unlink the path of a unix socket, if it is still the one that was bound here."""
        if self.unlink is None:
            return
        with suppress(OSError):
            found = os.stat(self.address.path)
            if (found.st_dev, found.st_ino) == self.unlink:
                Path(self.address.path).unlink()


def bind_all(
    texts: Iterable[str],
    shards: int,
    backlog: int,
    owner: tuple[int, int] = (-1, -1),
    umask: int | None = None,
    *,
    sharded: bool = True,
) -> list[ShardGroup]:
    """Listen on every address of a configuration; the rest is as for `bind`.

    Raises ConfigError or BindError, with nothing left bound.
    """
    addresses = [(text, parse_address(text)) for text in texts]
    groups: list[ShardGroup] = []
    try:
        for text, address in addresses:
            bound = bind(address, shards, backlog, owner, umask, sharded=sharded)
            groups += [replace(group, asked=text) for group in bound]
    except BindError:
        close_all(groups)
        raise
    return groups


def close_all(groups: Iterable[ShardGroup]) -> None:
    """Close this process's copies of all listeners and remove the paths that are ours."""
    for group in groups:
        group.close()
        group.remove_path()


def bind(
    address: Address,
    shards: int,
    backlog: int,
    owner: tuple[int, int] = (-1, -1),
    umask: int | None = None,
    *,
    sharded: bool = True,
) -> list[ShardGroup]:
    """Listen on `address` with `shards` sockets where the kernel can shard it; a host name may give several groups.

    `backlog` is the queue limit of each socket, in connections. `owner` (uid, gid; -1 = leave) and `umask` apply to the
    path of a unix socket. Without `sharded` it is one socket for all shards everywhere. Raises BindError.
    """
    if address.kind == "unix":
        return [_bind_unix(address, backlog, owner, umask)]
    if address.kind == "fd":
        return [_inherit(address, backlog)]
    return _bind_tcp(address, shards if sharded else 1, backlog, sharded)


def queue_length(listener: socket.socket) -> int:
    """How many connections wait to be accepted from a TCP listener; 0 where the kernel does not tell.

    tcp(7), TCP_INFO: of a listening socket, tcpi_unacked is the length of its accept queue (measured: 2.5 us a call).
    """
    if sys.platform != "linux":
        return 0
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return int(struct.unpack_from("=I", info, 24)[0])


def _bind_tcp(address: Address, shards: int, backlog: int, sharded: bool) -> list[ShardGroup]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise BindError(f"cannot bind {address}: {error.strerror}") from None
    places = list(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found))
    groups: list[ShardGroup] = []
    missing: OSError | None = None
    try:
        for family, sockaddr in places:
            try:
                groups.append(_bind_shards(family, sockaddr, shards, backlog, sharded))
            except OSError as error:
                # A name such as localhost may stand for a family this machine lacks: the other one will do.
                if error.errno != errno.EADDRNOTAVAIL or len(places) == 1:
                    raise
                missing = error
    except OSError as error:
        for group in groups:
            group.close()
        raise _explain(address, error) from None
    if missing is not None and not groups:
        raise _explain(address, missing)
    return groups


def _bind_shards(family: int, sockaddr: tuple[object, ...], shards: int, backlog: int, sharded: bool) -> ShardGroup:
    """Bind exclusive-first: shard 0 without SO_REUSEPORT, the option set afterwards, then the rest join it.

    So exactly one of several servers started at once wins, and a stranger's SO_REUSEPORT listener is noticed instead of
    silently shared with (docs/decisions/0001).
    """
    sockets = [_bind(family, sockaddr, joins=False)]
    try:
        sockets[0].listen(backlog)
        while len(sockets) < shards:
            sockets.append(_bind_another(sockets[0]))
            sockets[-1].listen(backlog)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    host, port = sockets[0].getsockname()[:2]
    return ShardGroup(Address("tcp", host=host, port=port), sockets, sharded)


def _bind_another(first: socket.socket) -> socket.socket:
    """Bind one more to the address of a listener. Raises OSError."""
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return _bind(first.family, first.getsockname(), joins=True)


def _bind(family: int, sockaddr: tuple[object, ...], *, joins: bool) -> socket.socket:
    """One bound TCP socket. Raises OSError, with nothing left open."""
    # With its protocol named: asyncio looks at it before it sets TCP_NODELAY on what is accepted from here (where the
    # transports are the loop's).
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # On all of them, or TIME_WAITs block the next exclusive start.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sockaddr[0] != "::"))
        if joins:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _hand_down(sock)
        sock.bind(sockaddr)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _hand_down(sock: socket.socket) -> None:
    """Options of a TCP listener which are those of what is accepted from it, too (Linux: tcp(7)). Raises OSError."""
    probe_silent_clients(sock)
    # A piece of a response must not wait until the client has acknowledged the one before (RFC 9293 section 3.7.4).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _explain(address: Address, error: OSError) -> BindError:
    if error.errno == errno.EADDRINUSE:
        owner = describe_port_owner(address.port)
        by = f" by {owner}" if owner else ""
        return BindError(f"cannot bind {address}: the port is taken{by}; stop it or choose another --bind")
    if error.errno == errno.EACCES:
        return BindError(f"cannot bind {address}: ports below 1024 need root or CAP_NET_BIND_SERVICE")
    if error.errno == errno.EADDRNOTAVAIL:
        return BindError(f"cannot bind {address}: this machine has no such address")
    return BindError(f"cannot bind {address}: {error.strerror}")


def _bind_unix(address: Address, backlog: int, owner: tuple[int, int], umask: int | None) -> ShardGroup:
    abstract = address.path.startswith("@")
    if not abstract:
        _remove_stale(address)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_umask = os.umask(umask) if umask is not None else None
    try:
        sock.bind("\0" + address.path[1:] if abstract else address.path)
        sock.listen(backlog)
        sock.setblocking(False)
        if abstract:
            return ShardGroup(address, [sock], False)
        if owner != (-1, -1):
            os.chown(address.path, *owner)
        made = os.stat(address.path)
    except OSError as error:
        sock.close()
        raise BindError(f"cannot bind {address}: {error.strerror}") from None
    finally:
        if old_umask is not None:
            os.umask(old_umask)
    return ShardGroup(address, [sock], False, unlink=(made.st_dev, made.st_ino))


def _remove_stale(address: Address) -> None:
    """Remove the socket file of a server that is gone; raise BindError if one still answers or it is no socket."""
    try:
        mode = os.stat(address.path).st_mode
    except OSError:
        return  # nothing there (or not to be seen: bind will say so)
    if not stat.S_ISSOCK(mode):
        raise BindError(f"cannot bind {address}: the path exists and is not a socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address.path)
        except ConnectionRefusedError:
            Path(address.path).unlink(missing_ok=True)
            return
        except OSError as error:
            raise BindError(f"cannot bind {address}: {error.strerror}") from None
        raise BindError(
            f"cannot bind {address}: {describe_unix_owner(probe)} listens there; stop it or choose another --bind"
        )


def _inherit(address: Address, backlog: int) -> ShardGroup:
    copy = -1
    try:
        copy = os.dup(address.fd)
        sock = socket.socket(fileno=copy)
    except OSError as error:
        if copy != -1:
            os.close(copy)
        raise BindError(f"cannot use {address}: {error.strerror}; is the socket passed to this process?") from None
    if sys.platform == "linux" and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        try:
            sock.listen(backlog)
        except OSError as error:
            sock.close()
            raise BindError(f"cannot use {address}: not a listening stream socket ({error.strerror})") from None
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        _hand_down(sock)
    sock.setblocking(False)
    return ShardGroup(address, [sock], False)

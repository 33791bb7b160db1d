"""What both gateways make of a request's target and peer: decoded path, root path, the client behind proxies."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shardserve.http.exchange import Wire
    from shardserve.http.request import Request

Peer = tuple[str, int] | None


# What X-Forwarded-Proto may say; some proxies name a WebSocket's own schemes.
_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_PERCENT = ord("%")  # to be looked for as a number: CPython's `bytes in bytes` raises and drops a TypeError first


def decode_path(path: bytes) -> bytes:
    """Percent-decode the path of a target; what the octets mean is left to the gateway."""
    return unquote_to_bytes(path) if _PERCENT in path else path


def split_root(path: str, root_path: str) -> tuple[str, str]:
    """Split a path into (root path, rest), so that `root path + rest` is the path as the client knows it.

    A proxy may pass the prefix on or strip it: a path that begins with the root path (at a "/") is taken to hold it.
    """
    if not path.startswith("/"):
        return "", path  # the target "*" of OPTIONS
    if root_path and (path == root_path or path.startswith(root_path + "/")):
        return root_path, path[len(root_path) :]
    return root_path, path


class TrustedProxies:
    """Which peers may say, by X-Forwarded-For and X-Forwarded-Proto, who the client is and how it came."""

    def __init__(self, allowed: Iterable[str], mount: bool = False) -> None:
        """`allowed` are addresses, networks (CIDR) or "*" for every peer; a unix-socket peer is always trusted.

        With `mount` they may say by SCRIPT_NAME where the application is mounted.
        """
        allowed = tuple(allowed)
        self._everyone = "*" in allowed
        self._networks = [ipaddress.ip_network(item, strict=False) for item in allowed if item != "*"]
        self._known: dict[str, bool] = {}
        self._mount = mount

    def trusts(self, peer: Peer) -> bool:
        """Whether this peer's word is taken."""
        if peer is None or self._everyone:
            return True
        known = self._known.get(peer[0])
        return self._look_up(peer[0]) if known is None else known

    def _look_up(self, host: str) -> bool:
        known = self._is_among(host)
        if len(self._known) < 1024:
            self._known[host] = known
        return known

    def _is_among(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False  # "unknown", or an obfuscated name
        mapped = getattr(address, "ipv4_mapped", None)  # a dual-stack listener names IPv4 peers so
        return any((mapped or address) in network for network in self._networks)

    def root_path(self, wire: Wire, request: Request, configured: str) -> str:
        """Where the application is mounted, as far as the peer is trusted to say so."""
        if request.ambiguous and self._mount and self.trusts(wire.client):
            said = request.field(b"script_name")
            if said is not None and (not said or said.startswith(b"/")):
                return said.decode("latin-1").rstrip("/")
        return configured

    def resolve(self, wire: Wire, request: Request) -> tuple[Peer, str]:
        """The client and the scheme of a request, as far as trusted peers vouch for them."""
        client, scheme = wire.client, wire.scheme
        if not request.forwarded or not self.trusts(client):
            return client, scheme
        hops: list[bytes] = []
        for name, value in request.headers:
            if name == b"x-forwarded-for":
                hops += value.split(b",")
            elif name == b"x-forwarded-proto":
                scheme = _SCHEMES.get(value.split(b",")[-1].strip().lower(), scheme)
        # Each proxy appends who it was called by: walk back from the nearest until one we do not trust.
        for hop in reversed(hops):
            host = _bare_host(hop.strip().decode("latin-1"))
            if not host:
                break
            client = (host, 0)
            if not self.trusts(client):
                break
        return client, scheme


def _bare_host(hop: str) -> str:
    """A hop without its port: "[::1]:80" and "1.2.3.4:80" are seen in the wild."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop

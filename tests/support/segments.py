"""TCP segments made by hand (RFC 791 section 3.1, RFC 9293 section 3.1): from hosts that are not there."""

from __future__ import annotations

import socket
import struct

SYN, ACK = 0x02, 0x10
_SYN_ACK = SYN | ACK


def segment(source: tuple[str, int], target: tuple[str, int], flags: int) -> bytes:
    """An IPv4 packet with a TCP segment without data."""
    from_octets, to_octets = socket.inet_aton(source[0]), socket.inet_aton(target[0])
    tcp = struct.pack("!HHIIBBHHH", source[1], target[1], 1, 1 if flags & ACK else 0, 5 << 4, flags, 65535, 0, 0)
    pseudo = from_octets + to_octets + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp))
    tcp = tcp[:16] + _checksum(pseudo + tcp) + tcp[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, socket.IPPROTO_TCP, 0) + from_octets + to_octets
    return head[:10] + _checksum(head) + head[12:] + tcp


def is_syn_ack(packet: bytes) -> bool:
    """Whether an IPv4 packet is the second one of a handshake."""
    start = (packet[0] & 15) * 4
    return packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_TCP and packet[start + 13] == _SYN_ACK


def _checksum(octets: bytes) -> bytes:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)

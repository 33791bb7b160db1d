"""Ordinary heads in one pass over their octets: compiled, several times as fast as splitting them into lines.

It decides nothing: a head that it takes is one that request.py and any parser would take, with the same result, and all
others, refused or only rare ones, are left to them. `tests/unit/test_scanner.py` holds it to that. In plain Python, where
each octet costs as much as a whole split, it is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.http.request import CONNECTIONS, KNOWN_HOSTS
from shardserve.http.request_line import METHODS, TARGET_OCTETS

if TYPE_CHECKING:
    from shardserve.http.request import Limits, Request

_TOKEN = b"!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # "_" is for request.py to judge
# Tables of 256 octets. Of a field name: what it becomes, 0 for one that ends it.
_LOWER = bytes(octet if octet in _TOKEN else 0 for octet in range(256)).lower()
# Of a target and of a value: 1 for one that belongs to it.
_TARGET = bytes(int(octet in TARGET_OCTETS and octet != ord("?")) for octet in range(256))
_VALUE = bytes(int(octet == 0x09 or 0x20 <= octet < 0x7F or octet >= 0x80) for octet in range(256))
_NAME_MAX = 64  # octets; longer names are not ordinary
_LINE_END = b" HTTP/1.1\r\n"
_COLON, _CR, _LF, _SPACE, _TAB, _SLASH, _QUESTION = b":\r\n \t/?"
_CLENGTH, _CONN, _HOST, _EXPECT, _TE, _FOR, _PROTO = (
    b"content-length",
    b"connection",
    b"host",
    b"expect",
    b"transfer-encoding",
    b"x-forwarded-for",
    b"x-forwarded-proto",
)
_FIRST_C, _FIRST_E, _FIRST_H, _FIRST_T, _FIRST_X = b"cehtx"


# The compiled form of this file is what makes it worth its while.
COMPILED = not __file__.endswith((".py", ".pyc"))


class Scanner:
    """One per worker."""

    __slots__ = ("_name",)

    def __init__(self) -> None:
        self._name = bytearray(_NAME_MAX)  # the name that is being read

    def scan(self, head: bytes, request: Request, limits: Limits) -> bool:
        """Read a whole head, up to and with its empty line, into the request, if it is an ordinary one; else false.

        Ordinary is: a method of METHODS, a target that is a path, HTTP/1.1, fields with tokens for names and no underscore
        in them, a host that is known, a body, if any, of declared length, nothing that is expected, nothing over a limit.
        """
        octets, lower, in_target, in_value, name_octets = head, _LOWER, _TARGET, _VALUE, self._name
        size = len(head)
        if size > limits.least:
            return False
        # No index runs over the end: each loop stops at a CR or LF, and there are two of each at the end of a head.
        at = 0
        while octets[at] > _SPACE:
            at += 1
        method = METHODS.get(octets[:at])
        start = at + 1
        if method is None or octets[at] != _SPACE or octets[start] != _SLASH:
            return False
        at = start
        while in_target[octets[at]]:
            at += 1
        path = octets[start:at]
        query = b""
        if octets[at] == _QUESTION:
            start = at + 1
            at = start
            while in_target[octets[at]] or octets[at] == _QUESTION:
                at += 1
            query = octets[start:at]
        if at + 11 > size or octets[at : at + 11] != _LINE_END:
            return False
        at += 11
        headers: list[tuple[bytes, bytes]] = []
        host = connection = declared = None
        forwarded = False
        while octets[at] != _CR:
            length = 0
            octet = lower[octets[at]]
            first = octet
            while octet:
                if length == _NAME_MAX:
                    return False
                name_octets[length] = octet
                length += 1
                at += 1
                octet = lower[octets[at]]
            if octets[at] != _COLON or not length:
                return False
            name = b"" + name_octets[:length]  # bytes, of a bytearray as well
            at += 1
            while octets[at] == _SPACE or octets[at] == _TAB:
                at += 1
            start = at
            while in_value[octets[at]]:
                at += 1
            if octets[at] != _CR or octets[at + 1] != _LF:
                return False
            end = at
            at += 2
            while end > start and (octets[end - 1] == _SPACE or octets[end - 1] == _TAB):
                end -= 1
            value = octets[start:end]
            if first == _FIRST_H:
                if length == 4 and name == _HOST:
                    if host is not None:
                        return False
                    host = value
            elif first == _FIRST_C:
                if length == 10 and name == _CONN:
                    if connection is not None:
                        return False
                    connection = value
                elif length == 14 and name == _CLENGTH:
                    if declared is not None:
                        return False
                    declared = value
            elif first == _FIRST_X:
                if (length == 15 and name == _FOR) or (length == 17 and name == _PROTO):
                    forwarded = True
            elif (first == _FIRST_T and length == 17 and name == _TE) or (
                first == _FIRST_E and length == 6 and name == _EXPECT
            ):
                return False
            headers.append((name, value))
        if octets[at + 1] != _LF or at + 2 != size or len(headers) > limits.fields or host not in KNOWN_HOSTS:
            return False
        keep_alive = True
        if connection is not None:
            said = CONNECTIONS.get(connection)
            if said is None:
                return False
            keep_alive = not said[0]
        body = 0
        if declared is not None:
            if not declared.isdigit() or len(declared) > 18:
                return False
            body = int(declared)
            if body > limits.body > 0:
                return False
        request.method = method
        request.path = path
        request.query = query
        request.version = "1.1"
        request.headers = headers
        request.length = body
        request.keep_alive = keep_alive
        request.forwarded = forwarded
        request.expect_continue = request.ambiguous = request.upgrade = False
        return True

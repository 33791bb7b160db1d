"""Ordinary heads in one pass over their octets: compiled, several times as fast as splitting them into lines.

It decides nothing: a head that it takes is one that request.py and any parser would take, with the same result, and all
others, refused or only rare ones, are left to them. `tests/unit/test_scanner.py` holds it to that. In plain Python an
octet costs as much as a whole split: there it is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.http.request import CONNECTIONS, KNOWN_HOSTS
from shardserve.http.request_line import HTTP_1_1, METHODS, TARGET_OCTETS
from shardserve.native import holds

if TYPE_CHECKING:
    from shardserve.http.request import Limits, Request

_TOKEN = (
    b"!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # "_" is for request.py to judge
)
# Tables of 256 octets. Of a field name: what it becomes, 0 for one that ends it.
_LOWER = bytes(octet if octet in _TOKEN else 0 for octet in range(256)).lower()
# Of a target and of a value: 1 for one that belongs to it.
_TARGET = bytes(int(octet in TARGET_OCTETS and octet != ord("?")) for octet in range(256))
_VALUE = bytes(int(octet == 0x09 or 0x20 <= octet < 0x7F or octet >= 0x80) for octet in range(256))
_NAME_MAX = 64  # octets; longer names are not ordinary
_LINE_END = b" HTTP/1.1\r\n"
_G, _E, _T = b"GET"
_COLON, _CR, _LF, _SPACE, _TAB, _SLASH, _QUESTION = b":\r\n \t/?"
_FIRST_OF_SPECIAL = bytes(int(octet in b"cehtx") for octet in range(256))  # of the names that `_note` knows


# The compiled form of this file is what makes it worth its while.
COMPILED = not __file__.endswith((".py", ".pyc"))


class Scanner:
    """One per worker. No index leaves a head: each loop stops at a CR or LF, and there are two of each at its end."""

    __slots__ = ("_connection", "_declared", "_forwarded", "_host", "_name")

    def __init__(self) -> None:
        self._name = bytearray(_NAME_MAX)  # the name that is being read
        self._host: bytes | None = None
        self._connection: bytes | None = None
        self._declared: bytes | None = None  # Content-Length
        self._forwarded = False

    def scan(self, head: bytes, request: Request, limits: Limits) -> bool:
        """Read a whole head, up to and with its empty line, into the request, if it is an ordinary one; else false.

        Ordinary is: a method of METHODS, a target that is a path, HTTP/1.1, names that are tokens without underscores,
        a host that is known, a body, if any, of declared length, nothing that is expected, nothing over a limit.
        """
        if len(head) > limits.least:
            return False
        at = self.read_line(head, request)
        if at < 0 or not self._read_fields(head, at, request):
            return False
        if len(request.headers) > limits.fields or self._host not in KNOWN_HOSTS:
            return False
        request.keep_alive = True
        if self._connection is not None:
            said = CONNECTIONS.get(self._connection)
            if said is None:
                return False
            request.keep_alive = not said[0]
        request.length = 0
        if self._declared is not None:
            if not self._declared.isdigit() or len(self._declared) > 18:
                return False
            request.length = int(self._declared)
            if request.length > limits.body > 0:
                return False
        request.forwarded = self._forwarded
        request.expect_continue = request.ambiguous = request.upgrade = False
        return True

    def read_line(self, head: bytes, request: Request) -> int:
        """Read the request line of a whole head; returns where the first field begins, -1 if it is not ordinary."""
        octets, in_target = head, _TARGET
        at = 0
        if octets[0] == _G and octets[1] == _E and octets[2] == _T:
            at = 3
            method: str | None = "GET"
        else:
            while octets[at] > _SPACE:
                at += 1
            method = METHODS.get(octets[:at])
        start = at + 1
        if method is None or octets[at] != _SPACE or octets[start] != _SLASH:
            return -1
        at = start
        while in_target[octets[at]]:
            at += 1
        request.path = octets[start:at]
        request.query = b""
        if octets[at] == _QUESTION:
            start = at + 1
            at = start
            while in_target[octets[at]] or octets[at] == _QUESTION:
                at += 1
            request.query = octets[start:at]
        if not holds(head, at, _LINE_END):
            return -1
        request.method = method
        request.version = HTTP_1_1
        return at + 11

    def _read_fields(self, head: bytes, at: int, request: Request) -> bool:
        """The fields from there to the end; false if one is not ordinary."""
        octets, lower, in_value, name_octets = head, _LOWER, _VALUE, self._name
        headers: list[tuple[bytes, bytes]] = []
        self._host = self._connection = self._declared = None
        self._forwarded = False
        while octets[at] != _CR:
            length = 0
            octet = lower[octets[at]]
            while octet and length < _NAME_MAX:
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
            if _FIRST_OF_SPECIAL[name_octets[0]] and not self._note(name, value):
                return False
            headers.append((name, value))
        request.headers = headers
        return octets[at + 1] == _LF and at + 2 == len(head)

    def _note(self, name: bytes, value: bytes) -> bool:
        """Keep a field in mind that may mean something to us; false if that is not ordinary."""
        if name == b"host":
            again, self._host = self._host is not None, value
        elif name == b"connection":
            again, self._connection = self._connection is not None, value
        elif name == b"content-length":
            again, self._declared = self._declared is not None, value
        elif name in (b"x-forwarded-for", b"x-forwarded-proto"):
            again, self._forwarded = False, True
        else:
            again = name in (b"expect", b"transfer-encoding")
        return not again

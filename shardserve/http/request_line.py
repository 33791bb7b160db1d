"""The request line (RFC 9112 section 3): method, target and version, and what of them is served."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.grammar import TOKEN_PATTERN

if TYPE_CHECKING:
    from shardserve.http.request import Limits, Request

# Methods that are handed to the application: RFC 9110, PATCH (RFC 5789) and WebDAV with its relatives (the IANA method
# registry). Any other token is answered 501, whichever parser runs.
METHODS = {
    name: name.decode()
    for name in (
        b"GET HEAD POST PUT DELETE OPTIONS PATCH TRACE PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH REPORT "
        b"MKACTIVITY CHECKOUT MERGE ACL BIND REBIND UNBIND LINK UNLINK MKCALENDAR PURGE SUBSCRIBE UNSUBSCRIBE NOTIFY"
    ).split()
}

_VERSION = re.compile(rb"HTTP/(\d)\.\d")
HTTP_1_1 = "1.1"  # one object for all: compiled, what is the same object is compared at once
_VERSIONS = {b"HTTP/1.1": HTTP_1_1, b"HTTP/1.0": "1.0"}
# Section 3.2. The target is visible ASCII (RFC 3986 wants less; browsers send it all) without a fragment.
TARGET_OCTETS = bytes(octet for octet in range(0x21, 0x7F) if octet != ord("#"))
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)([/?].*)?", re.DOTALL)
_SLASH = ord("/")


def read_line(request: Request, line: bytes, limits: Limits) -> bytes | None:
    """Read method, target and version (section 3); return the authority of an absolute-form target."""
    try:
        word, target, version = line.split(b" ")
        # The usual ones first: to compare them costs less than to look them up.
        request.method = "GET" if word == b"GET" else METHODS[word]
        request.version = "1.1" if version == b"HTTP/1.1" else _VERSIONS[version]
    except (ValueError, KeyError):
        target = _read_unusual_line(request, line, limits)
    # Stripping costs less than looking for others with translate, which first makes a table, up to some 70 octets.
    if not target or target.lstrip(TARGET_OCTETS):
        raise ProtocolError(400, "malformed request target")
    authority = None
    if target[0] != _SLASH:  # origin-form, as nearly always
        authority, target = _read_special_target(request.method, target)
    request.path, _, request.query = target.partition(b"?")
    return authority


def _read_unusual_line(request: Request, line: bytes, limits: Limits) -> bytes:
    """Read a line of another version or method and return its target, or refuse it.

    RFC 9110 section 2.5: a higher minor version than 1.1 is served as 1.1, another major one is not.
    """
    check_method(line, limits)
    words = line.split(b" ")
    found = _VERSION.fullmatch(words[-1])
    if len(words) != 3 or found is None:
        raise ProtocolError(400, "malformed request line")
    if found[1] != b"1":
        raise ProtocolError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    request.method, request.version = words[0].decode(), _VERSIONS.get(words[2], HTTP_1_1)
    return words[1]


def _read_special_target(method: str, target: bytes) -> tuple[bytes | None, bytes]:
    """Absolute-form (section 3.2.2) and asterisk-form (3.2.4): the authority, if any, and the target as origin-form."""
    if target == b"*" and method == "OPTIONS":
        return None, target
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise ProtocolError(400, "malformed request target")
    rest = found[2] or b"/"
    return found[1], rest if rest.startswith(b"/") else b"/" + rest


def check_method(line: bytes, limits: Limits) -> None:
    """Refuse a request line, or the beginning of one, that starts with no method we serve. Raises ProtocolError.

    The verdict is that on the first octet that makes it none, so that it does not depend on how much has come.
    """
    word, space, _ = line.partition(b" ")
    if limits.any_method:
        if line and TOKEN_PATTERN.fullmatch(word) is None:
            raise ProtocolError(400, "malformed request line")
        if space and word == b"CONNECT":  # it asks for a tunnel, and its target has another form
            raise ProtocolError(501, "method not implemented")
    elif not (word in METHODS if space else _begins_method(word)):
        raise _wrong_method(word)


def _wrong_method(word: bytes) -> ProtocolError:
    wrong = next((end for end in range(1, len(word)) if not _begins_method(word[:end])), len(word))
    if TOKEN_PATTERN.fullmatch(word[:wrong]):
        return ProtocolError(501, "method not implemented")
    return ProtocolError(400, "malformed request line")


def _begins_method(word: bytes) -> bool:
    return any(method.startswith(word) for method in METHODS)

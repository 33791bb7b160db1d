"""Pieces of the HTTP grammar that rules about requests, bodies and responses share."""

from __future__ import annotations

import re

COMPILED = not __file__.endswith((".py", ".pyc"))

# RFC 9110 section 5.6.2: methods, field names and chunk extensions are tokens.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
TOKEN_PATTERN = re.compile(TOKEN)

CRLF = b"\r\n"
HEAD_END = b"\r\n\r\n"
_CR, _LF = CRLF


def find_head_end(data: bytes, start: int = 0) -> int:
    """Where the first empty line that ends a head begins, from `start` on; -1 if there is none.

    Compiled, by looking at one octet in four: a call of bytes.find costs more than most heads are long.
    """
    if not COMPILED:
        return data.find(HEAD_END, start)
    octets, at, size = data, start + 3, len(data)
    while at < size:
        octet = octets[at]  # the last of the four, if this is their place
        if octet == _LF:
            if octets[at - 1] == _CR and octets[at - 2] == _LF and octets[at - 3] == _CR:
                return at - 3
            at += 2
        elif octet == _CR:
            at += 1
        else:
            at += 4
    return -1


def split_list(value: bytes) -> list[bytes]:
    """The members of a list (RFC 9110 section 5.6.1), some perhaps empty."""
    return [member.strip(b" \t") for member in value.split(b",")]

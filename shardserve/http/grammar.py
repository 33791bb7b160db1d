"""Pieces of the HTTP grammar that rules about requests, bodies and responses share."""

from __future__ import annotations

import re

# RFC 9110 section 5.6.2: methods, field names and chunk extensions are tokens.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
TOKEN_PATTERN = re.compile(TOKEN)

CRLF = b"\r\n"


def split_list(value: bytes) -> list[bytes]:
    """The members of a list (RFC 9110 section 5.6.1), some perhaps empty."""
    return [member.strip(b" \t") for member in value.split(b",")]

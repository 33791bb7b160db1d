"""Pieces of the HTTP grammar that rules about requests, bodies and responses share."""

from __future__ import annotations

import re

# RFC 9110 section 5.6.2: methods, field names and chunk extensions are tokens.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
TOKEN_PATTERN = re.compile(TOKEN)

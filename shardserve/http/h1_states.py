"""Where an HTTP/1 connection stands, in numbers. A file of its own: so compiled files can have them as C numbers."""

from __future__ import annotations

# Where reading stands. READ: the request is complete, its answer is not; what comes now waits in the buffer. UPGRADED:
# all that comes is the exchange's.
HEAD, LENGTH, CHUNKED, READ, CLOSED, UPGRADED = range(6)
# How the body of the answer is delimited (RFC 9112 section 6.3). NOTHING: it must not have one.
TO_COME, BY_LENGTH, BY_CHUNKS, BY_CLOSE, NOTHING = range(5)

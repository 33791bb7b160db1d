"""RFC 9112 section 8: the client ends its side. What is complete is answered, what is cut is refused."""

from support.corpus import GET, POST, Seen, chunked, get, head, post, refused, served

S, HALF = "RFC 9112, 8", "RFC 9112, 9.6"
HEAD_CUTS = {
    "in the method": b"GE",
    "behind the request line": b"GET / HTTP/1.1\r\n",
    "in a name": b"GET / HTTP/1.1\r\nHo",
    "in a value": b"GET / HTTP/1.1\r\nHost: a",
    "before the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "in the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\r",
}
CHUNK_CUTS = {
    "before the first size": b"",
    "in a size": b"1",
    "behind a size": b"5\r\n",
    "in data": b"5\r\nhel",
    "behind data": b"5\r\nhello",
    "behind a chunk": b"5\r\nhello\r\n",
    "in the last chunk": b"5\r\nhello\r\n0",
    "behind the last chunk": b"5\r\nhello\r\n0\r\n",
    "in a trailer": b"5\r\nhello\r\n0\r\nX-A: b",
    "behind a trailer": b"5\r\nhello\r\n0\r\nX-A: b\r\n",
    "in the end": b"5\r\nhello\r\n0\r\n\r",
}

CASES = [
    served(HALF, "a complete request is answered", get(), ended=True),
    served(HALF, "and one with a body", post(b"Content-Length: 2", data=b"hi"), Seen("POST", body=b"hi"), ended=True),
    served(HALF, "and all of a pipeline", get() * 3, GET, GET, GET, ended=True),
    served(S, "nothing at all was asked", get() + b"\r\n", GET, ended=True),
    *(refused(S, f"a head cut {where}", octets, ended=True) for where, octets in HEAD_CUTS.items()),
    *(
        refused(S, f"a head cut {where}, behind a request", get() + octets, after=[GET], ended=True)
        for where, octets in HEAD_CUTS.items()
    ),
    *(
        refused(S, f"a body of {size} octets cut after two", post(b"Content-Length: %d" % size, data=b"he"), ended=True)
        for size in (3, 5, 2**32 + 5, 2**53)
    ),
    refused(S, "a body cut before it began", post(b"Content-Length: 5"), ended=True),
    *(refused(S, f"a body in chunks cut {where}", chunked(octets), ended=True) for where, octets in CHUNK_CUTS.items()),
    refused(
        S,
        "a cut body behind a whole one",
        post(b"Content-Length: 0") + post(b"Content-Length: 5", data=b"he"),
        after=[POST],
        ended=True,
    ),
    refused(S, "a cut body of HTTP/1.0", head(b"POST / HTTP/1.0", b"Content-Length: 5") + b"he", ended=True),
]

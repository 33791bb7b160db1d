"""RFC 9112 section 6 and RFC 9110 section 8.6: where the body ends. Any doubt is refused, and the connection closed."""

from support.corpus import POST, Seen, get, head, post, refused, served

LENGTH, CODING, BOTH, NONE = "RFC 9110, 8.6", "RFC 9112, 6.1", "RFC 9112, 6.3", "RFC 9112, 6.3"
HIDDEN = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
BAD_LENGTHS = [
    " ",
    "-1",
    "-5",
    "+5",
    "5.0",
    "5e0",
    "0x5",
    "0o5",
    "0b101",
    "5a",
    "a5",
    "a",
    "5 5",
    "5\t5",
    "5_0",
    "5;",
    "5;q=1",
    '"5"',
    "(5)",
    "5/5",
    "5:",
    "=5",
    "NaN",
    "inf",
    "True",
    "5%",
    "\\5",
    "5,",
    ",5",
    "5,5",
    "5, 5",
    "5,6",
    "5, 5, 5",
    "5,,5",
    ",",
    "9" * 19,
    "9" * 40,
    "9" * 4000,
    "0" * 30 + "5",
]
BAD_LENGTH_OCTETS = {
    "a NUL": b"5\0",
    "a VT": b"\x0b5",
    "a form feed": b"5\x0c",
    "a no-break space": b"5\xa0",
    "a superscript": b"\xb2",
    "Arabic digits": b"\xd9\xa5",
    "full-width digits": b"\xef\xbc\x95",
    "a CR": b"5\r",
    "an LF": b"5\n",
}
UNKNOWN_CODINGS = [
    "gzip",
    "deflate",
    "compress",
    "identity",
    "x",
    "xchunked",
    "chunkedx",
    "chunk",
    "chunked-",
    "x-chunked",
    '"chunked"',
    "'chunked'",
    "chunked;a",
    "chunked;q=1",
    "chunked/1",
    "chunked x",
    "x chunked",
    "chun ked",
    "chunked:",
    "(chunked)",
    "=chunked",
    "",
]
CODING_LISTS = [
    "gzip, chunked",
    "gzip,chunked",
    "chunked, gzip",
    "chunked, chunked",
    "chunked,chunked",
    "chunked, identity",
    "identity, identity, chunked",
    "gzip, identity, chunked",
    "chunked,",
    ",chunked",
    ", chunked",
    "chunked, ,",
    "identity;a, chunked",
    "identity",
    "x, chunked",
]
BAD_CODING_OCTETS = {
    "a NUL": b"chunked\0",
    "a VT before": b"\x0bchunked",
    "a VT behind": b"chunked\x0b",
    "a form feed": b"\x0cchunked",
    "DEL": b"chunked\x7f",
    "an LF": b"\nchunked",
    "a CR": b"chunked\r",
}
NOT_CHUNKED_OCTETS = {"a no-break space": b"chunked\xa0", "a dotless letter": b"\xc4\xb1dentity", "NEL": b"\x85chunked"}

CASES = [
    served(
        LENGTH,
        "a body of five octets",
        post(b"Content-Length: 5", data=b"hello"),
        Seen("POST", body=b"hello", fields={"content-length": b"5"}),
    ),
    served(LENGTH, "leading zeros", post(b"Content-Length: 0005", data=b"hello"), Seen("POST", body=b"hello")),
    served(
        LENGTH,
        "white space around the number",
        post(b"Content-Length: \t5 ", data=b"hello"),
        Seen("POST", body=b"hello"),
    ),
    served(LENGTH, "none", post(b"Content-Length: 0"), POST),
    served(
        LENGTH,
        "a body of 100,000 octets",
        post(b"Content-Length: 100000", data=b"x" * 100_000),
        Seen("POST", body=b"x" * 100_000),
    ),
    *(
        served(
            NONE,
            f"a body with {method}",
            head(f"{method} / HTTP/1.1".encode(), b"Content-Length: 2") + b"hi",
            Seen(method, body=b"hi"),
        )
        for method in ("GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "TRACE")
    ),
    served(
        NONE,
        "a request in the body of a GET stays there",
        get(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN,
        Seen(body=HIDDEN),
    ),
    served(NONE, "without any framing there is no body", post() + get(), POST, Seen()),
    refused(NONE, "and what comes then must be a request", post(data=b"hello"), 501, after=[POST]),
    refused(LENGTH, "an empty length", post(b"Content-Length:", data=b"hello")),
    *(
        refused(
            LENGTH, f"length {value[:20]!r} ({len(value)})", post(b"Content-Length: " + value.encode(), data=b"hello")
        )
        for value in BAD_LENGTHS
    ),
    *(
        refused(LENGTH, f"a length with {what}", post(b"Content-Length: " + value, data=b"hello"))
        for what, value in BAD_LENGTH_OCTETS.items()
    ),
    refused(BOTH, "two lengths that differ", post(b"Content-Length: 5", b"Content-Length: 6", data=b"hello!")),
    refused(BOTH, "two that are alike", post(b"Content-Length: 5", b"content-length: 5", data=b"hello")),
    refused(BOTH, "two, one of none", post(b"Content-Length: 0", b"Content-Length: 5", data=b"hello")),
    refused(BOTH, "the same the other way round", post(b"Content-Length: 5", b"Content-Length: 0", data=b"hello")),
    refused(BOTH, "a good length and a bad one", post(b"Content-Length: 5", b"Content-Length: x", data=b"hello")),
    refused(BOTH, "a bad length before a hidden request", post(b"Content-Length: x", data=HIDDEN)),
    # Transfer-Encoding
    *(
        served(
            CODING,
            f"coding {value}",
            post(b"Transfer-Encoding: " + value.encode(), data=CHUNKS),
            Seen("POST", body=b"hello"),
        )
        for value in ("chunked", "CHUNKED", "Chunked", "\tchunked \t", "identity, chunked")
    ),
    served(
        CODING, "the name in any case", post(b"tRANSFER-eNCODING: chunked", data=CHUNKS), Seen("POST", body=b"hello")
    ),
    served(CODING, "chunks with GET", get(b"Transfer-Encoding: chunked") + CHUNKS, Seen(body=b"hello")),
    served(
        CODING,
        "chunks in HTTP/1.2",
        head(b"POST / HTTP/1.2", b"Transfer-Encoding: chunked") + CHUNKS,
        Seen("POST", body=b"hello"),
    ),
    *(
        refused(
            CODING,
            f"coding {value!r} is none that is known",
            post(b"Transfer-Encoding: " + value.encode(), data=CHUNKS),
            501,
        )
        for value in UNKNOWN_CODINGS
    ),
    *(
        refused(CODING, f"codings {value!r}", post(b"Transfer-Encoding: " + value.encode(), data=CHUNKS), 501)
        for value in CODING_LISTS
        if value not in UNKNOWN_CODINGS
    ),
    *(
        refused(CODING, f"a coding with {what}", post(b"Transfer-Encoding: " + value, data=CHUNKS))
        for what, value in BAD_CODING_OCTETS.items()
    ),
    *(
        refused(CODING, f"a coding with {what}", post(b"Transfer-Encoding: " + value, data=CHUNKS), 501)
        for what, value in NOT_CHUNKED_OCTETS.items()
    ),
    *(
        refused(
            CODING,
            f"two coding fields, chunked and {other}",
            post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: " + other.encode(), data=CHUNKS),
        )
        for other in ("chunked", "identity", "gzip", "x", "")
    ),
    *(
        refused(
            CODING,
            f"two coding fields, {other} and chunked",
            post(b"Transfer-Encoding: " + other.encode(), b"Transfer-Encoding: chunked", data=CHUNKS),
        )
        for other in ("identity", "gzip", "x", "")
    ),
    refused(CODING, "chunks in HTTP/1.0", head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked") + CHUNKS),
    refused(
        CODING,
        "chunks in HTTP/1.0 that is kept",
        head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked", b"Connection: keep-alive") + CHUNKS,
    ),
    # Both
    *(
        refused(BOTH, f"length {length} and chunks, the {order} first", post(*fields, data=CHUNKS + HIDDEN))
        for length in (0, 5, 15, 10**17)
        for order, fields in (
            ("length", (b"Content-Length: %d" % length, b"Transfer-Encoding: chunked")),
            ("coding", (b"Transfer-Encoding: chunked", b"Content-Length: %d" % length)),
        )
    ),
    *(
        refused(
            BOTH,
            f"length and coding {value!r}",
            post(b"Content-Length: 5", b"Transfer-Encoding: " + value.encode(), data=b"hello"),
        )
        for value in ("identity", "gzip", "xchunked", "chunked, identity", "chunked,", "", "identity, chunked")
    ),
    refused(BOTH, "a bad length and chunks", post(b"Content-Length: x", b"Transfer-Encoding: chunked", data=CHUNKS)),
    refused(BOTH, "both with GET", get(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN),
    refused(
        BOTH,
        "both with HEAD",
        head(b"HEAD / HTTP/1.1", b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN,
    ),
    refused(
        BOTH, "both in HTTP/1.0", head(b"POST / HTTP/1.0", b"Content-Length: 5", b"Transfer-Encoding: chunked") + CHUNKS
    ),
    refused(
        BOTH,
        "two lengths and chunks",
        post(b"Content-Length: 5", b"Content-Length: 5", b"Transfer-Encoding: chunked", data=CHUNKS),
    ),
    refused(
        BOTH,
        "a length that Connection names is still one",
        post(b"Connection: Content-Length", b"Content-Length: 5", b"Transfer-Encoding: chunked", data=CHUNKS),
    ),
    served(
        "RFC 9110, 7.6.1",
        "a length that Connection names frames",
        post(b"Connection: Content-Length", b"Content-Length: 5", data=b"hello"),
        Seen("POST", body=b"hello"),
    ),
    served(
        "RFC 9110, 7.6.1",
        "a coding that Connection names frames",
        post(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked", data=CHUNKS),
        Seen("POST", body=b"hello"),
    ),
]

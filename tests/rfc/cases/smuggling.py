"""What one server reads as one request and another as two: every such message is refused, and what follows unread.

The names say which of two servers in a row would believe what (CL: the length, TE: the coding).
"""

from support.corpus import POST, Seen, chunked, get, head, post, refused, served

S = "RFC 9112, 11.2"
EVIL = head(b"GET /evil HTTP/1.1")
GPOST = b"0\r\n\r\nG"
LOOKALIKES = [
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding\x0b: chunked",
    b"Transfer-Encoding\0: chunked",
    b" Transfer-Encoding: chunked",
    b"\tTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\n x",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: \x0cchunked",
    b"Transfer-Encoding: chunked\x0b",
    b"Transfer-Encoding: chunked\0",
    b"Transfer Encoding: chunked",
    b"Transfer-Encoding:: chunked",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, x",
    b"Transfer-Encoding: x, chunked",
    b"Transfer-Encoding: 'chunked'",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: [chunked]",
    b"Transfer-Encoding: chu\0nked",
    b"Transfer-Encoding: chunke\xe4",
    b"Transfer-Encoding: =?iso-8859-1?B?Y2h1bmtlZA==?=",
    b"\xc3\xafTransfer-Encoding: chunked",
    b"Transfer\xadEncoding: chunked",
]
READ_AS_NOTHING = [  # other names altogether: the length is all there is
    b"Transfer-Encoding-: chunked",
    b"XTransfer-Encoding: chunked",
    b"Transfer_Encoding: chunked",
    b"Transfer.Encoding: chunked",
    b"Transfer-Encod: chunked",
    b"TE: chunked",
    b"Content-Encoding: chunked",
]

CASES = [
    refused(S, "CL.TE", post(b"Content-Length: 6", b"Transfer-Encoding: chunked", data=GPOST + EVIL)),
    refused(
        S, "TE.CL", post(b"Transfer-Encoding: chunked", b"Content-Length: 4", data=b"5c\r\n" + EVIL + b"\r\n0\r\n\r\n")
    ),
    refused(S, "CL.CL", post(b"Content-Length: 0", b"Content-Length: 6", data=GPOST)),
    refused(S, "CL.CL in one field", post(b"Content-Length: 0, 6", data=GPOST)),
    refused(S, "TE.TE", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow", data=GPOST + EVIL)),
    refused(S, "CL.0 by a coding of HTTP/1.0", head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked") + EVIL),
    *(refused(S, f"CL.TE by {name!r}", post(b"Content-Length: 6", name, data=GPOST + EVIL)) for name in LOOKALIKES),
    *(refused(S, f"TE.CL by {name!r}", post(name, b"Content-Length: 6", data=GPOST + EVIL)) for name in LOOKALIKES),
    *(
        served(
            S,
            f"{name!r} frames nothing",
            post(b"Content-Length: 6", name, data=GPOST) + get(),
            Seen("POST", body=GPOST),
            Seen(),
        )
        for name in READ_AS_NOTHING
    ),
    refused(S, "a chunk size that wraps round 32 bits", chunked(b"100000005\r\nhello\r\n0\r\n\r\n"), ended=True),
    refused(S, "a chunk size that wraps round 64 bits", chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    refused(
        S, "a length that wraps round 32 bits", post(b"Content-Length: 4294967301", data=b"hello" + EVIL), ended=True
    ),
    refused(
        S, "a length that wraps round 64 bits", post(b"Content-Length: 18446744073709551621", data=b"hello" + EVIL)
    ),
    refused(S, "a body of chunks that another server takes for none", chunked(b"x" + EVIL)),
    refused(
        S,
        "a length with GET that another server does not read",
        get(b"Content-Length: 5 ", b"Content-Length: 0") + EVIL,
    ),
    refused(S, "HEAD with both", head(b"HEAD / HTTP/1.1", b"Content-Length: 5", b"Transfer-Encoding: chunked") + EVIL),
    refused(S, "a request in a chunk extension", chunked(b"5;\nGET /evil HTTP/1.1\r\nhello\r\n0\r\n\r\n")),
    refused(S, "a request in a trailer", chunked(b"0\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n")),
    served(S, "a trailer that would frame does not", chunked(b"0\r\nContent-Length: 42\r\n\r\n") + get(), POST, Seen()),
    served(
        S, "a coding in a trailer does not", chunked(b"0\r\nTransfer-Encoding: chunked\r\n\r\n") + get(), POST, Seen()
    ),
    refused(S, "a request line with another one in it", b"GET /a HTTP/1.1\rGET /evil HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused(S, "a target with line ends", b"GET /a\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n"),
    served(
        S,
        "line ends that are percent-encoded are data",
        head(b"GET /a%0d%0aX:%20y HTTP/1.1"),
        Seen(target="/a%0d%0aX:%20y", fields={"x": b""}),
    ),
]

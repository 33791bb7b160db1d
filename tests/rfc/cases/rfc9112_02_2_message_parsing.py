"""RFC 9112 section 2.2: how the octets of a message are divided into lines, and what stands before and between."""

from support.corpus import GET, POST, Seen, chunked, get, head, post, refused, served

S = "RFC 9112, 2.2"
NEXT = head(b"GET /next HTTP/1.1")

CASES = [
    served(S, "an empty line before the request is skipped", b"\r\n" + get()),
    served(S, "and one before the second", get() + b"\r\n" + NEXT, GET, Seen(target="/next")),
    served(
        S,
        "an old client's CRLF behind a body is skipped",
        post(b"Content-Length: 5", data=b"hello\r\n") + NEXT,
        Seen("POST", body=b"hello"),
        Seen(target="/next"),
    ),
    served(
        S,
        "and behind a body in chunks",
        chunked(b"2\r\nhi\r\n0\r\n\r\n\r\n") + NEXT,
        Seen("POST", body=b"hi"),
        Seen(target="/next"),
    ),
    refused(S, "two empty lines are one too many", b"\r\n\r\n" + get()),
    refused(S, "five empty lines", b"\r\n" * 5 + get()),
    refused(S, "an LF alone is no empty line", b"\n" + get()),
    refused(S, "nor is a CR", b"\r" + get()),
    refused(S, "nor a space", b" " + get()),
    refused(S, "nor a NUL", b"\0" + get()),
    refused(S, "the request line ends in LF", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    refused(S, "the request line ends in CR", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    refused(S, "the request line ends in CR CR LF", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    refused(S, "the request line ends in LF CR", b"GET / HTTP/1.1\n\rHost: a\r\n\r\n"),
    refused(S, "all lines end in LF", b"GET / HTTP/1.1\nHost: a\n\n"),
    refused(S, "all lines end in CR", b"GET / HTTP/1.1\rHost: a\r\r", ended=True),
    refused(S, "a field line ends in LF", b"GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n"),
    refused(S, "a field line ends in CR", b"GET / HTTP/1.1\r\nHost: a\rX-A: b\r\n\r\n"),
    refused(S, "a field line ends in CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\r\nX-A: b\r\n\r\n"),
    refused(S, "the last field line ends in LF", b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
    refused(S, "the empty line is an LF", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    refused(S, "the empty line is a CR and more", b"GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n"),
    refused(S, "the empty line is CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n"),
    refused(S, "the empty line is LF CR", b"GET / HTTP/1.1\r\nHost: a\r\n\n\r"),
    refused(S, "a length hidden behind an LF", b"POST / HTTP/1.1\r\nHost: a\r\nX-A: b\nContent-Length: 5\r\n\r\nhello"),
    refused(S, "a length hidden behind a CR", b"POST / HTTP/1.1\r\nHost: a\r\nX-A: b\rContent-Length: 5\r\n\r\nhello"),
    refused(
        S, "a coding behind an LF", post(b"Content-Length: 5", b"X-A: b\nTransfer-Encoding: chunked", data=b"hello")
    ),
    refused(
        S, "a coding behind a CR", post(b"Content-Length: 5", b"X-A: b\rTransfer-Encoding: chunked", data=b"hello")
    ),
    refused(S, "a request hidden behind CR LF CR", get(b"X-A: b\r\n\rGET /evil HTTP/1.1")),
    refused(S, "white space before the first field", head(b"GET / HTTP/1.1", host=b" Host: a")),
    refused(S, "a tab before the first field", head(b"GET / HTTP/1.1", host=b"\tHost: a")),
    refused(
        S, "an indented length before the first field", head(b"POST / HTTP/1.1", b"Host: a", host=b" Content-Length: 5")
    ),
    refused(S, "a line of white space before the first field", head(b"GET / HTTP/1.1", b"Host: a", host=b"  ")),
    refused(S, "a response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 501),
    refused(S, "a TLS hello", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(32))),
    refused(S, "octets that mean nothing", bytes(range(128, 256))),
    refused(S, "the PROXY protocol, which nobody asked for", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + get(), 501),
    refused(S, "the binary PROXY protocol", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\x7f\0\0\1" * 3),
    refused(S, "a command of SMTP", b"EHLO a\r\n", 501),
    refused(S, "a command of Redis", b"*1\r\n$4\r\nPING\r\n", 501),
    refused(S, "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501),
    served(S, "a request behind a served one is looked at anew", get() * 3, GET, GET, GET),
    served(
        S,
        "octets of a body are not looked at",
        post(b"Content-Length: 4", data=b"\n\r\0\xff"),
        Seen("POST", body=b"\n\r\0\xff"),
    ),
    served(
        S,
        "not even where they are a request",
        post(b"Content-Length: %d" % len(NEXT), data=NEXT),
        Seen("POST", body=NEXT),
    ),
    served(S, "a body of no octets", post(b"Content-Length: 0"), POST),
]

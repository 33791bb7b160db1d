"""What other servers and parsers got wrong, by CVE where there is one: the requests that showed it.

Those about responses, logs, storms and time are in test_known_vulnerabilities.py, those about WebSocket with its tests.
CVEs of HTTP/2 (such as 2016-6581, 2023-44487, 2025-8671, 2025-57804, 2026-71554) do not apply: it is not spoken here.
"""

from support.corpus import GET, POST, Seen, chunked, get, head, post, refused, served

EVIL = head(b"GET /evil HTTP/1.1")
HELLO = Seen("POST", body=b"hello")
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 5"


def coding(value: bytes, *fields: bytes) -> bytes:
    return post(b"Transfer-Encoding: " + value, *fields, data=CHUNKS + EVIL)


CASES = [
    # gunicorn
    refused(
        "CVE-2024-1135", "CVE-2024-1135: two codings that differ", post(CHUNKED, b"Transfer-Encoding: x", data=CHUNKS)
    ),
    refused("CVE-2024-1135", "CVE-2024-1135: chunked among others", coding(b"chunked,gzip", LENGTH)),
    refused(
        "CVE-2024-1135",
        "CVE-2024-1135: an empty one before",
        post(b"Transfer-Encoding:", CHUNKED, LENGTH, data=b"hello"),
    ),
    refused(
        "CVE-2024-6827", "CVE-2024-6827: a bad coding does not give way to the length", coding(b"xchunked", LENGTH)
    ),
    refused("CVE-2024-6827", "CVE-2024-6827: nor a quoted one", coding(b'"chunked"', LENGTH)),
    refused("CVE-2024-6827", "CVE-2024-6827: nor identity", coding(b"identity", LENGTH)),
    refused("gunicorn 26.1", "a truncated body in chunks is not whole", chunked(b"5\r\nhello\r\n"), ended=True),
    refused(
        "gunicorn 26.1", "a truncated body with a length is not", post(b"Content-Length: 9", data=b"hello"), ended=True
    ),
    served(
        "gunicorn 27",
        "a body behind an offer to upgrade is kept",
        post(b"Connection: Upgrade", b"Upgrade: h2c", LENGTH, data=b"hello"),
        HELLO,
    ),
    served("gunicorn 27", "close in a list closes", get(b"Connection: x, close") + EVIL, closed=True),
    refused("gunicorn 26", "a fold is no field without a name", get(b"X-A: b\r\n : c")),
    # waitress
    refused(
        "CVE-2019-16785",
        "CVE-2019-16785: LF as a line end",
        post(b"Content-Length: 5", b"X: y\n" + CHUNKED, data=b"hello" + EVIL),
    ),
    refused("CVE-2019-16786", "CVE-2019-16786: a list of codings", coding(b"gzip, chunked"), 501),
    refused(
        "CVE-2019-16786",
        "CVE-2019-16786: a list that falls through to the length",
        coding(b"chunked, identity", LENGTH),
    ),
    refused("CVE-2019-16789", "CVE-2019-16789: a VT before the coding", coding(b"\x0bchunked", LENGTH)),
    refused("CVE-2019-16789", "CVE-2019-16789: a form feed", coding(b"\x0cchunked", LENGTH)),
    refused("CVE-2019-16789", "CVE-2019-16789: a no-break space", coding(b"chunked\xa0", LENGTH)),
    refused("CVE-2019-16792", "CVE-2019-16792: two lengths", post(LENGTH, b"Content-Length: 5", data=b"hello" + EVIL)),
    refused(
        "CVE-2019-16792", "CVE-2019-16792: two lengths in a list", post(b"Content-Length: 5, 5", data=b"hello" + EVIL)
    ),
    refused("CVE-2022-24761", "CVE-2022-24761: a length with a sign", post(b"Content-Length: +5", data=b"hello")),
    refused("CVE-2022-24761", "CVE-2022-24761: with an underscore", post(b"Content-Length: 1_0", data=b"hello" * 2)),
    refused("CVE-2022-24761", "CVE-2022-24761: a size with 0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    refused("CVE-2022-24761", "CVE-2022-24761: with a sign", chunked(b"+5\r\nhello\r\n0\r\n\r\n")),
    refused(
        "CVE-2022-24761", "CVE-2022-24761: an extension with control characters", chunked(b"5;\0\r\nhello\r\n0\r\n\r\n")
    ),
    refused("CVE-2024-49768", "CVE-2024-49768: nothing is served behind an error", get(b"X A: b") + EVIL * 50),
    refused(
        "waitress",
        "a body behind CONNECT is no request",
        head(b"CONNECT a:80 HTTP/1.1", b"Content-Length: 0") + EVIL,
        501,
    ),
    # h11, httptools (llhttp), hyper, aiohttp, meinheld, eventlet, Go, Kestrel
    refused(
        "CVE-2025-43859", "CVE-2025-43859: two octets for the end of a chunk", chunked(b"5\r\nhelloXX0\r\n\r\n" + EVIL)
    ),
    refused("CVE-2025-43859", "CVE-2025-43859: none", chunked(b"5\r\nhello0\r\n\r\n" + EVIL)),
    refused("CVE-2021-22959", "CVE-2021-22959: a space before the colon", post(b"Content-Length : 5", data=b"hello")),
    refused("CVE-2021-22960", "CVE-2021-22960: an LF ends a chunk extension", chunked(b"5;a\nhello\r\n0\r\n\r\n")),
    refused("CVE-2022-32213", "CVE-2022-32213: a coding that only holds chunked", coding(b"chunkedchunked"), 501),
    refused("CVE-2022-32214", "CVE-2022-32214: lines that end in LF", get(b"X: y\nZ: z")),
    refused("CVE-2022-32215", "CVE-2022-32215: a coding over two lines", coding(b"chunked\r\n , identity")),
    refused("CVE-2022-35256", "CVE-2022-35256: a field that ends in CR", get(b"X: y\rZ: z")),
    refused("CVE-2023-30589", "CVE-2023-30589: CR alone ends a field", post(b"X: y\r" + CHUNKED, data=CHUNKS)),
    refused(
        "CVE-2024-27982",
        "CVE-2024-27982: an indented length",
        head(b"POST / HTTP/1.1", host=b" Content-Length: 5") + b"hello",
    ),
    refused("CVE-2025-23167", "CVE-2025-23167: a head that ends in CR LF CR X", get()[:-1] + b"X" + EVIL),
    refused("CVE-2020-7658", "CVE-2020-7658: length and coding", coding(b"chunked", LENGTH)),
    served(
        "CVE-2025-58068",
        "CVE-2025-58068: trailers are no fields",
        chunked(b"0\r\nX-A: b\r\nHost: c\r\n\r\n"),
        Seen("POST", fields={"x-a": b"", "host": b"a"}),
    ),
    refused(
        "CVE-2023-47627",
        "CVE-2023-47627: a length of other digits",
        post("Content-Length: ²".encode("latin-1"), data=b"hi"),
    ),
    refused("CVE-2023-47627", "CVE-2023-47627: a name that is no token", get(b"X[A: b")),
    refused(
        "CVE-2021-32714", "CVE-2021-32714: a size that wraps round", chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n")
    ),
    refused("CVE-2021-32715", "CVE-2021-32715: a length with a plus", post(b"Content-Length: +3", data=b"abc")),
    refused(
        "CVE-2023-39326",
        "CVE-2023-39326: extensions much larger than the body",
        chunked((b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 20),
    ),
    refused(
        "CVE-2025-55315", "CVE-2025-55315: an LF in a chunk extension", chunked(b"2;\nxx\r\n45\r\n0\r\n\r\n" + EVIL)
    ),
    # CGI and WSGI (httpoxy: test_known_vulnerabilities.py)
    served(
        "CVE-2015-0219",
        "CVE-2015-0219: an underscore for a dash",
        get(b"X-Auth-User: a", b"X_Auth_User: b"),
        Seen(fields={"x-auth-user": b"a"}),
    ),
    served(
        "CVE-2015-0219", "CVE-2015-0219: an underscore alone", get(b"X_Auth-User: b"), Seen(fields={"x-auth-user": b""})
    ),
    served(
        "granian",
        "an underscored length beside the true one",
        post(LENGTH, b"Content_Length: 50", data=b"hello"),
        Seen("POST", body=b"hello", fields={"content-length": b"5"}),
    ),
    # What reliability tests found in peers, without a number
    refused("uvicorn", "two Host fields, the second in a trailer, are not seen", get(b"Host: b")),
    served("uvicorn", "a tab around a coding", post(b"Transfer-Encoding:\t chunked \t", data=CHUNKS), HELLO),
    refused("uvicorn", "HTTP/2 is not taken for HTTP/1", head(b"GET / HTTP/2.0"), 505),
    refused("uvicorn", "nor is ICE", head(b"SOURCE / ICE/1.0"), 501),
    refused("hypercorn", "a method in lower case is another one", head(b"get / HTTP/1.1"), 501),
    served(
        "hypercorn",
        "an absolute target is no path",
        head(b"GET http://b/c HTTP/1.1"),
        Seen(target="/c", fields={"host": b"b"}),
    ),
    served(
        "hypercorn", "octets behind close do not spoil its answer", get(b"Connection: close") + b"\0\0\0", closed=True
    ),
    refused("granian", "a malformed chunk is 400, no 500", chunked(b"x\r\n")),
    refused("granian", "a body that ends in a malformed chunk is not empty", chunked(b"5\r\nhello\r\nx\r\n")),
    served("waitress", "a body of chunks in a GET is read", get(CHUNKED) + CHUNKS + get(), Seen(body=b"hello"), GET),
    served("nginx", "a tab as white space", get(b"X-A:\tb\t"), Seen(fields={"x-a": b"b"})),
    refused("nginx", "a malformed trailer", chunked(b"0\r\nX A: b\r\n\r\n")),
    served("nginx", "OPTIONS *", head(b"OPTIONS * HTTP/1.1"), Seen("OPTIONS", "*")),
    served(
        "gunicorn",
        "a request line of 8,000 octets",
        head(b"GET /" + b"a" * 7986 + b" HTTP/1.1"),
        Seen(target="/" + "a" * 7986),
    ),
    served("all", "a length of zero and more behind it", post(b"Content-Length: 0") + get(), POST, GET),
]

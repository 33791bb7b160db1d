"""RFC 9112 section 9: persistence, pipelining and close, and HTTP/1.0; RFC 9110 sections 7.6.1, 7.8 and 10.1.1."""

from support.corpus import GET, POST, Seen, chunked, get, head, post, refused, served

KEEP, PIPELINE, CLOSE, UPGRADE, EXPECT = (
    "RFC 9112, 9.3",
    "RFC 9112, 9.3.2",
    "RFC 9112, 9.6",
    "RFC 9110, 7.8",
    "RFC 9110, 10.1.1",
)
OLD = Seen(version="1.0")
EVIL = head(b"GET /evil HTTP/1.1")
CLOSING = {
    "close": [b"close"],
    "Close": [b"Close"],
    "CLOSE": [b"CLOSE"],
    "close among others": [b"te, close ,x"],
    "close behind empty members": [b",,close"],
    "close in a second field": [b"x", b"close"],
    "close and keep-alive": [b"close, keep-alive"],
    "keep-alive and close": [b"keep-alive", b"close"],
}
KEEPING = {
    "nothing": [],
    "keep-alive": [b"keep-alive"],
    "closed": [b"closed"],
    "x-close": [b"x-close"],
    "an empty value": [b""],
    "a quoted close": [b'"close"'],
    "close with a parameter": [b"close;a"],
}
OLD_KEEPING = {
    "keep-alive": [b"keep-alive"],
    "Keep-Alive": [b"Keep-Alive"],
    "KEEP-ALIVE": [b"KEEP-ALIVE"],
    "a list": [b"x, keep-alive"],
    "a second field": [b"x", b"keep-alive"],
}
WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket")


def options(values: list[bytes]) -> list[bytes]:
    return [b"Connection: " + value for value in values]


CASES = [
    served(KEEP, "HTTP/1.1 is kept", get() + get(), GET, GET),
    *(
        served(CLOSE, f"{what} closes, and nothing behind it is read", get(*options(values)) + EVIL, closed=True)
        for what, values in CLOSING.items()
    ),
    *(
        served(KEEP, f"{what} does not close", get(*options(values)) + get(), GET, GET)
        for what, values in KEEPING.items()
    ),
    served(
        CLOSE,
        "close with a body",
        post(b"Connection: close", b"Content-Length: 2", data=b"hi") + EVIL,
        Seen("POST", body=b"hi"),
        closed=True,
    ),
    served(
        CLOSE,
        "close with a body in chunks",
        post(b"Connection: close", b"Transfer-Encoding: chunked", data=b"0\r\n\r\n") + EVIL,
        POST,
        closed=True,
    ),
    served(CLOSE, "Proxy-Connection does not", get(b"Proxy-Connection: close") + get(), GET, GET),
    served(CLOSE, "nor Keep-Alive", get(b"Keep-Alive: close") + get(), GET, GET),
    served(KEEP, "HTTP/1.0 is closed", head(b"GET / HTTP/1.0") + EVIL, OLD, closed=True),
    *(
        served(KEEP, f"HTTP/1.0 is kept for {what}", head(b"GET / HTTP/1.0", *options(values)) + get(), OLD, GET)
        for what, values in OLD_KEEPING.items()
    ),
    *(
        served(
            KEEP, f"HTTP/1.0 is closed for {what}", head(b"GET / HTTP/1.0", *options(values)) + EVIL, OLD, closed=True
        )
        for what, values in CLOSING.items()
    ),
    served(
        KEEP,
        "HTTP/1.0 with a body",
        head(b"POST / HTTP/1.0", b"Content-Length: 2") + b"hi",
        Seen("POST", body=b"hi", version="1.0"),
        closed=True,
    ),
    served(
        KEEP,
        "1.0 and 1.1 on one connection",
        head(b"GET / HTTP/1.0", b"Connection: keep-alive") + get() + head(b"GET / HTTP/1.0") + EVIL,
        OLD,
        GET,
        OLD,
        closed=True,
    ),
    # Pipelines
    served(
        PIPELINE,
        "twenty in a row, answered in order",
        b"".join(head(b"GET /%d HTTP/1.1" % n) for n in range(20)),
        *(Seen(target=f"/{n}") for n in range(20)),
    ),
    served(
        PIPELINE,
        "of all kinds",
        get()
        + post(b"Content-Length: 2", data=b"hi")
        + chunked(b"1\r\na\r\n0\r\nX: y\r\n\r\n")
        + head(b"HEAD / HTTP/1.1")
        + get(),
        GET,
        Seen("POST", body=b"hi"),
        Seen("POST", body=b"a"),
        Seen("HEAD"),
        GET,
    ),
    refused(PIPELINE, "nothing behind a bad one is read", get() + get(b"X A: b") + EVIL, after=[GET]),
    refused(PIPELINE, "nor behind bad framing", get() + post(b"Content-Length: x", data=b"") + EVIL, after=[GET]),
    refused(PIPELINE, "nor behind a bad chunk", get() + chunked(b"x\r\n") + EVIL, after=[GET]),
    refused(PIPELINE, "nor behind a method not served", get() + head(b"BREW / HTTP/1.1") + EVIL, 501, after=[GET]),
    refused(
        PIPELINE,
        "octets behind a body are the next request",
        post(b"Content-Length: 5", data=b"helloXXXX\r\n\r\n"),
        501,
        after=[Seen("POST", body=b"hello")],
    ),
    refused(
        PIPELINE,
        "a length that is too short ends the body there",
        post(b"Content-Length: 1", data=b"hi there\r\n\r\n"),
        501,
        after=[Seen("POST", body=b"h")],
    ),
    # Upgrade: nothing is switched to that we do not speak
    *(
        served(
            UPGRADE,
            f"an offer of {what} is read over",
            get(b"Connection: Upgrade", b"Upgrade: " + what.encode()) + get(),
            GET,
            GET,
        )
        for what in ("foo/1", "TLS/1.0", "HTTP/2.0", "h2c", "foo, bar", "")
    ),
    served(
        UPGRADE,
        "h2c with its settings",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__") + get(),
        GET,
        GET,
    ),
    served(
        UPGRADE,
        "h2c with a body, which is not lost",
        post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 5", data=b"hello") + get(),
        Seen("POST", body=b"hello"),
        GET,
    ),
    served(
        UPGRADE,
        "an offer with chunks",
        post(b"Connection: Upgrade", b"Upgrade: foo", b"Transfer-Encoding: chunked", data=b"2\r\nhi\r\n0\r\n\r\n")
        + get(),
        Seen("POST", body=b"hi"),
        GET,
    ),
    served(UPGRADE, "an offer with close", get(b"Connection: Upgrade, close", b"Upgrade: foo") + EVIL, closed=True),
    served(UPGRADE, "Upgrade that Connection does not name", get(b"Upgrade: foo") + get(), GET, GET),
    served(
        UPGRADE,
        "an offer in HTTP/1.0",
        head(b"GET / HTTP/1.0", b"Connection: Upgrade", b"Upgrade: foo") + EVIL,
        OLD,
        closed=True,
    ),
    # Expect
    served(
        EXPECT,
        "a body that does not wait",
        post(b"Expect: 100-continue", b"Content-Length: 5", data=b"hello") + get(),
        Seen("POST", body=b"hello"),
        GET,
    ),
    served(
        EXPECT, "in any case", post(b"Expect: 100-CONTINUE", b"Transfer-Encoding: chunked", data=b"0\r\n\r\n"), POST
    ),
    served(EXPECT, "without a body", get(b"Expect: 100-continue") + get(), GET, GET),
    served(
        EXPECT,
        "twice",
        post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 1", data=b"a"),
        Seen("POST", body=b"a"),
    ),
    served(
        EXPECT,
        "in HTTP/1.0",
        head(b"POST / HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 1") + b"a",
        Seen("POST", body=b"a", version="1.0"),
        closed=True,
    ),
    *(
        served(EXPECT, f"an expectation of {what!r} is read over", get(b"Expect: " + what.encode()) + get(), GET, GET)
        for what in ("200-ok", "x", "", "100", "x, y")
    ),
    refused(
        EXPECT,
        "bad framing is refused without 100",
        post(b"Expect: 100-continue", b"Content-Length: 5", b"Content-Length: 5"),
    ),
    refused(
        EXPECT, "both framings, too", post(b"Expect: 100-continue", b"Content-Length: 5", b"Transfer-Encoding: chunked")
    ),
]

"""RFC 9112 section 3.2: the four forms of a request target; RFC 9110 section 4.2 for what an http URI may hold."""

from support.corpus import Seen, head, refused, served

ORIGIN, ABSOLUTE, AUTHORITY, ASTERISK = (f"RFC 9112, 3.2.{number}" for number in (1, 2, 3, 4))
MISDIRECTED = "RFC 9110, 4.2.4"
VISIBLE = [
    "/",
    "/a/b.c",
    "/a?b=c&d",
    "/?",
    "/a?b?c",
    "//a//b",
    "/./../a",
    "/%41%2f%00",
    "/%zz%",
    "/a;b=c,d",
    "/:80",
    "/http://a/",
    "/*",
    "/!\"$%&'()*+,-./:;<=>@[\\]^_`{|}~",
    "/a?!\"$%&'()*+,-./:;<=>@[\\]^_`{|}~?",
    "/" + "a" * 8000,
]
ABSOLUTES = {
    "http://b/c?d": ("/c?d", b"b"),
    "HTTP://b/c": ("/c", b"b"),
    "https://b/c": ("/c", b"b"),
    "http://b": ("/", b"b"),
    "http://b?c": ("/?c", b"b"),
    "http://b/?c": ("/?c", b"b"),
    "http://b:8000/c": ("/c", b"b:8000"),
    "http://b:/c": ("/c", b"b:"),
    "http://[::1]:8000/c": ("/c", b"[::1]:8000"),
    "http://b/http://c/": ("/http://c/", b"b"),
    "http://b/c@d": ("/c@d", b"b"),
    "http://%62/c": ("/c", b"%62"),
}
NOT_ABSOLUTE = [
    "http:",
    "http:/b",
    "http:b",
    "http://",
    "http:///c",
    "http://?c",
    "http://:80/",
    "http://b:8a/",
    "http://b:123456/",
    "http://b:-1/",
    "http://::1/",
    "http://[::1/",
    "http://[::1]b/",
    "http://[]/",
    "http://[1]/",
    "http://[zz]/",
    "http://b\\c/",
    "http://b%4/",
    "http://<b>/",
    "http://b^c/",
    "http://b|c/",
    "http://b/c#d",
    "ftp://b/c",
    "ws://b/c",
    "httpx://b/c",
    "//b",
    "file:///etc/passwd",
    "javascript:alert(1)",
]
NO_TARGETS = [
    "a",
    "a/b",
    "?a",
    "#",
    "/a#b",
    "/a?b#c",
    "a:80",
    "a.b:443",
    "*a",
    "**",
    ".",
    "..",
    "%2f",
    "\\a",
    "@",
    ":80",
    "[::1]:80",
]

CASES = [
    *(
        served(ORIGIN, f"origin-form {target[:40]}", head(f"GET {target} HTTP/1.1".encode()), Seen(target=target))
        for target in VISIBLE[:3]
    ),
    *(
        # "/?" and "/" are one to an application: neither ASGI nor WSGI tells an empty query from none.
        served(
            ORIGIN,
            f"origin-form {target[:40]}",
            head(f"GET {target} HTTP/1.1".encode()),
            Seen(target=target if target != "/?" else "/"),
        )
        for target in VISIBLE[3:]
    ),
    *(
        served(
            ABSOLUTE,
            f"absolute-form {target}: its authority stands for the Host field",
            head(f"GET {target} HTTP/1.1".encode()),
            Seen(target=path, fields={"host": host}),
        )
        for target, (path, host) in ABSOLUTES.items()
    ),
    served(
        ABSOLUTE,
        "absolute-form gives a Host to HTTP/1.0",
        head(b"GET http://b/c HTTP/1.0", host=None),
        Seen(target="/c", fields={"host": b"b"}, version="1.0"),
        closed=True,
    ),
    refused(
        "RFC 9112, 3.2",
        "absolute-form does not spare HTTP/1.1 the Host field",
        head(b"GET http://b/c HTTP/1.1", host=None),
    ),
    refused("RFC 9112, 3.2", "nor a good one", head(b"GET http://b/c HTTP/1.1", host=b"Host: a b")),
    *(
        refused(ABSOLUTE, f"no absolute-form: {target}", head(f"GET {target} HTTP/1.1".encode()))
        for target in NOT_ABSOLUTE
        if target != "//b"
    ),
    served(
        ORIGIN,
        "two slashes begin a path, no authority",
        head(b"GET //b HTTP/1.1"),
        Seen(target="//b", fields={"host": b"a"}),
    ),
    refused("RFC 9110, 4.2.1", "an http URI with an empty host", head(b"GET http://:8000/ HTTP/1.1")),
    refused(MISDIRECTED, "user information that hides the host", head(b"GET http://a@b/ HTTP/1.1")),
    refused(MISDIRECTED, "the same with a password", head(b"GET http://a:80@b/ HTTP/1.1")),
    refused(MISDIRECTED, "twice", head(b"GET http://u@u@a/ HTTP/1.1")),
    refused(MISDIRECTED, "user information with octets that it may not hold", head(b"GET http://u[@a/ HTTP/1.1")),
    refused(MISDIRECTED, "user information without a host", head(b"GET http://a@/ HTTP/1.1")),
    refused(
        MISDIRECTED, "user information in HTTP/1.0 without a Host field", head(b"GET http://u@a/ HTTP/1.0", host=None)
    ),
    served(
        MISDIRECTED,
        "user information that hides nothing is dropped",
        head(b"GET http://u:p@a/ HTTP/1.1"),
        Seen(fields={"host": b"a"}),
    ),
    *(refused(ORIGIN, f"no target: {target}", head(f"GET {target} HTTP/1.1".encode())) for target in NO_TARGETS),
    served(ASTERISK, "asterisk-form is for OPTIONS", head(b"OPTIONS * HTTP/1.1"), Seen("OPTIONS", "*")),
    *(
        refused(ASTERISK, f"asterisk-form is not for {method}", head(f"{method} * HTTP/1.1".encode()))
        for method in ("GET", "POST", "HEAD")
    ),
    refused(ASTERISK, "asterisk-form has no query", head(b"OPTIONS *?a HTTP/1.1")),
    refused(AUTHORITY, "authority-form is for CONNECT, which is not served", head(b"CONNECT b:443 HTTP/1.1"), 501),
    refused(AUTHORITY, "CONNECT with a path", head(b"CONNECT / HTTP/1.1"), 501),
    *(
        refused("RFC 3986, 2", f"octet {octet:#04x} in a target", head(b"GET /a%cb HTTP/1.1" % octet))
        for octet in (*range(32), 0x7F, 0x80, 0xC3, 0xFF)
    ),
    *(
        refused("RFC 3986, 2", f"octet {octet:#04x} in a query", head(b"GET /a?%cb HTTP/1.1" % octet))
        for octet in (0, 9, 0x0B, 0x7F, 0xE9)
    ),
]

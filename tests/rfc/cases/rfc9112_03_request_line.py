"""RFC 9112 section 3 and 2.3, RFC 9110 sections 2.5 and 9: method, the spaces around the target, version."""

from support.corpus import Seen, get, head, refused, served

LINE, VERSION, METHOD = "RFC 9112, 3", "RFC 9112, 2.3", "RFC 9110, 9.1"
KNOWN = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "PROPFIND",
    "MKCOL",
    "REPORT",
    "PURGE",
    "UNSUBSCRIBE",
]
UNKNOWN = [
    "FROBNICATE",
    "GE",
    "GETT",
    "G",
    "get",
    "Get",
    "gET",
    "CONNECT",
    "QUERY",
    "PRI",
    "DESCRIBE",
    "SOURCE",
    "X-A",
    "!",
    "1",
    "A" * 400,
]
NO_TOKENS = [
    "G@T",
    "GET(",
    "G/T",
    "{GET}",
    "GET,",
    "G=T",
    '"GET"',
    "GET:",
    "<",
    "G\\T",
    "G[T",
    "G;T",
    "G?T",
    "GET\x7f",
    "G\0T",
    "G\xe9T",
]
MALFORMED = {
    "no version": b"GET /",
    "no target": b"GET HTTP/1.1",
    "nothing but a method": b"GET",
    "nothing at all behind a space": b"GET ",
    "two spaces before the target": b"GET  / HTTP/1.1",
    "two spaces behind the target": b"GET /  HTTP/1.1",
    "a space at the end": b"GET / HTTP/1.1 ",
    "a space at the beginning": b" GET / HTTP/1.1",
    "a tab before the target": b"GET\t/ HTTP/1.1",
    "a tab behind the target": b"GET /\tHTTP/1.1",
    "a VT before the target": b"GET\x0b/ HTTP/1.1",
    "a form feed behind the target": b"GET /\x0cHTTP/1.1",
    "a no-break space behind the method": b"GET\xa0/ HTTP/1.1",
    "a space in the target": b"GET /a b HTTP/1.1",
    "a space in the version": b"GET / HTTP /1.1",
    "another one": b"GET / HTTP/ 1.1",
    "a fourth word": b"GET / HTTP/1.1 x",
    "the name in lower case": b"GET / http/1.1",
    "the name in mixed case": b"GET / Http/1.1",
    "another name": b"GET / HTTPS/1.1",
    "a longer name": b"GET / XHTTP/1.1",
    "a shorter name": b"GET / TTP/1.1",
    "RTSP": b"OPTIONS * RTSP/1.0",
    "ICAP": b"OPTIONS / ICAP/1.0",
    "no minor version": b"GET / HTTP/1",
    "nothing behind the dot": b"GET / HTTP/1.",
    "nothing before the dot": b"GET / HTTP/.1",
    "no number": b"GET / HTTP/",
    "letters": b"GET / HTTP/a.b",
    "two digits before the dot": b"GET / HTTP/01.1",
    "two digits behind the dot": b"GET / HTTP/1.10",
    "two dots": b"GET / HTTP/1.1.1",
    "a comma": b"GET / HTTP/1,1",
    "a sign": b"GET / HTTP/+1.1",
    "no dot": b"GET / HTTP/11",
    "a digit of another script": b"GET / HTTP/1.\xd9\xa1",
    "a superscript": b"GET / HTTP/1.\xb9",
    "a NUL behind the version": b"GET / HTTP/1.1\0",
    "a VT behind the version": b"GET / HTTP/1.1\x0b",
}

CASES = [
    served(LINE, "a plain request", get()),
    *(
        served(METHOD, f"method {method}", head(method.encode() + b" /a?b HTTP/1.1"), Seen(method, "/a?b"))
        for method in KNOWN
    ),
    served("RFC 9110, 9.3.2", "method HEAD, answered without content", head(b"HEAD / HTTP/1.1"), Seen("HEAD")),
    *(
        refused(METHOD, f"method {method[:20]}, not served here", head(method.encode() + b" / HTTP/1.1"), 501)
        for method in UNKNOWN
    ),
    *(
        refused(LINE, f"method {method!r}, no token", head(method.encode("latin-1") + b" / HTTP/1.1"))
        for method in NO_TOKENS
    ),
    *(refused(LINE, f"malformed: {what}", head(line)) for what, line in MALFORMED.items()),
    refused(METHOD, "a method too long to be one is refused before its end", b"A" * 100, 501),
    refused(LINE, "an HTTP/0.9 request", b"GET /\r\n"),
    served(VERSION, "a higher minor version is served as 1.1", head(b"GET / HTTP/1.2")),
    served("RFC 9110, 2.5", "the highest", head(b"GET / HTTP/1.9")),
    *(
        refused("RFC 9110, 15.6.6", f"version {version}", head(b"GET / HTTP/" + version.encode()), 505)
        for version in ("0.9", "2.0", "2.1", "3.0", "9.9", "0.0")
    ),
]

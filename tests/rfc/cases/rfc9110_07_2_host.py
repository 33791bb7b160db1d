"""RFC 9112 section 3.2 and RFC 9110 section 7.2: HTTP/1.1 has exactly one valid Host field, HTTP/1.0 at most one."""

from support.corpus import Seen, get, head, refused, served

S, HOST = "RFC 9112, 3.2", "RFC 9110, 7.2"
OLD = Seen(version="1.0")
VALID = [
    "a",
    "a.example",
    "a.example:8000",
    "a:",
    "a:0",
    "a:65535",
    "127.0.0.1",
    "127.0.0.1:80",
    "[::1]",
    "[::1]:80",
    "[2001:db8::1]:443",
    "[::ffff:1.2.3.4]",
    "[v1.a:b]",
]
VALID += [
    "[1:2:3:4:5:6:7:8]",
    "A.EXAMPLE",
    "a-b.c_d",
    "xn--bcher-kva.example",
    "%61",
    "a%2Fb",
    "a!$&'()*+,;=b",
    "999.1.1.1",
    "1",
    "-",
    ".",
    "~",
    "a..b",
    "a.",
    "0.0.0.0=5000",
]
INVALID = [
    "a/b",
    "a?",
    "a?b",
    "a#b",
    "u@a",
    "u:p@a",
    "a\\b",
    "a:b",
    "a:8a",
    "a:80:80",
    "a:-1",
    "a:+80",
    "a:123456",
    "a:80/",
    ":80",
    ":",
    "::1",
    "[::1",
    "::1]",
    "[]",
    "[::1]a",
    "[::1]80",
    "[1]",
]
INVALID += [
    "[::1::2]",
    "[1:2:3:4:5:6:7]",
    "[1:2:3:4:5:6:7:8:9]",
    "[::12345]",
    "[::1.2.3]",
    "[::1.2.3.256]",
    "[fe80::1%25eth0]",
    "[:::]",
    "[v.a]",
    "[vg.a]",
    "[g::]",
]
INVALID += ["http://a", '"a"', "<a>", "{a}", "a|b", "a^b", "a`b", "a%", "a%4", "a%zz", "[a]", "a[b]", "a]"]
OCTETS = {
    "a space": b"a b",
    "a tab": b"a\tb",
    "a NUL": b"a\0b",
    "a VT": b"a\x0bb",
    "DEL": b"a\x7fb",
    "UTF-8": b"b\xc3\xbccher",
    "two": b"a, b",
}

CASES = [
    *(
        served(HOST, f"Host: {host}", get(host=b"Host: " + host.encode()), Seen(fields={"host": host.encode()}))
        for host in VALID
    ),
    served(HOST, "an empty Host", get(host=b"Host:")),
    served(HOST, "one of white space", get(host=b"Host: \t ")),
    served(HOST, "white space around it", get(host=b"Host:\t a \t"), Seen(fields={"host": b"a"})),
    served(HOST, "the last field, in another case", get(b"X-A: b", b"hOST: c", host=None), Seen(fields={"host": b"c"})),
    *(refused(S, f"invalid Host: {host}", get(host=b"Host: " + host.encode())) for host in INVALID),
    *(refused(S, f"invalid Host: {what}", get(host=b"Host: " + host)) for what, host in OCTETS.items()),
    refused(S, "no Host", get(host=None)),
    refused(S, "no Host, but other fields", get(b"X-Host: a", b"Hosts: a", host=None)),
    refused(S, "no Host, but an underscored one", get(b"_Host: a", b"Host_: a", host=None)),
    refused(S, "two", get(b"Host: b")),
    refused(S, "two that are alike", get(b"Host: a")),
    refused(S, "two in different case", get(b"HOST: a")),
    refused(S, "two, one is empty", get(b"Host:")),
    refused(S, "two, far apart", get(*[b"X-A: b"] * 50, b"Host: a")),
    refused(S, "an invalid one in HTTP/1.0", head(b"GET / HTTP/1.0", host=b"Host: a b")),
    refused(S, "two in HTTP/1.0", head(b"GET / HTTP/1.0", b"Host: a")),
    refused(S, "none in HTTP/1.2, which is served as 1.1", head(b"GET / HTTP/1.2", host=None)),
    served(S, "none in HTTP/1.0", head(b"GET / HTTP/1.0", host=None), OLD, closed=True),
    served(S, "one in HTTP/1.0", head(b"GET / HTTP/1.0"), OLD, closed=True),
    refused(S, "a folded Host", get(host=b"Host: a\r\n .example")),
    refused(S, "an invalid one behind a good request", get() + get(host=b"Host: a b"), after=[Seen()]),
    refused(S, "none behind a good request", get() + get(host=None), after=[Seen()]),
]

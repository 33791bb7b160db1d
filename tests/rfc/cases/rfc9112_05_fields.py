"""RFC 9112 section 5 and RFC 9110 section 5: field lines, names, values; the policy on names with an underscore."""

from support.corpus import GET, Seen, chunked, get, head, post, refused, served

LINE, FOLD, NAME, VALUE = "RFC 9112, 5", "RFC 9112, 5.2", "RFC 9110, 5.1", "RFC 9110, 5.5"
TOKEN = b"!#$%&'*+-.^`|~0123456789ABCXYZabcxyz"
NOT_IN_A_NAME = [octet for octet in range(128) if octet not in TOKEN + b"_:" and not chr(octet).isalnum()]
NOT_IN_A_VALUE = [octet for octet in range(128) if (octet < 32 and octet != 9) or octet == 127]
MALFORMED = {
    "no colon": b"X-A",
    "no name": b": b",
    "nothing but a colon": b":",
    "a space before the colon": b"X-A : b",
    "a tab before the colon": b"X-A\t: b",
    "a VT before the colon": b"X-A\x0b: b",
    "a NUL before the colon": b"X-A\0: b",
    "a no-break space before the colon": b"X-A\xa0: b",
    "two words before the colon": b"X A: b",
    "a quoted name": b'"X-A": b',
    "a request line": b"GET / HTTP/1.1",
}
SPACED = ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Expect"]

CASES = [
    served(LINE, "white space around a value is none of it", get(b"X-A: \t b\t c \t"), Seen(fields={"x-a": b"b\t c"})),
    served(LINE, "no white space", get(b"X-A:b"), Seen(fields={"x-a": b"b"})),
    served(LINE, "no value", get(b"X-A:", b"X-B: "), Seen(fields={"x-a": b"", "x-b": b""})),
    served(LINE, "a colon in a value", get(b"X-A: :b:c"), Seen(fields={"x-a": b":b:c"})),
    served(
        NAME, "a name of all that a token may hold", get(TOKEN + b": v"), Seen(fields={TOKEN.decode().lower(): b"v"})
    ),
    served(NAME, "names in any case are one", get(b"x-a: b", b"X-A: c"), Seen(fields={"x-a": b"b,c"})),
    served(
        "RFC 9110, 5.3",
        "repeated fields stay in order",
        get(*(b"X-A: %d" % n for n in range(5))),
        Seen(fields={"x-a": b"0,1,2,3,4"}),
    ),
    served(
        VALUE,
        "a value of all visible octets",
        get(b"X-A: " + bytes(range(0x21, 0x7F))),
        Seen(fields={"x-a": bytes(range(0x21, 0x7F))}),
    ),
    served(
        VALUE,
        "and of those above ASCII",
        get(b"X-A: " + bytes(range(0x80, 0x100))),
        Seen(fields={"x-a": bytes(range(0x80, 0x100))}),
    ),
    served(
        "RFC 9112, 5.1",
        "white space beyond ASCII is part of a value",
        get(b"X-A: \xa0b\x85"),
        Seen(fields={"x-a": b"\xa0b\x85"}),
    ),
    served(
        VALUE,
        "quotes, commas and backslashes as they are",
        get(b'X-A: "a, \\"b\\"", c;d'),
        Seen(fields={"x-a": b'"a, \\"b\\"", c;d'}),
    ),
    *(
        refused(NAME, f"octet {octet:#04x} in a name", get(b"X%cA: b" % octet))
        for octet in (*NOT_IN_A_NAME, 0x80, 0xE9, 0xFF)
    ),
    *(refused(VALUE, f"octet {octet:#04x} in a value", get(b"X-A: b%cc" % octet)) for octet in NOT_IN_A_VALUE),
    *(
        refused(VALUE, f"octet {octet:#04x} before a value", get(b"X-A: %cb" % octet))
        for octet in (0, 0x0B, 0x0C, 0x7F)
    ),
    *(
        refused(VALUE, f"octet {octet:#04x} behind a value", get(b"X-A: b%c" % octet))
        for octet in (0, 0x0B, 0x0C, 0x0D, 0x7F)
    ),
    *(refused(LINE, what, get(line)) for what, line in MALFORMED.items()),
    *(refused(LINE, f"{what}, as the first line", get(b"Host: a", host=line)) for what, line in MALFORMED.items()),
    *(refused("RFC 9112, 5.1", f"a space behind {name}", get(name.encode() + b" : 5")) for name in SPACED),
    *(refused("RFC 9112, 5.1", f"a tab behind {name}", get(name.encode() + b"\t: 5")) for name in SPACED),
    refused(FOLD, "a folded value", get(b"X-A: b\r\n c")),
    refused(FOLD, "folded by a tab", get(b"X-A: b\r\n\tc")),
    refused(FOLD, "folded before it begins", get(b"X-A:\r\n b")),
    refused(FOLD, "folded with nothing in the fold", get(b"X-A: b\r\n ")),
    refused(FOLD, "a fold with a colon", get(b"X-A: b\r\n X-B: c")),
    refused(FOLD, "a folded length", post(b"Content-Length:\r\n 5", data=b"hello")),
    refused(FOLD, "a folded coding", post(b"Transfer-Encoding:\r\n chunked", data=b"0\r\n\r\n")),
    refused(
        FOLD,
        "a coding folded in its middle",
        post(b"Transfer-Encoding: chun\r\n ked", b"Content-Length: 5", data=b"hello"),
    ),
    refused(FOLD, "a field folded as the last one", get() + get(b"X-A: b\r\n\tc"), after=[GET]),
    # Names that WSGI cannot tell from others are dropped (--header-map drop)
    served(
        "RFC 3875, 4.1.18",
        "a name with an underscore is dropped",
        get(b"X_A: b"),
        Seen(fields={"x-a": b"", "x_a": b""}),
    ),
    served(
        "RFC 3875, 4.1.18",
        "and cannot stand in for one with a dash",
        get(b"X-A: b", b"X_A: c"),
        Seen(fields={"x-a": b"b"}),
    ),
    served("RFC 3875, 4.1.18", "an underscored length frames nothing", post(b"Content_Length: 5"), Seen("POST")),
    served("RFC 3875, 4.1.18", "nor an underscored coding", post(b"Transfer_Encoding: chunked"), Seen("POST")),
    served("RFC 3875, 4.1.18", "an underscore in a value is no matter", get(b"X-A: b_c"), Seen(fields={"x-a": b"b_c"})),
    # Fields that a server might take for something that they are not
    served(
        LINE,
        "fields whose names only begin like those that matter",
        post(b"Content-Lengths: 5", b"Transfer-Encodings: chunked", b"Connections: close"),
        Seen("POST"),
    ),
    served(
        LINE,
        "or only end like them",
        post(b"X-Content-Length: 5", b"X-Transfer-Encoding: chunked", b"X-Connection: close"),
        Seen("POST"),
    ),
    served(
        "RFC 9110, 10.1.4",
        "TE does not announce a coding",
        get(b"TE: trailers, chunked", b"Connection: TE"),
        Seen(fields={"te": b"trailers, chunked"}),
    ),
    served("RFC 9110, 6.6.2", "nor does Trailer", post(b"Trailer: X-A"), Seen("POST")),
    served(
        "RFC 9110, 8.4",
        "Content-Encoding is the application's",
        post(b"Content-Encoding: gzip", b"Content-Length: 2", data=b"xx"),
        Seen("POST", body=b"xx", fields={"content-encoding": b"gzip"}),
    ),
    served(
        "RFC 9110, 8.3",
        "two Content-Type fields are",
        post(b"Content-Type: a/b", b"Content-Type: c/d"),
        Seen("POST", fields={"content-type": b"a/b,c/d"}),
    ),
    served(LINE, "100 fields", get(*(b"X-%d: v" % number for number in range(99))), Seen(fields={"x-98": b"v"})),
    refused(
        LINE,
        "a malformed line behind a body",
        chunked(b"0\r\n\r\n") + head(b"GET / HTTP/1.1", b"X A: b"),
        after=[Seen("POST")],
    ),
]

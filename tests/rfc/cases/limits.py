"""Limits count octets, whatever comes in one read: RFC 9112 section 3 and RFC 9110 section 5.4 leave them to us."""

from support.corpus import GET, SMALL, Limits, Seen, get, head, post, refused, served

LINE, FIELDS, BODY = "RFC 9110, 15.5.15", "RFC 6585, 5", "RFC 9110, 15.5.14"
FEW = Limits(line=8190, fields=3, field_size=8190, section=8190)


def line(size: int) -> bytes:
    """A request line of so many octets."""
    return b"GET /" + b"a" * (size - 14) + b" HTTP/1.1"


def field(size: int) -> bytes:
    """A field line of so many octets, without its end."""
    return b"X: " + b"a" * (size - 3)


CASES = [
    served(LINE, "a request line at the limit", head(line(40)), Seen(target="/" + "a" * 26), limits=SMALL),
    refused(LINE, "a request line above it", head(line(41)), 414, limits=SMALL),
    refused(LINE, "a request line that never ends", b"GET /" + b"a" * 40, 414, limits=SMALL),
    served(LINE, "a request line of 8,190 octets", head(line(8190)), Seen(target="/" + "a" * 8176)),
    refused(LINE, "a request line of 8,191", head(line(8191)), 414),
    refused(LINE, "a request line of a million", head(line(1_000_000)), 414),
    refused(
        LINE, "a long line of a method not served is no long line", head(b"BREW /" + b"a" * 9000 + b" HTTP/1.1"), 501
    ),
    refused(LINE, "a long line behind a good request", get() + head(line(9000)), 414, after=[GET]),
    served(FIELDS, "a field at the limit", get(field(40)), limits=SMALL),
    refused(FIELDS, "a field above it", get(field(41)), 431, limits=SMALL),
    served(FIELDS, "a field of 8,190 octets", get(field(8190))),
    refused(FIELDS, "a field of 8,191", get(field(8191)), 431),
    refused(FIELDS, "a field of 70,000", get(field(70_000)), 431),
    refused(FIELDS, "a field that never ends", b"GET / HTTP/1.1\r\nHost: a\r\n" + field(70_000), 431),
    refused(FIELDS, "a long name", get(b"X" * 9000 + b": a"), 431),
    served(FIELDS, "as many fields as may be", get(b"A: b", b"C: d"), limits=FEW),
    refused(FIELDS, "one field more", get(b"A: b", b"C: d", b"E: f"), 431, limits=FEW),
    refused(FIELDS, "one field more, where some would be dropped", get(b"A_: b", b"C_: d", b"E_: f"), 431, limits=FEW),
    served(FIELDS, "100 fields", get(*[b"A: b"] * 99)),
    refused(FIELDS, "101 fields", get(*[b"A: b"] * 100), 431),
    refused(FIELDS, "20,000 fields", get(*[b"A: b"] * 20_000), 431),
    served(
        FIELDS,
        "a section at the limit",
        get(field(38), field(38), host=b"Host: abcde"),
        limits=Limits(field_size=40, section=97),
    ),
    refused(
        FIELDS,
        "a section above it",
        get(field(38), field(39), host=b"Host: abcde"),
        431,
        limits=Limits(field_size=40, section=97),
    ),
    refused(FIELDS, "a section of a million octets", get(*[field(8000)] * 125), 431),
    refused(FIELDS, "a head too large behind a good request", get() + get(field(70_000)), 431, after=[GET]),
    served(
        BODY,
        "a body at the limit",
        post(b"Content-Length: 20", data=b"x" * 20),
        Seen("POST", body=b"x" * 20),
        limits=SMALL,
    ),
    refused(BODY, "a body above it, before it comes", post(b"Content-Length: 21"), 413, limits=SMALL),
    refused(BODY, "one that is far above it", post(b"Content-Length: 999999999999999999"), 413, limits=SMALL),
    # Several faults: the first one met in the order of the octets decides
    refused(FIELDS, "too many fields, and a malformed one among them", get(b"A b: c", *[b"A: b"] * 100), 431),
    refused("RFC 9112, 2.2", "too many fields behind a bare LF", get(b"A: b\nC: d", *[b"A: b"] * 100)),
    refused(FIELDS, "too many fields before a bare LF", get(*[b"A: b"] * 101, b"A: b\nC: d"), 431),
    refused("RFC 9112, 3.2", "a bad target and a field that is too long", head(b"GET a HTTP/1.1", field(9000))),
    refused("RFC 9112, 3.2", "no Host and a field that is too long", get(field(9000), host=None), 431),
]

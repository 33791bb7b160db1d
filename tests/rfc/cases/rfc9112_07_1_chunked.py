"""RFC 9112 section 7.1: a body in chunks: sizes, extensions, data, the last chunk, trailers."""

from support.corpus import SMALL, Seen, chunked, get, post, refused, served

SIZE, EXTENSION, TRAILER, TRAILERS = "RFC 9112, 7.1", "RFC 9112, 7.1.1", "RFC 9112, 7.1.2", "RFC 9110, 6.5.1"
END = b"\r\nhello\r\n0\r\n\r\n"  # what follows the size of a chunk of five octets
HELLO = Seen("POST", body=b"hello")
GOOD_SIZES = ["5", "05", "005", "0000000000000005"]
BAD_SIZES = [
    "",
    " 5",
    "\t5",
    "5 ",
    "5\t",
    "0 5",
    "0x5",
    "0X5",
    "x5",
    "5x",
    "5h",
    "+5",
    "-5",
    "5.0",
    "5_0",
    "5,",
    "'5'",
    '"5"',
    "=5",
    "g",
    "#5",
    "five",
    "5 5",
    "5:",
    "(5)",
    "\\5",
    "00000000000000005",
    "0" * 2000 + "5",
]
BAD_SIZE_OCTETS = {
    "a VT": b"5\x0b",
    "a NUL": b"5\0",
    "a form feed": b"\x0c5",
    "a no-break space": b"5\xa0",
    "a superscript": b"\xb2",
    "Arabic digits": b"\xd9\xa5",
    "full-width digits": b"\xef\xbc\x95",
    "DEL": b"5\x7f",
}
GOOD_EXTENSIONS = [
    ";a",
    ";a=b",
    ";a=b;c",
    ';a="b"',
    ';a="b;c"',
    ';a="\\"";b',
    ';a=""',
    " ;a",
    "; a",
    " ; a = b ",
    ";a;b;c",
    '; a="\t \xe9"',
    ";!#$%&'*+-.^_`|~=1",
    '; a = "\r;"'.replace("\r", "\\;"),
]
GOOD_EXTENSIONS[9] = " ; a = b"
BAD_EXTENSIONS = [
    ";",
    "; ",
    ";;a",
    ";a;",
    ";=b",
    ";a=",
    ";a=;b",
    ';a="b',
    ';a=b"',
    ";a b",
    ";a,b",
    ";a=b c",
    ";(a)",
    ";a={b}",
    ";a=\\b",
    " a",
    "z",
    ",a",
    "=b",
    ":a",
    ';"a"',
    ";a=[b]",
    ";\xe9",
    ";a=\xe9",
]
BAD_TRAILERS = {
    "no colon": b"X-A",
    "no name": b": b",
    "a space before the colon": b"X-A : b",
    "a tab before the colon": b"X-A\t: b",
    "a name that is no token": b"X(A): b",
    "a name above ASCII": b"X\xe9: b",
    "a NUL in a value": b"X-A: b\0",
    "a VT in a value": b"X-A: \x0bb",
    "DEL in a value": b"X-A: b\x7f",
    "a CR in a value": b"X-A: b\rc",
    "an LF in a value": b"X-A: b\nc",
    "a fold": b"X-A: b\r\n c",
    "white space first": b" X-A: b",
    "a tab first": b"\tX-A: b",
}
DROPPED = [
    "Host: b",
    "Content-Length: 50",
    "Transfer-Encoding: identity",
    "Authorization: x",
    "X-A: b",
    "Connection: close",
    "Expect: 100-continue",
    "X_A: b",
    "Cookie: a=b",
    "X-Empty:",
    "Content-Type: a/b",
]
HUGE = ["ffffffffffffffff", "fffffffffffffffe", "8000000000000005", "7fffffffffffffff", "100000005"]
TOO_HUGE = ["10000000000000005", "f" * 17, "1" + "0" * 16, "f" * 1000]

CASES = [
    *(served(SIZE, f"size {size}", chunked(size.encode() + END), HELLO) for size in GOOD_SIZES),
    served(
        SIZE, "hexadecimal in upper case", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), Seen("POST", body=b"0123456789")
    ),
    served(SIZE, "and in lower case", chunked(b"a\r\n0123456789\r\n0\r\n\r\n"), Seen("POST", body=b"0123456789")),
    served(
        SIZE, "several chunks", chunked(b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"), Seen("POST", body=b"abcdef")
    ),
    served(SIZE, "no chunk but the last", chunked(b"0\r\n\r\n"), Seen("POST")),
    served(SIZE, "a last chunk of several zeros", chunked(b"5\r\nhello\r\n0000\r\n\r\n"), HELLO),
    served(
        SIZE,
        "data that looks like chunks",
        chunked(b"9\r\n0\r\n\r\n0\r\n\r\r\n0\r\n\r\n"),
        Seen("POST", body=b"0\r\n\r\n0\r\n\r"),
    ),
    served(
        SIZE,
        "data of any octets",
        chunked(b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n"),
        Seen("POST", body=bytes(range(256))),
    ),
    served(
        SIZE,
        "a chunk of 65,536 octets",
        chunked(b"10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n"),
        Seen("POST", body=b"x" * 65536),
    ),
    served(SIZE, "200 chunks", chunked(b"1\r\na\r\n" * 200 + b"0\r\n\r\n"), Seen("POST", body=b"a" * 200)),
    served(SIZE, "a request behind it", chunked(b"5" + END) + get(), HELLO, Seen()),
    *(refused(SIZE, f"size {size[:20]!r} ({len(size)})", chunked(size.encode() + END)) for size in BAD_SIZES),
    *(refused(SIZE, f"a size with {what}", chunked(size + END)) for what, size in BAD_SIZE_OCTETS.items()),
    *(refused(SIZE, f"size {size}, then the end", chunked(size.encode() + b"\r\nhello"), ended=True) for size in HUGE),
    *(
        refused(SIZE, f"size {size[:20]} ({len(size)}), more than 64 bits", chunked(size.encode() + END))
        for size in TOO_HUGE
    ),
    refused(SIZE, "a size line that ends in LF", chunked(b"5\nhello\r\n0\r\n\r\n")),
    refused(SIZE, "a size line that ends in CR", chunked(b"5\rhello\r\n0\r\n\r\n")),
    refused(SIZE, "a size line that ends in CR CR LF", chunked(b"5\r\r\nhello\r\n0\r\n\r\n")),
    refused(SIZE, "data that ends in LF", chunked(b"5\r\nhello\n0\r\n\r\n")),
    refused(SIZE, "data that ends in CR", chunked(b"5\r\nhello\r0\r\n\r\n")),
    refused(SIZE, "data without an end", chunked(b"5\r\nhello0\r\n\r\n")),
    refused(SIZE, "data longer than its size", chunked(b"5\r\nhello!\r\n0\r\n\r\n")),
    refused(SIZE, "data longer by what a lenient server skips", chunked(b"5\r\nhelloXX0\r\n\r\n")),
    refused(SIZE, "data shorter than its size", chunked(b"6\r\nhello\r\n0\r\n\r\n")),
    refused(SIZE, "an empty line between chunks", chunked(b"5\r\nhello\r\n\r\n0\r\n\r\n")),
    refused(SIZE, "a last chunk that ends in LF", chunked(b"5\r\nhello\r\n0\n\r\n")),
    refused(SIZE, "an end that is an LF", chunked(b"5\r\nhello\r\n0\r\n\n")),
    refused(SIZE, "an end that is a CR", chunked(b"5\r\nhello\r\n0\r\n\rX")),
    refused(SIZE, "an end that is CR CR LF", chunked(b"5\r\nhello\r\n0\r\n\r\r\n")),
    refused(SIZE, "a body that is not in chunks at all", chunked(b"hello\r\n")),
    refused(SIZE, "a malformed body behind a good request", get() + chunked(b"x\r\n"), after=[Seen()]),
    # Extensions
    *(
        served(EXTENSION, f"extension {text!r}", chunked(b"5" + text.encode("latin-1") + END), HELLO)
        for text in GOOD_EXTENSIONS
    ),
    served(EXTENSION, "an extension of the last chunk", chunked(b"5\r\nhello\r\n0;a=b\r\n\r\n"), HELLO),
    *(
        refused(EXTENSION, f"extension {text!r}", chunked(b"5" + text.encode("latin-1") + END))
        for text in BAD_EXTENSIONS
    ),
    *(
        refused(EXTENSION, f"octet {octet:#04x} in an extension", chunked(b"5;a%cb" % octet + END))
        for octet in (0, 7, 10, 11, 12, 13, 27, 127)
    ),
    *(
        refused(EXTENSION, f"octet {octet:#04x} in a quoted one", chunked(b'5;a="b%cc"' % octet + END))
        for octet in (0, 7, 10, 11, 12, 13, 127)
    ),
    refused(EXTENSION, "a line end in a quoted one", chunked(b'5;a="\r\nhello\r\n0\r\n\r\n"' + END)),
    refused(EXTENSION, "an LF that hides a chunk", chunked(b"2;\nxx\r\n4c\r\n0\r\n\r\n" + get())),
    served(EXTENSION, "extensions of 1,000 octets", chunked(b"5;" + b"a" * 1000 + END), HELLO),
    refused(EXTENSION, "of 2,000 octets", chunked(b"5;" + b"a" * 2000 + END)),
    refused(EXTENSION, "of 70,000 octets that never end", chunked(b"5;" + b"a" * 70_000)),
    refused(EXTENSION, "many in one line", chunked(b"5" + b";a" * 1000 + END)),
    refused(
        EXTENSION, "a little with each of many chunks", chunked((b"1;" + b"a" * 900 + b"\r\nx\r\n") * 30 + b"0\r\n\r\n")
    ),
    # Trailers
    served(
        TRAILER,
        "trailers are read and not merged",
        post(b"Transfer-Encoding: chunked", b"X-B: c", data=b"5\r\nhello\r\n0\r\nX-A: b\r\nX-B: d\r\n\r\n"),
        Seen("POST", body=b"hello", fields={"x-a": b"", "x-b": b"c"}),
    ),
    *(
        served(
            TRAILERS,
            f"the trailer {line} has no effect",
            chunked(b"5\r\nhello\r\n0\r\n" + line.encode() + b"\r\n\r\n") + get(),
            HELLO,
            Seen(),
        )
        for line in DROPPED
    ),
    *(
        refused(TRAILER, f"a trailer with {what}", chunked(b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n"))
        for what, line in BAD_TRAILERS.items()
    ),
    refused(TRAILER, "a trailer that ends in LF", chunked(b"5\r\nhello\r\n0\r\nX-A: b\n\r\n")),
    served(TRAILER, "100 trailers", chunked(b"0\r\n" + b"X: y\r\n" * 100 + b"\r\n"), Seen("POST")),
    refused("RFC 6585, 5", "101 trailers", chunked(b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n"), 431),
    refused("RFC 6585, 5", "a trailer of 9,000 octets", chunked(b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n"), 431),
    refused("RFC 6585, 5", "a trailer that never ends", chunked(b"0\r\nX: " + b"y" * 70_000), 431),
    refused(
        "RFC 6585, 5",
        "trailers too large together",
        chunked(b"0\r\n" + (b"X: " + b"y" * 8000 + b"\r\n") * 10 + b"\r\n"),
        431,
    ),
    refused(
        "RFC 9110, 15.5.14",
        "a body above the limit, in chunks",
        chunked(b"15\r\n" + b"x" * 21 + b"\r\n0\r\n\r\n"),
        413,
        limits=SMALL,
    ),
    served(
        "RFC 9110, 15.5.14",
        "a body at the limit, in chunks",
        chunked(b"14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"),
        Seen("POST", body=b"x" * 20),
        limits=SMALL,
    ),
]

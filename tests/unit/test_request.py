"""What makes a request: each rule on request line, fields and framing, over every parser, which must never disagree.

Sections are of RFC 9112 unless another RFC is named.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.wire import EVERY_PARSER, PARSERS, judge, parser_called

from shardserve.errors import ProtocolError
from shardserve.http.partial_head import PartialHead
from shardserve.http.request import Limits, Request, read_request
from shardserve.http.request_line import METHODS

LIMITS = Limits()
EVERY = [parser_called(name) for name in EVERY_PARSER]
REQUEST_FIELDS = [name for name in Request.__slots__ if name != "special"]  # that is only for those who read it


def head(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"Host: a") -> bytes:
    """A head of a request line, a Host field and more fields."""
    lines = [line, *([host] if host is not None else []), *fields]
    return b"".join(part + b"\r\n" for part in lines) + b"\r\n"


def verdict(octets: bytes, parser: Any, limits: Limits = LIMITS) -> tuple[Any, ...] | int:
    """All that is read from a head, or the status it is refused with."""
    try:
        request = read_request(octets, parser, limits)
    except ProtocolError as error:
        return error.status
    return tuple(getattr(request, name) for name in REQUEST_FIELDS)


def same_verdict(octets: bytes, limits: Limits = LIMITS) -> tuple[Any, ...] | int:
    """What all parsers make of a head."""
    first, *others = (verdict(octets, parser, limits) for parser in EVERY)
    for name, other in zip(EVERY_PARSER[1:], others, strict=True):
        assert first == other, f"{EVERY_PARSER[0]}: {first}, {name}: {other}"
    return first


def read(octets: bytes, limits: Limits = LIMITS) -> Request:
    """Read a head that must be accepted, by all parsers alike."""
    same_verdict(octets, limits)
    return read_request(octets, EVERY[0], limits)


def refusal(octets: bytes, limits: Limits = LIMITS) -> int:
    """The status of a head that must be refused, by all parsers alike."""
    first = same_verdict(octets, limits)
    assert isinstance(first, int), f"accepted: {first}"
    return first


# Request line (section 3)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_each_method_of_the_table_is_served_by_all_parsers(method: bytes) -> None:
    request = read(head(line=method + b" /a?b HTTP/1.1"))
    assert (request.method, request.path, request.query) == (method.decode(), b"/a", b"b")


@pytest.mark.parametrize(
    "method",
    [b"BREW", b"get", b"Get", b"GETT", b"GE", b"CONNECT", b"SOURCE", b"DESCRIBE", b"QUERY", b"PRI", b"!#$%&'*+-.^_`|~"],
)
def test_any_other_token_as_method_is_not_implemented(method: bytes) -> None:
    assert refusal(head(line=method + b" / HTTP/1.1")) == 501  # RFC 9110 section 9.1


ANY_METHOD = Limits(any_method=True)


@pytest.mark.parametrize("method", [b"BREW", b"get", b"GE", b"QUERY", b"PRI", b"G", b"!#$%&'*+-.^_`|~", b"A" * 4000])
def test_any_token_is_a_method_where_that_is_asked_for(method: bytes) -> None:
    request = read(head(b"Content-Length: 5", line=method + b" /a?b HTTP/1.1"), ANY_METHOD)
    assert (request.method, request.path, request.length) == (method.decode(), b"/a", 5)
    assert read(head(line=method + b" / HTTP/1.0"), ANY_METHOD).version == "1.0"
    assert refusal(head(line=method + b" / HTTP/2.0"), ANY_METHOD) == 505
    for line in (method + b" * HTTP/1.1", method + b"  / HTTP/1.1", b"(" + method + b" / HTTP/1.1"):
        assert refusal(head(line=line), ANY_METHOD) == 400
    octets = head(line=method + b" / HTTP/1.1")
    for end in range(1, len(octets)):
        PartialHead().look(octets[:end], ANY_METHOD)


def test_a_tunnel_is_never_made() -> None:
    assert refusal(head(line=b"CONNECT a:80 HTTP/1.1"), ANY_METHOD) == 501
    with pytest.raises(ProtocolError, match="not implemented"):
        PartialHead().look(b"CONNECT a", ANY_METHOD)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET / a HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET /\x0bHTTP/1.1",
        b"G@T / HTTP/1.1",
        b"GET: / HTTP/1.1",
        b"\x00GET / HTTP/1.1",
        b"GET\xa0/ HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/1.",
        b"GET / HTTP/.1",
        b"GET / HTTP/1.10",
        b"GET / HTTP/11.1",
        b"GET / HTTP/01.1",
        b"GET / HTTP/1,1",
        b"GET / HTTP/1.1\x00",
        b"GET / HTTP 1.1",
        b"GET / HTTPS/1.1",
        b"GET / XTP/1.1",
        b"GET / HTTP/+1.1",
        b"GET / HTTP/\xb2.1",
    ],
)
def test_a_malformed_request_line_is_bad(line: bytes) -> None:
    assert refusal(head(line=line)) == 400


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/2.1", b"HTTP/9.9"])
def test_another_major_version_is_not_supported(version: bytes) -> None:
    assert refusal(head(line=b"GET / " + version)) == 505  # RFC 9110 section 15.6.6


@pytest.mark.parametrize("version", [b"HTTP/1.2", b"HTTP/1.3", b"HTTP/1.9"])
def test_a_higher_minor_version_is_served_as_1_1(version: bytes) -> None:
    request = read(head(b"X-A: b", line=b"POST /a?b " + version))  # RFC 9110 section 2.5
    assert (request.method, request.path, request.query, request.version) == ("POST", b"/a", b"b", "1.1")
    assert request.headers == [(b"host", b"a"), (b"x-a", b"b")]


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        (b"/", b"/", b"", b"a"),
        (b"/a/b", b"/a/b", b"", b"a"),
        (b"/a?b", b"/a", b"b", b"a"),
        (b"/?", b"/", b"", b"a"),
        (b"/a?b?c", b"/a", b"b?c", b"a"),
        (b"/a%20b%2f%00?%20", b"/a%20b%2f%00", b"%20", b"a"),
        (b"/%zz%", b"/%zz%", b"", b"a"),
        (b"//b/c", b"//b/c", b"", b"a"),
        (b"/../a/./b", b"/../a/./b", b"", b"a"),
        (b"/http://b/", b"/http://b/", b"", b"a"),
        (b"/!\"$%&'()*+,-./:;<=>@[\\]^_`{|}~", b"/!\"$%&'()*+,-./:;<=>@[\\]^_`{|}~", b"", b"a"),
        (b"http://b/c?d", b"/c", b"d", b"b"),
        (b"HTTP://b:80/c", b"/c", b"", b"b:80"),
        (b"https://b/", b"/", b"", b"b"),
        (b"http://b", b"/", b"", b"b"),
        (b"http://b?c", b"/", b"c", b"b"),
        (b"http://b/?c", b"/", b"c", b"b"),
        (b"http://[::1]:8000/c", b"/c", b"", b"[::1]:8000"),
        (b"http://b:/c", b"/c", b"", b"b:"),
        (b"http://b/http://c/", b"/http://c/", b"", b"b"),
        (b"http://b.example_1/c", b"/c", b"", b"b.example_1"),
        (b"http://u:p%40@a/c", b"/c", b"", b"a"),  # userinfo, where the Host field tells the same host
    ],
)
def test_origin_and_absolute_form_are_read(target: bytes, path: bytes, query: bytes, host: bytes) -> None:
    request = read(head(b"X-A: b", line=b"GET " + target + b" HTTP/1.1"))
    assert (request.path, request.query) == (path, query)
    # Section 3.2.2: the authority of an absolute-form target replaces the Host field.
    assert request.headers == [(b"host", host), (b"x-a", b"b")]


def test_an_absolute_target_gives_a_host_to_http_1_0_without_one() -> None:
    assert read(head(line=b"GET http://b/ HTTP/1.0", host=None)).headers == [(b"host", b"b")]


def test_an_absolute_target_does_not_spare_http_1_1_the_host_field() -> None:
    assert refusal(head(line=b"GET http://b/ HTTP/1.1", host=None)) == 400  # section 3.2


def test_asterisk_form_is_for_options_only() -> None:
    request = read(head(line=b"OPTIONS * HTTP/1.1"))
    assert (request.path, request.query) == (b"*", b"")
    assert refusal(head(line=b"GET * HTTP/1.1")) == 400  # section 3.2.4


@pytest.mark.parametrize(
    "target",
    [
        b"a",
        b"a/b",
        b"?a",
        b"#a",
        b"/a#b",
        b"/a?b#c",
        b"*a",
        b"**",
        b"b:80",
        b"http:",
        b"http:/b",
        b"http:b",
        b"http://",
        b"http:///a",
        b"http://?a",
        b"http://u@b/",
        b"http://u:p@b/",
        b"http://u@a@b/",
        b"http://a@u@a/",
        b"http://u%@a/",
        b"http://[u]@a/",
        b"http://a@/",
        b"http://:80/",
        b"http://[1]/",
        b"http://b c/",
        b"http://b\\c/",
        b"http://b:8a/",
        b"http://b:123456/",
        b"http://[::1/",
        b"http://::1/",
        b"http://[::1]a/",
        b"http://b/#c",
        b"ftp://b/",
        b"javascript://b/",
        b"/\x00",
        b"/\x01",
        b"/\x7f",
        b"/\x0b",
        b"/\x0c",
        b"/\x1f",
    ],
)
def test_a_malformed_target_is_bad(target: bytes) -> None:
    for method in (b"GET", b"OPTIONS"):
        assert refusal(head(line=method + b" " + target + b" HTTP/1.1")) == 400


@pytest.mark.parametrize("octet", range(256))
def test_parsers_agree_on_each_octet_in_a_target(octet: int) -> None:
    same_verdict(head(line=b"GET /a%cb?c HTTP/1.1" % octet))


# Fields (section 5)


def test_names_come_in_lower_case_values_without_the_white_space_around_them_order_and_repeats_are_kept() -> None:
    request = read(head(b"X-A:b", b"x-c: \t d\t e \t", b"X-a: f", b"X-Empty:", b"X-Blank: \t "))
    assert request.headers == [
        (b"host", b"a"),
        (b"x-a", b"b"),
        (b"x-c", b"d\t e"),
        (b"x-a", b"f"),
        (b"x-empty", b""),
        (b"x-blank", b""),
    ]
    assert request.field(b"x-a") == b"b"
    assert request.field(b"x-none") is None


def test_a_value_may_hold_any_visible_octet_and_obs_text() -> None:
    value = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])
    assert read(head(b"X-A: " + value)).field(b"x-a") == value  # RFC 9110 section 5.5


def test_a_name_may_be_any_token() -> None:
    name = b"!#$%&'*+-.^`|~09azAZ"
    assert read(head(name + b": b")).field(name.lower()) == b"b"


@pytest.mark.parametrize("octet", range(256))
def test_parsers_agree_on_each_octet_in_a_value(octet: int) -> None:
    first = same_verdict(head(b"X-A: b%cc" % octet))
    allowed = octet in (0x09, 0x20) or 0x21 <= octet <= 0x7E or octet >= 0x80
    assert isinstance(first, tuple) == allowed


@pytest.mark.parametrize("octet", range(256))
def test_parsers_agree_on_each_octet_in_a_name(octet: int) -> None:
    first = same_verdict(head(b"X%cA: b" % octet))
    allowed = re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z:]", bytes([octet])) is not None
    assert isinstance(first, tuple) == allowed


@pytest.mark.parametrize(
    "field",
    [
        b"X-A",
        b": b",
        b":",
        b" : b",
        b"X-A : b",  # section 5.1: white space before the colon
        b"X-A\t: b",
        b"X A: b",
        b" X-A: b",  # section 2.2, 5.2: a folded field
        b"\tX-A: b",
        b"X-A: b\r\n c",
        b"X-A: b\r\n\tc",
        b"X-A: b\r\n ",
        b"X-A: b\nX-B: c",
        b"X-A: b\rX-B: c",
        b"X-A: b\r\rX-B: c",
        b"X-A: b\r",
        b"X-A: b\n",
        b"\nX-A: b",
        b"\rX-A: b",
        b"X-A: b\x00",
        b"X-A\x00: b",
        b"X-A: \x0bb",
        b"X-\xe9: b",
        b"(X-A): b",
        b'"X-A": b',
        b"X-A, X-B: b",
        b"Host: b",
        b"Content-Length: 0\nTransfer-Encoding: chunked",
    ],
)
def test_a_malformed_field_is_bad(field: bytes) -> None:
    assert refusal(head(field)) == 400
    assert refusal(head(field, b"X-Z: z")) == 400


@pytest.mark.parametrize("field", [b" X-A: b", b"\tX-A: b", b"X-A: b", b" "])
def test_white_space_between_request_line_and_first_field_is_bad(field: bytes) -> None:
    folded = b"GET / HTTP/1.1\r\n" + (b"" if field.startswith((b" ", b"\t")) else b" ") + field + b"\r\nHost: a\r\n\r\n"
    assert refusal(folded) == 400  # section 2.2


def test_a_name_with_an_underscore_is_dropped() -> None:
    request = read(head(b"X_A: b", b"X-A: c", b"Content_Length: 5", b"X-B: d_e"))
    assert request.headers == [(b"host", b"a"), (b"x-a", b"c"), (b"x-b", b"d_e")]
    assert request.length == 0


def test_a_name_with_an_underscore_is_refused_where_that_is_asked_for() -> None:
    limits = Limits(header_map="refuse")
    for name in (b"X_A", b"_", b"Content_Length", b"a_"):
        assert refusal(head(name + b": b"), limits) == 400
    assert read(head(b"X-A: b_c"), limits).headers == [(b"host", b"a"), (b"x-a", b"b_c")]


def test_a_name_with_an_underscore_is_kept_where_that_is_asked_for_but_frames_nothing() -> None:
    limits = Limits(header_map="dangerous")
    request = read(head(b"X_A: b", b"X-A: c", b"Content_Length: 5", b"Transfer_Encoding: chunked"), limits)
    assert request.headers[1:] == [
        (b"x_a", b"b"),
        (b"x-a", b"c"),
        (b"content_length", b"5"),
        (b"transfer_encoding", b"chunked"),
    ]
    assert request.length == 0


@pytest.mark.parametrize("header_map", ["drop", "refuse"])
def test_names_with_an_underscore_may_be_let_through_one_by_one(header_map: Any) -> None:
    limits = Limits(header_map=header_map, underscored=frozenset((b"script_name",)))
    assert read(head(b"SCRIPT_NAME: /b"), limits).headers == [(b"host", b"a"), (b"script_name", b"/b")]
    octets = head(b"Script_Name: /b", b"X_A: b")
    if header_map == "refuse":
        assert refusal(octets, limits) == 400
    else:
        assert read(octets, limits).headers == [(b"host", b"a"), (b"script_name", b"/b")]
    every = Limits(header_map=header_map, underscored=frozenset((b"*",)))
    assert read(octets, every).headers == [(b"host", b"a"), (b"script_name", b"/b"), (b"x_a", b"b")]


# Host (section 3.2)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a",
        b"a.example:8000",
        b"a:",
        b"127.0.0.1",
        b"[::1]",
        b"[::1]:80",
        b"[v1.a:b]",
        b"[1:2:3:4:5:6:7:8]",
        b"[::FFFF:1.2.3.4]:65535",
        b"a_b",
        b"%41",
        b"a:00080",
        b"A-b.C",
        b"xn--a",
        b"a,",
    ],
)
def test_a_host_is_accepted(host: bytes) -> None:
    assert read(head(host=b"Host: " + host)).field(b"host") == host


@pytest.mark.parametrize(
    "host",
    [
        b"a b",
        b"a/b",
        b"a?b",
        b"a#b",
        b"u@a",
        b"a\\b",
        b"a:b",
        b"a:80:80",
        b"[::1",
        b"::1",
        b"[]",
        b"[::1]a",
        b"\xe9",
        b'"a"',
        b"<a>",
        b"%4",
        b"a:123456",
        b"a\tb",
        b":",
        b":80",
        b"[1]",
        b"[::1::2]",
        b"[1:2:3:4:5:6:7]",
        b"[::12345]",
        b"[::1.2.3]",
        b"[fe80::1%25eth0]",
        b"[:::]",
        b"[v.a]",
    ],
)
def test_a_host_that_is_none_is_bad(host: bytes) -> None:
    assert refusal(head(host=b"Host: " + host)) == 400


def test_http_1_1_needs_exactly_one_host_and_1_0_at_most_one() -> None:
    assert refusal(head(host=None)) == 400
    assert refusal(head(b"Host: a")) == 400
    assert refusal(head(b"HOST: b")) == 400
    assert read(head(line=b"GET / HTTP/1.0", host=None)).headers == []
    assert refusal(head(b"Host: a", line=b"GET / HTTP/1.0")) == 400


# Framing (section 6)


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"5", 5), (b"007", 7), (b"999999999999999999", 10**18 - 1)])
def test_content_length_is_read(value: bytes, length: int) -> None:
    for version in (b"1.0", b"1.1"):
        assert read(head(b"Content-Length: " + value, line=b"POST / HTTP/" + version)).length == length
        assert read(head(b"Content-Length: " + value, line=b"GET / HTTP/" + version)).length == length


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"-1",
        b"+1",
        b"1.0",
        b"1e3",
        b"0x10",
        b"5a",
        b"a",
        b"1 2",
        b"1_0",
        b"5,5",
        b"5, 5",
        b"5,6",
        b"5,",
        b",5",
        b"5;",
        b'"5"',
        b"\xb2",
        b"1000000000000000000",
        b"18446744073709551616",
        b"18446744073709551621",
        b"9" * 40,
        b"0" * 25 + b"5",
    ],
)
def test_a_content_length_that_is_no_plain_number_is_bad(value: bytes) -> None:
    assert refusal(head(b"Content-Length: " + value, line=b"POST / HTTP/1.1")) == 400  # section 6.3, item 5


def test_two_content_lengths_are_bad_equal_or_not() -> None:
    for second in (b"5", b"6", b"05"):
        assert refusal(head(b"Content-Length: 5", b"Content-Length: " + second, line=b"POST / HTTP/1.1")) == 400


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED", b"identity, chunked", b"Identity \t,chunked"])
def test_a_chunked_body_has_no_length(coding: bytes) -> None:
    assert read(head(b"Transfer-Encoding: " + coding, line=b"POST / HTTP/1.1")).length is None


@pytest.mark.parametrize(
    "coding",
    [
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b"chunked, identity",
        b"identity",
        b"identity, identity, chunked",
        b"identity chunked",
        b"identity;a, chunked",
        b"xidentity, chunked",
        b"gzip, identity, chunked",
        b"chunked,",
        b",chunked",
        b"xchunked",
        b"chunkedx",
        b'"chunked"',
        b"chunked;a=b",
        b"",
        b"chun ked",
        b"\x0bchunked",
    ],
)
def test_another_transfer_coding_is_refused_by_all_parsers_alike(coding: bytes) -> None:
    assert refusal(head(b"Transfer-Encoding: " + coding, line=b"POST / HTTP/1.1")) in (400, 501)  # section 6.1


@pytest.mark.parametrize("second", [b"chunked", b"identity", b"gzip"])
def test_two_transfer_encodings_are_refused(second: bytes) -> None:
    fields = (b"Transfer-Encoding: chunked", b"Transfer-Encoding: " + second)
    assert refusal(head(*fields, line=b"POST / HTTP/1.1")) in (400, 501)
    assert refusal(head(*fields[::-1], line=b"POST / HTTP/1.1")) in (400, 501)


@pytest.mark.parametrize("coding", [b"chunked", b"gzip"])
def test_length_and_coding_together_are_refused(coding: bytes) -> None:
    both = (b"Content-Length: 5", b"Transfer-Encoding: " + coding)
    assert refusal(head(*both, line=b"POST / HTTP/1.1")) in (400, 501)  # section 6.1: smells of smuggling
    assert refusal(head(*both[::-1], line=b"POST / HTTP/1.1")) in (400, 501)


def test_transfer_encoding_in_http_1_0_is_bad() -> None:
    assert refusal(head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0")) == 400  # section 6.1


@pytest.mark.parametrize("name", [b"Transfer_Encoding", b"Transfer-Encoding-", b"XTransfer-Encoding"])
def test_what_only_looks_like_transfer_encoding_does_not_frame(name: bytes) -> None:
    assert read(head(name + b": chunked", line=b"POST / HTTP/1.1")).length == 0


# Connection (section 9.3) and Expect (RFC 9110 section 10.1.1)


@pytest.mark.parametrize(
    ("version", "fields", "kept"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"close"], False),
        (b"1.1", [b"Close"], False),
        (b"1.1", [b"keep-alive"], True),
        (b"1.1", [b"keep-alive, close"], False),
        (b"1.1", [b"close, keep-alive"], False),
        (b"1.1", [b"keep-alive", b"close"], False),
        (b"1.1", [b"te , \tclose\t"], False),
        (b"1.1", [b"closed"], True),
        (b"1.1", [b"x-close"], True),
        (b"1.1", [b""], True),
        (b"1.1", [b",,close"], False),
        (b"1.1", [b"Upgrade, HTTP2-Settings"], True),
        (b"1.0", [], False),
        (b"1.0", [b"keep-alive"], True),
        (b"1.0", [b"Keep-Alive"], True),
        (b"1.0", [b"KEEP-ALIVE"], True),
        (b"1.0", [b"te, keep-alive"], True),
        (b"1.0", [b"keep-alive, close"], False),
        (b"1.0", [b"close"], False),
        (b"1.0", [b""], False),
        (b"1.2", [], True),
    ],
)
def test_connection_options_decide_on_keep_alive(version: bytes, fields: list[bytes], kept: bool) -> None:
    request = read(head(*(b"Connection: " + value for value in fields), line=b"GET / HTTP/" + version))
    assert request.keep_alive is kept


@pytest.mark.parametrize(
    ("version", "length", "expects"),
    [(b"1.1", b"5", True), (b"1.1", None, True), (b"1.1", b"0", False), (b"1.0", b"5", False), (b"1.9", b"5", True)],
)
def test_a_continue_is_expected_only_by_1_1_and_only_for_a_body(
    version: bytes, length: bytes | None, expects: bool
) -> None:
    framing = b"Content-Length: " + length if length is not None else b"Transfer-Encoding: chunked"
    for value in (b"100-continue", b"100-Continue"):
        assert read(head(b"Expect: " + value, framing, line=b"POST / HTTP/" + version)).expect_continue is expects


@pytest.mark.parametrize("value", [b"200-ok", b"100", b"", b"100-continue; a=b", b'"100-continue"'])
def test_another_expectation_is_read_over(value: bytes) -> None:
    fields = (b"Content-Length: 5", b"Expect: " + value)
    for version in (b"1.0", b"1.1"):
        assert read(head(*fields, line=b"POST / HTTP/" + version)).expect_continue is False


@pytest.mark.parametrize("values", [[b"200-ok, 100-continue"], [b"x", b"100-Continue"], [b"100-continue"] * 2])
def test_a_continue_may_be_one_of_several_expectations(values: list[bytes]) -> None:
    fields = (b"Content-Length: 5", *(b"Expect: " + value for value in values))
    assert read(head(*fields, line=b"POST / HTTP/1.1")).expect_continue is True
    assert read(head(*fields, line=b"POST / HTTP/1.0")).expect_continue is False


def test_an_upgrade_offer_is_read_over() -> None:
    request = read(head(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 5", line=b"POST / HTTP/1.1"))
    assert request.length == 5
    assert request.keep_alive


# Limits


def test_the_limits_are_met_exactly() -> None:
    limits = Limits(line=20, fields=3, field_size=30, section=80)
    line = b"GET /" + b"a" * 6 + b" HTTP/1.1"
    assert len(line) == 20
    read(head(line=line), limits)
    assert refusal(head(line=b"GET /" + b"a" * 7 + b" HTTP/1.1"), limits) == 414  # RFC 9110 section 15.5.15
    read(head(b"A: b", b"C: d"), limits)
    assert refusal(head(b"A: b", b"C: d", b"E: f"), limits) == 431  # RFC 6585 section 5
    read(head(b"X: " + b"a" * 27), limits)
    assert refusal(head(b"X: " + b"a" * 28), limits) == 431
    assert refusal(head(b"X: " + b"a" * 27, b"Y: " + b"a" * 27, host=b"Host: abcdefgh"), limits) == 431


def test_a_body_above_the_limit_is_refused_by_its_declared_length() -> None:
    limits = Limits(body=10)
    assert read(head(b"Content-Length: 10", line=b"POST / HTTP/1.1"), limits).length == 10
    assert refusal(head(b"Content-Length: 11", line=b"POST / HTTP/1.1"), limits) == 413


@pytest.mark.parametrize("parser", EVERY, ids=EVERY_PARSER)
def test_a_full_size_head_is_accepted(parser: Any) -> None:
    fields = [b"X-%d: " % number + b"v" * 640 for number in range(99)]
    octets = head(*fields, line=b"GET /" + b"a" * 8000 + b" HTTP/1.1")
    assert len(read_request(octets, parser, LIMITS).headers) == 100


# Heads that are not complete


PARTIAL_REFUSED = [
    (b"BREW /", 501),
    (b"get ", 501),
    (b"GETX", 501),
    (b"A" * 40, 501),
    (b" ", 400),
    (b"GET\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),  # a TLS client
    (b"\x00", 400),
    (b"GET / HTTP/1.1\n", 400),
    (b"GET / HTTP/1.1\rH", 400),
    (b"GET / HTTP/1.1\r\nHost: a\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\r", 400),
    (b"GET /" + b"a" * 8190, 414),
    (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101, 431),
    (b"GET / HTTP/1.1\r\nA: " + b"b" * 70000, 431),
    (b"GET / HTTP/1.1\r\nA: " + b"b" * 8188, 431),
    (b"GET / HTTP/1.1\r\nA: " + b"b" * 8188 + b"\r\nC: d\r\n", 431),
]


@pytest.mark.parametrize(("octets", "status"), PARTIAL_REFUSED, ids=lambda value: repr(value)[:30])
def test_a_partial_head_that_cannot_become_good_is_refused_at_once(octets: bytes, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        PartialHead().look(octets, LIMITS)
    assert caught.value.status == status
    partial = PartialHead()
    looks = (partial.look(octets[:end], LIMITS) for end in range(1, len(octets) + 1))
    with pytest.raises(ProtocolError) as caught:
        list(looks)
    assert caught.value.status == status


GOOD_HEADS = [
    head(),
    head(b"Content-Length: 5", b"Connection: close", line=b"POST /a?b HTTP/1.0"),
    head(line=b"UNSUBSCRIBE /" + b"a" * 8160 + b" HTTP/1.1"),
    head(*[b"A: b"] * 99),
    head(b"X: " + b"a" * 8187),
    head(line=b"OPTIONS * HTTP/1.1"),
]


@pytest.mark.parametrize("octets", GOOD_HEADS, ids=lambda octets: repr(octets[:20]))
def test_no_beginning_of_a_good_head_is_refused(octets: bytes) -> None:
    read(octets)
    partial = PartialHead()
    for end in range(1, len(octets)):
        PartialHead().look(octets[:end], LIMITS)
        partial.look(octets[:end], LIMITS)


def test_no_beginning_of_a_head_at_the_limits_is_refused() -> None:
    limits = Limits(line=20, fields=3, field_size=30, section=82)
    octets = head(b"Y: " + b"a" * 27, b"Z: " + b"a" * 27, line=b"GET /" + b"a" * 6 + b" HTTP/1.1")
    read(octets, limits)
    assert refusal(head(b"Y: " + b"a" * 27, b"Z: " + b"a" * 28), limits) == 431
    partial = PartialHead()
    for end in range(1, len(octets)):
        PartialHead().look(octets[:end], limits)
        partial.look(octets[:end], limits)


# Over the wire: the verdict does not depend on how the octets arrive, and refusing closes


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("octets", "statuses", "closed"),
    [
        (head(), (200,), False),
        (head(line=b"GET / HTTP/1.0"), (200,), True),
        (head(b"Connection: close"), (200,), True),
        (b"\r\n" + head(), (200,), False),
        (head(b"Content-Length: 5", line=b"POST / HTTP/1.1") + b"hello", (200,), False),
        (head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1") + b"5\r\nhello\r\n0\r\n\r\n", (200,), False),
        (head(line=b"GET / HTTP/1.2"), (200,), False),
        (head() * 20, (200,) * 20, False),
        (head(host=None), (400,), True),
        (head(b"Host: b"), (400,), True),
        (head(b"A : b"), (400,), True),
        (head(b"A: b\r\n c"), (400,), True),
        (head(b"Content-Length: 1, 1"), (400,), True),
        (head(line=b"BREW / HTTP/1.1"), (501,), True),
        (head(line=b"GET / HTTP/2.0"), (505,), True),
        (head(b"Expect: a"), (200,), False),
        # More than one fault: what comes first decides, also where all comes at once.
        (head(b"A b: c", *[b"A: b"] * 101), (431,), True),
        (head(b"A: b\nC: d", *[b"A: b"] * 101), (400,), True),
        (head(*[b"A: b"] * 101, b"A: b\nC: d"), (431,), True),
        (head(b"A: " + b"b" * 70000, b"C: d\re"), (431,), True),
        (head(b"A: \rb" + b"b" * 70000), (400,), True),
        (head(line=b"BREW /" + b"a" * 8190 + b" HTTP/1.1"), (501,), True),
        (head(line=b"GET a" + b"a" * 8190 + b" HTTP/1.1"), (414,), True),
        (head(b"A: " + b"b" * 70000, line=b"GET a HTTP/1.1"), (400,), True),
        (head(b"Transfer-Encoding: gzip"), (501,), True),
        (b"GET / HTTP/1.1\nHost: a\n\n", (400,), True),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", (400,), True),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", (400,), True),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", (400,), True),
        (head() + head(b"A : b"), (200, 400), True),
        (head(line=b"GET /" + b"a" * 8190 + b" HTTP/1.1"), (414,), True),
        (head(b"A: " + b"b" * 9000), (431,), True),
        (head(*[b"A: b"] * 101), (431,), True),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_the_verdict_is_the_same_however_the_octets_arrive(
    parser: str, octets: bytes, statuses: tuple[int, ...], closed: bool
) -> None:
    verdict = judge(octets, parser)
    assert (verdict.statuses, verdict.closed) == (statuses, closed)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("lines", [1, 2, 3, 5])
def test_empty_lines_before_a_request_are_skipped_or_refused_however_they_arrive(parser: str, lines: int) -> None:
    verdict = judge(b"\r\n" * lines + head(), parser)
    assert verdict.statuses in ([(200,)] if lines == 1 else [(200,), (400,)])  # section 2.2: at least one is skipped


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    "line", [b"X@T / HTTP/1.1", b"BREW / HTTP/2.0", b"PRI * HTTP/2.0", b"get /  HTTP/1.1", b"BREW /a b HTTP/1.1"]
)
def test_the_status_of_a_bad_request_line_does_not_depend_on_how_it_arrives(parser: str, line: bytes) -> None:
    verdict = judge(head(line=line), parser)
    assert verdict.closed
    assert len(verdict.statuses) == 1


# Any head at all: the parsers all accept the same request, or all refuse with the same status

_SPECIAL = st.sampled_from(
    [
        *(b"%c" % octet for octet in b"\r\n \t:,;\0\x0b\x7f\x80\xff_/?#*@%10"),
        b"\r\n",
        b"\r\n ",
        b"chunked",
        b"close",
        b"Host: b\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: Upgrade\r\nUpgrade: a\r\n",
        b"Upgrade: b\r\n",
        b"Expect: 100-continue\r\n",
        b"Proxy-Connection: close\r\n",
        b"HTTP/1.0",
        b"CONNECT",
        b"http://b",
    ]
)
_SEEDS = st.sampled_from(
    [
        head(),
        head(b"X-A: b", b"Cookie: c=d; e=f", b"Accept: */*", line=b"GET /a/b?c=d HTTP/1.1"),
        head(b"Content-Length: 5", b"Expect: 100-continue", line=b"POST / HTTP/1.1"),
        head(b"Transfer-Encoding: chunked", line=b"PUT /a HTTP/1.1"),
        head(b"Connection: keep-alive, upgrade", b"Upgrade: websocket", line=b"GET / HTTP/1.0"),
        head(line=b"GET http://b:80/c?d HTTP/1.1"),
        head(line=b"OPTIONS * HTTP/1.1"),
        head(b"Content-Length: 0", b"X-A:", line=b"DELETE /x HTTP/1.2"),
    ]
)


@st.composite
def _mutated_heads(draw: st.DrawFn) -> bytes:
    octets = draw(_SEEDS)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(octets) - 4))
        taken = draw(st.integers(0, 3))
        octets = octets[:at] + draw(st.one_of(_SPECIAL, st.binary(max_size=2))) + octets[at + taken :]
    end = octets.find(b"\r\n\r\n")
    return octets[: end + 4] if end >= 0 else octets + b"\r\n\r\n"


@settings(max_examples=1500, deadline=None)
@given(_mutated_heads())
@example(head(b"Content-Length: 5, 5"))
@example(head(b"Transfer-Encoding: gzip"))
@example(head(b"Transfer-Encoding: chunked, gzip"))
@example(head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"))
@example(head(b"Transfer-Encoding: gzip", b"Content-Length: 5"))
@example(head(b"Transfer-Encoding: gzip", host=None))
@example(head(b"Transfer-Encoding: gzip", b"Host: b"))
@example(head(b"Transfer-Encoding: gzip", line=b"GET / HTTP/1.0"))
@example(head(b"Upgrade: a", b"Connection: upgrade", b"Content-Length: 5"))
@example(head(line=b"GET /\xc3\xa9 HTTP/1.1"))
def test_the_parsers_never_disagree(octets: bytes) -> None:
    same_verdict(octets)

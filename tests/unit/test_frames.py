"""WebSocket frames, octets in and messages out. Sections are of RFC 6455."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from typing import Any

import pytest
from support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closing, deflated, frame, read_frames, text

from shardserve.errors import FrameError
from shardserve.http.deflate import Deflate, agree, read_offers
from shardserve.http.frames import FrameReader, close_frame, frame_head, read_close

LIMIT = 100_000


def deflating(field: str = "permessage-deflate", threshold: int = 0) -> Deflate:
    agreed = agree(read_offers(field))
    assert agreed is not None
    return Deflate(agreed[1], threshold)


def read(*pieces: bytes, limit: int = LIMIT, deflate: Deflate | None = None) -> list[Any]:
    """What is read of these pieces; at the end the code of the error, if there is one."""
    reader = FrameReader(limit, deflate)
    found: list[Any] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (event := reader.read()) is not None:
                found.append(event)
    except FrameError as error:
        found.append(error.code)
    return found


def judge(octets: bytes, **settings: Any) -> list[Any]:
    """The same, whole and cut in many ways, which must make no difference."""
    deflate = settings.pop("deflate", None)

    def again(*pieces: bytes) -> list[Any]:
        return read(*pieces, deflate=deflate and deflating(), **settings)

    verdict = again(octets)
    if len(octets) < 3000:
        assert again(*(octets[at : at + 1] for at in range(len(octets)))) == verdict
    for seed in range(8):
        places = sorted(random.Random(seed).sample(range(len(octets)), min(5, len(octets))))
        pieces = [octets[start:end] for start, end in zip([0, *places], [*places, len(octets)], strict=True)]
        assert again(*filter(None, pieces)) == verdict
    return verdict


# Messages


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 65535, 65536, LIMIT])
def test_messages_of_any_size(size: int) -> None:
    data = random.Random(size).randbytes(size)
    word = "aé€😀"[: size % 4 + 1] * (size // 10)
    assert judge(frame(BINARY, data) + text(word)) == [(BINARY, data), (TEXT, word)]


def test_the_mask_is_each_frames_own_and_may_be_zero() -> None:
    octets = frame(BINARY, b"abcde", mask=b"\0\0\0\0") + frame(BINARY, b"abcde", mask=b"\xff\0\xff\x01")
    assert judge(octets) == [(BINARY, b"abcde")] * 2


def test_fragments_make_one_message_and_control_frames_may_come_between() -> None:
    octets = (
        frame(TEXT, "a€".encode()[:2], fin=False)
        + frame(PING, b"1")
        + frame(CONTINUATION, "a€".encode()[2:3], fin=False)
        + frame(CONTINUATION, b"", fin=False)
        + frame(PONG)
        + frame(CONTINUATION, "a€".encode()[3:] + b"\r\n")
        + frame(BINARY, b"", fin=False)
        + frame(CONTINUATION)
        + text("next")
    )
    assert judge(octets) == [(PING, b"1"), (PONG, b""), (TEXT, "a€\r\n"), (BINARY, b""), (TEXT, "next")]


def test_a_close_may_come_between_fragments() -> None:
    octets = frame(TEXT, b"a", fin=False) + closing(1001, b"bye")
    ((kind, payload),) = judge(octets)
    assert kind == CLOSE
    assert read_close(payload) == (1001, "bye")


# What breaks the rules, each with a good message before it


@pytest.mark.parametrize(
    "octets",
    [
        frame(TEXT, b"a", mask=None),
        frame(TEXT, b"a", reserved=4),
        frame(TEXT, b"a", reserved=2),
        frame(BINARY, b"a", reserved=1),
        frame(PING, reserved=4),
        *(frame(opcode, b"a") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        frame(PING, fin=False),
        frame(CLOSE, fin=False),
        frame(PING, b"a" * 126),
        frame(CLOSE, b"a" * 126, bits=64),
        frame(CONTINUATION, b"a"),
        frame(CONTINUATION, b"a", fin=False),
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"a"),
        frame(TEXT, b"a", fin=False) + frame(BINARY, b"a", fin=False),
        frame(BINARY, b"a" * 125, bits=16),
        frame(BINARY, b"a" * 125, bits=64),
        frame(BINARY, b"a" * 65535, bits=64),
        b"\x82\xff" + b"\x80" + b"\0" * 7 + b"mask",
    ],
    ids=lambda octets: octets[:4].hex(),
)
def test_wrong_frames_are_1002(octets: bytes) -> None:
    assert judge(text("good") + octets + text("after")) == [(TEXT, "good"), 1002]


def test_a_frame_is_refused_as_early_as_it_can_be() -> None:
    assert read(b"\x83") == [1002]  # an unknown opcode
    assert read(b"\xc1") == [1002]  # a reserved bit
    assert read(b"\x80") == [1002]  # a continuation of nothing
    assert read(b"\x81\x01") == [1002]  # not masked
    assert read(frame(BINARY, b"a" * (LIMIT + 1))[:10]) == [1009]


@pytest.mark.parametrize(
    "wrong",
    [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xf0\x8f\xbf\xbf"],
    ids=bytes.hex,
)
def test_text_that_is_not_utf8_is_1007(wrong: bytes) -> None:
    assert judge(text("good") + frame(TEXT, b"ab" + wrong)) == [(TEXT, "good"), 1007]
    assert judge(frame(TEXT, b"ab", fin=False) + frame(CONTINUATION, wrong)) == [1007]


def test_text_that_is_not_utf8_is_found_in_the_middle_of_a_frame() -> None:
    octets = frame(TEXT, b"a" * 100 + b"\xf4\x90" + b"a" * 100)
    assert read(octets[: 8 + 102]) == [1007]
    assert read(octets[: 8 + 101]) == []


def test_a_message_of_more_than_the_limit_is_1009() -> None:
    assert judge(frame(BINARY, b"a" * 10), limit=10) == [(BINARY, b"a" * 10)]
    assert judge(frame(BINARY, b"a" * 11), limit=10) == [1009]
    parts = [frame(TEXT, b"a" * 5, fin=False), frame(CONTINUATION, b"a" * 5, fin=False)]
    assert judge(b"".join(parts) + frame(CONTINUATION), limit=10) == [(TEXT, "a" * 10)]
    assert judge(b"".join(parts) + frame(CONTINUATION, b"a"), limit=10) == [1009]
    assert judge(frame(BINARY, b"a" * 11), limit=0) == [(BINARY, b"a" * 11)]
    assert judge(text("é" * 6), limit=10) == [1009]  # octets, not characters


def test_the_limit_is_for_each_message() -> None:
    octets = frame(TEXT, b"a" * 6, fin=False) + frame(CONTINUATION, b"b")
    assert judge(octets * 3 + frame(PING, b"p" * 20), limit=10) == [(TEXT, "aaaaaab")] * 3 + [(PING, b"p" * 20)]


# Closing


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
def test_close_codes_that_may_be_sent(code: int) -> None:
    (sent,) = read_frames(close_frame(code, "because €"))
    assert (sent.opcode, sent.code) == (CLOSE, code)
    assert read_close(sent.data) == (code, "because €")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_close_codes_that_may_not(code: int) -> None:
    with pytest.raises(FrameError) as caught:
        read_close(code.to_bytes(2))
    assert caught.value.code == 1002
    if code != 1005:
        with pytest.raises(ValueError, match="is not a close code"):
            close_frame(code, "")


def test_a_close_without_a_code_is_1005_both_ways() -> None:
    assert read_close(b"") == (1005, "")
    assert close_frame(1005, "not sent") == b"\x88\0"


@pytest.mark.parametrize(("payload", "code"), [(b"\x03", 1002), (b"\x03\xe8\xff", 1007)])
def test_malformed_closes(payload: bytes, code: int) -> None:
    with pytest.raises(FrameError) as caught:
        read_close(payload)
    assert caught.value.code == code


def test_a_long_reason_is_cut_at_a_character() -> None:
    (sent,) = read_frames(close_frame(1000, "a" + "€" * 100))
    assert read_close(sent.data) == (1000, "a" + "€" * 40)


def test_heads() -> None:
    for size in (0, 125, 126, 65535, 65536):
        (sent,) = read_frames(frame_head(BINARY, size) + b"a" * size)
        assert (sent.opcode, len(sent.data), sent.fin, sent.reserved) == (BINARY, size, True, 0)


# Compression (RFC 7692)


def test_compressed_messages_whole_and_in_fragments() -> None:
    packed = deflated(b"hello " * 1000)
    third = len(packed) // 3
    octets = (
        frame(TEXT, packed, reserved=4)
        + text("plain")
        + frame(BINARY, b"", fin=False, reserved=4)
        + frame(CONTINUATION, packed[:third], fin=False)
        + frame(PING, b"between")
        + frame(CONTINUATION, packed[third:])
        + frame(BINARY, deflated(b""), reserved=4)
    )
    whole = b"hello " * 1000
    assert judge(octets, deflate=True) == [
        (TEXT, whole.decode()),
        (TEXT, "plain"),
        (PING, b"between"),
        (BINARY, whole),
        (BINARY, b""),
    ]


def test_a_client_that_ends_its_deflate_stream_may_go_on() -> None:
    packer = zlib.compressobj(wbits=-15)
    final = packer.compress(b"Hello") + packer.flush()  # RFC 7692 section 7.2.3.4: with BFINAL, and an octet behind it
    assert judge(frame(TEXT, final + b"\0", reserved=4) * 3, deflate=True) == [(TEXT, "Hello")] * 3


def test_a_bomb_is_1009_before_it_has_gone_off() -> None:
    bomb = deflated(bytes(64 * 1024**2))
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        assert read(frame(BINARY, bomb, reserved=4), deflate=deflating()) == [1009]
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024**2  # the most that there ever was
    finally:
        tracemalloc.stop()
    half = frame(BINARY, deflated(bytes(LIMIT)), fin=False, reserved=4)
    assert read(half + frame(CONTINUATION, b"\xff" * 10), deflate=deflating()) == [1009]
    assert judge(frame(BINARY, deflated(bytes(LIMIT)), reserved=4), deflate=True) == [(BINARY, bytes(LIMIT))]


def test_what_is_wrong_in_compressed_messages() -> None:
    packed = deflated(b"hello")
    for octets, code in (
        (frame(TEXT, b"\xff\xff\xff\xff", reserved=4), 1002),  # no deflate stream
        (frame(TEXT, deflated(b"\xff"), reserved=4), 1007),
        (frame(TEXT, packed, fin=False, reserved=4) + frame(CONTINUATION, b"", reserved=4), 1002),
        (frame(PING, packed, reserved=4), 1002),
        (frame(TEXT, packed, reserved=6), 1002),
    ):
        assert judge(octets, deflate=True) == [code]


def test_small_messages_are_not_compressed() -> None:
    deflate = deflating(threshold=100)
    assert deflate.deflate(TEXT, b"a" * 99) == (b"a" * 99, False)
    packed, compressed = deflate.deflate(TEXT, b"a" * 100)
    assert compressed
    assert zlib.decompressobj(wbits=-15).decompress(packed + b"\0\0\xff\xff") == b"a" * 100


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            "foo, permessage-deflate; server_no_context_takeover; client_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=10",
        ),
        ("permessage-deflate; bar, permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-bzip2", None),
        ("", None),
    ],
)
def test_offers(offer: str, answer: str | None) -> None:
    agreed = agree(read_offers(offer))
    assert (agreed and agreed[0]) == answer

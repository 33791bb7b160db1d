"""The notation of the assembler: encodings as RFC 9669 has them, and what is no instruction."""

from __future__ import annotations

import pytest

from shardserve.net.bpf_assembler import assemble

NAMES = {"helper": 82, "map_name": 7, "OFFSET": 16, "BIG": 1 << 20}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("r6 = r1", "bf16 0000 00000000"),
        ("r7 = -1", "b707 0000 ffffffff"),
        ("r8 += BIG", "0708 0000 00001000"),
        ("r9 -= r7", "1f79 0000 00000000"),
        ("r9 |= r0", "4f09 0000 00000000"),
        ("r0 &= 65535", "5700 0000 ffff0000"),
        ("r7 <<= 62", "6707 0000 3e000000"),
        ("r1 >>= 32", "7701 0000 20000000"),
        ("r1 s>>= 63", "c701 0000 3f000000"),
        ("r1 = map map_name", "1811 0000 07000000 0000 0000 00000000"),
        ("r9 = *(u64 *)(r0 + OFFSET)", "7909 1000 00000000"),
        ("r1 = *(u8 *)(r1 + 13)", "7111 0d00 00000000"),
        ("*(u32 *)(r10 - 4) = r8", "638a fcff 00000000"),
        ("lock *(u64 *)(r0 + 8) += r1", "db10 0800 00000000"),
        ("call helper", "8500 0000 52000000"),
        ("exit  # the answer is r0", "9500 0000 00000000"),
    ],
)
def test_instructions(line: str, code: str) -> None:
    assert assemble(line, NAMES) == bytes.fromhex(code)


def test_jumps_count_from_the_instruction_after_and_over_both_halves_of_a_map() -> None:
    source = """
    back:
        r1 = map map_name
        if r1 == 0 goto ahead
        if r1 < r2 goto back
        r0 = 1
    ahead:
        exit
    """
    code = assemble(source, NAMES)
    assert len(code) == 6 * 8
    assert code[16:24] == bytes.fromhex("1501 0200 00000000")
    assert code[24:32] == bytes.fromhex("ad21 fcff 00000000")


@pytest.mark.parametrize(
    "line",
    [
        "r1 = ",
        "r1 + r2",
        "r1 *= 2",
        "goto there",
        "if r1 == 0 goto nowhere",
        "r1 = *(u16 *)(r2 + 0)",
        "call nobody",
        "?",
    ],
)
def test_what_is_not_in_the_notation_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"not an instruction|unknown in"):
        assemble(line, NAMES)

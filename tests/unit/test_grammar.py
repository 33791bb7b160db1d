"""Pieces of the grammar that have a compiled form of their own."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from shardserve.http.grammar import HEAD_END, find_head_end


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bcd", HEAD_END])).map(b"".join), st.integers(0, 12))
@example(b"", 0)
@example(b"\r\n\r", 0)
@example(b"\r\r\n\r\n", 0)
@example(b"a\n\r\n\r\n", 3)
def test_the_end_of_a_head_is_where_bytes_find_has_it(data: bytes, start: int) -> None:
    assert find_head_end(data, start) == data.find(HEAD_END, start)

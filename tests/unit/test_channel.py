"""The channel: descriptors that come with a message, and those for which there is no room."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.proc import few_descriptors

from shardserve.worker.channel import Channel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the channel is between processes, on Linux only")


def test_descriptors_come_with_their_message_and_do_not_survive_an_exec(tmp_path: Path) -> None:
    ours, theirs = Channel.pair()
    with (tmp_path / "a").open("wb") as first, (tmp_path / "b").open("wb") as second:
        ours.send({"command": "log"}, [first, second])
        ours.send({"command": "drain"})
        log, drain = theirs.receive() or ({}, {})
        found = log["descriptors"]
        assert [os.fstat(one).st_ino for one in found] == [os.fstat(one.fileno()).st_ino for one in (first, second)]
    assert not any(os.get_inheritable(one) for one in found)
    assert drain == {"command": "drain", "descriptors": []}
    for one in found:
        os.close(one)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("free", [0, 1])
def test_a_message_without_room_for_its_descriptors_says_so_and_leaves_none(tmp_path: Path, free: int) -> None:
    ours, theirs = Channel.pair()
    with (tmp_path / "a").open("wb") as file:
        ours.send({"command": "log"}, [file, file])
        before = len(os.listdir("/proc/self/fd"))
        with few_descriptors(os.getpid(), free):
            messages = theirs.receive()
        assert messages == [{"command": "log", "cut": True, "descriptors": []}]
        assert len(os.listdir("/proc/self/fd")) == before
    ours.close()
    theirs.close()

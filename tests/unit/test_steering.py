"""Steering by classic BPF, on real sockets: what the kernel does with it, and the facts it rests on."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from shardserve.net.address import Address
from shardserve.net.listener import ShardGroup, bind
from shardserve.net.steering import Steering, build_program

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SO_ATTACH_REUSEPORT_CBPF is Linux's")
SHARDS = 4


@pytest.fixture
def group() -> Iterator[ShardGroup]:
    (made,) = bind(Address("tcp", host="127.0.0.1"), SHARDS, 1024)
    yield made
    made.close()


def connect(group: ShardGroup, times: int) -> Counter[int]:
    """Connect; how many connections each shard's queue got."""
    clients = [socket.create_connection(("127.0.0.1", group.address.port), 5) for _ in range(times)]
    got = Counter({shard: len(accept_all(sock)) for shard, sock in enumerate(group.sockets)})
    for client in clients:
        client.close()
    return got


def accept_all(listener: socket.socket) -> list[tuple[str, int]]:
    found = []
    while True:
        try:
            accepted, peer = listener.accept()
        except BlockingIOError:
            return found
        accepted.close()
        found.append(peer)


@pytest.mark.parametrize("shards", [[0], [3], [1, 2], [0, 2, 3]])
def test_only_the_shards_named_get_connections(group: ShardGroup, shards: list[int]) -> None:
    # Index i is the i-th socket that listened: the order of the shards.
    steering = Steering(group)
    steering.aim(shards)
    assert steering.works
    got = connect(group, 300)
    assert sum(got.values()) == 300
    assert {shard for shard, count in got.items() if count} == set(shards)
    assert min(got[shard] for shard in shards) > 300 / len(shards) / 2


def test_for_all_of_them_the_kernel_hashes_again(group: ShardGroup) -> None:
    steering = Steering(group)
    steering.aim([2])
    assert connect(group, 50)[2] == 50
    steering.aim([0, 1, 2, 3])
    got = connect(group, 400)
    assert all(50 < got[shard] < 150 for shard in range(SHARDS))
    steering.aim([1])
    steering.aim([])
    assert min(connect(group, 400).values()) > 50


def test_attaching_again_and_again_loses_no_connection(group: ShardGroup) -> None:
    steering = Steering(group)
    clients = []
    for number in range(500):
        steering.aim([number % SHARDS])
        clients.append(socket.create_connection(("127.0.0.1", group.address.port), 5))
    queued = [accept_all(sock) for sock in group.sockets]
    assert [len(peers) for peers in queued] == [125] * SHARDS
    for number, client in enumerate(clients):
        assert client.getsockname() in queued[number % SHARDS]
        client.close()


def test_a_single_socket_or_a_unix_socket_is_not_steered(tmp_path: object) -> None:
    (single,) = bind(Address("tcp", host="127.0.0.1"), 1, 16)
    (unix,) = bind(Address("unix", path=f"{tmp_path}/s"), 4, 16)
    for group in (single, unix):
        steering = Steering(group)
        steering.aim([0])
        assert not steering.works
        group.close()
        group.remove_path()


def test_a_program_is_as_long_as_it_must_be() -> None:
    assert len(build_program([0, 1], 2)) == 1
    assert len(build_program([], 2)) == 1
    assert len(build_program([5], 8)) == 3
    assert len(build_program(list(range(255)), 256)) == 2 + 2 * 254 + 1

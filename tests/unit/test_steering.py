"""Steering by classic BPF, on real sockets: what the kernel does with it, and the facts it rests on."""

from __future__ import annotations

import socket
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from shardserve.errors import ConfigError
from shardserve.net.address import Address
from shardserve.net.listener import ShardGroup, bind
from shardserve.net.loads import BUSY_LOAD, CAPACITY, EXCLUDED, Aim, Load, Loads
from shardserve.net.steering import Steering, Table, build_program, choose_steering

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SO_ATTACH_REUSEPORT_CBPF is Linux's")
SHARDS = 4


@pytest.fixture
def group() -> Iterator[ShardGroup]:
    (made,) = bind(Address("tcp", host="127.0.0.1"), SHARDS, 1024)
    yield made
    made.close()


@pytest.fixture
def steering(group: ShardGroup) -> Steering:
    return Steering("cbpf", [group], SHARDS)


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


def all_but(*shards: int) -> list[int]:
    return [shard for shard in range(SHARDS) if shard not in shards]


# The table in the kernel


@pytest.mark.parametrize("shards", [[0], [3], [1, 2], [0, 2, 3]])
def test_only_the_shards_that_are_not_excluded_get_connections(
    group: ShardGroup, steering: Steering, shards: list[int]
) -> None:
    # Index i is the i-th socket that listened: the order of the shards.
    steering.exclude(all_but(*shards))
    got = connect(group, 300)
    assert sum(got.values()) == 300
    assert {shard for shard, count in got.items() if count} == set(shards)
    assert min(got[shard] for shard in shards) > 300 / len(shards) / 2


def test_with_nobody_or_everybody_excluded_the_kernel_hashes(group: ShardGroup, steering: Steering) -> None:
    steering.exclude(all_but(2))
    assert connect(group, 50)[2] == 50
    steering.exclude([])
    got = connect(group, 400)
    assert all(50 < got[shard] < 150 for shard in range(SHARDS))
    steering.exclude(all_but(1))
    steering.exclude(range(SHARDS))
    assert min(connect(group, 400).values()) > 50


def test_attaching_again_and_again_loses_no_connection(group: ShardGroup, steering: Steering) -> None:
    clients = []
    for number in range(500):
        steering.exclude(all_but(number % SHARDS))
        clients.append(socket.create_connection(("127.0.0.1", group.address.port), 5))
    queued = [accept_all(sock) for sock in group.sockets]
    assert [len(peers) for peers in queued] == [125] * SHARDS
    for number, client in enumerate(clients):
        assert client.getsockname() in queued[number % SHARDS]
        client.close()


def test_the_table_may_be_aimed_through_the_socket_of_any_shard(group: ShardGroup, steering: Steering) -> None:
    table = steering.table_of(3)
    assert table is not None
    for shard in (0, 1, 2):
        steering.loads.line(shard)[Load.CONNECTIONS] = 10
    steering.loads.aim[Aim.AIMED_AT] = time.monotonic_ns() + 1_000_000_000
    table.aim()
    assert steering.loads.aim[Aim.MASK] == 0b1111, "too soon after the last time"
    steering.loads.aim[Aim.AIMED_AT] -= 2_000_000_000
    table.aim()
    assert connect(group, 100) == {0: 0, 1: 0, 2: 0, 3: 100}


def test_a_table_that_is_in_force_is_not_attached_again(group: ShardGroup, steering: Steering) -> None:
    table = Table([group.sockets[1]], steering.loads)
    aimed_at = steering.loads.aim[Aim.AIMED_AT]
    steering.loads.line(0)[Load.CONNECTIONS] = 1
    table.aim()
    assert steering.loads.aim[Aim.AIMED_AT] == aimed_at
    assert steering.loads.aim[Aim.MASK] == 0b1111


def test_a_shard_that_has_been_added_gets_connections(group: ShardGroup, steering: Steering) -> None:
    group.join(group.prepare(6), 1024)
    steering.regroup([group], 6)
    assert min(connect(group, 600).values()) > 50
    steering.exclude([0, 1, 2, 3, 5])
    assert connect(group, 50)[4] == 50


def test_a_program_is_as_long_as_it_must_be() -> None:
    assert len(build_program([0, 1], 2)) == 1
    assert len(build_program([], 2)) == 1
    assert len(build_program([5], 8)) == 3
    assert len(build_program(list(range(255)), 256)) == 2 + 2 * 254 + 1


# Whom the loads ask for


def loads_of(*connections: int) -> Loads:
    loads = Loads()
    loads.aim[Aim.COUNT] = len(connections)
    for shard, count in enumerate(connections):
        loads.line(shard)[Load.CONNECTIONS] = count
    return loads


@pytest.mark.parametrize(
    ("connections", "chosen"),
    [
        ((0, 0, 0, 0), [0, 1, 2, 3]),
        ((1, 0, 0, 0), [0, 1, 2, 3]),
        ((2, 0, 0, 0), [1, 2, 3]),
        ((9, 8, 7, 6), [1, 2, 3]),
        ((100, 0), [1]),
        ((5,), [0]),
    ],
)
def test_those_at_or_under_the_mean_and_one_more_are_chosen(connections: tuple[int, ...], chosen: list[int]) -> None:
    assert loads_of(*connections).choose() == chosen


def test_a_penalty_counts_and_excludes_and_a_busy_worker_is_left_out() -> None:
    loads = loads_of(3, 3, 3, 3)
    loads.line(0)[Load.PENALTY] = 10
    assert loads.choose() == [1, 2, 3]
    loads.line(1)[Load.PENALTY] = EXCLUDED
    assert loads.choose() == [2, 3]
    loads.line(2)[Load.BUSY] = BUSY_LOAD
    assert loads.choose() == [0, 3]
    for shard in range(4):
        loads.line(shard)[Load.PENALTY] = EXCLUDED
    assert loads.choose() == []


def test_a_fresh_worker_starts_slowly_and_is_eased_in(group: ShardGroup, steering: Steering) -> None:
    for shard in (0, 1, 2):
        steering.loads.line(shard)[Load.CONNECTIONS] = 90
    steering.start_slowly(3)
    line = steering.loads.line(3)
    assert line[Load.PENALTY] == 90
    for _ in range(60):
        steering.look_after()
    assert line[Load.PENALTY] == 0
    line[Load.PENALTY] = EXCLUDED
    steering.look_after()
    assert line[Load.PENALTY] == EXCLUDED, "who is excluded stays so"


def test_free_and_waiting_are_found_elsewhere_only() -> None:
    loads = loads_of(0, 0, 0)
    assert loads.free(but=0) is None
    loads.line(0)[Load.FREE] = 1
    assert loads.free(but=0) is None
    assert loads.free(but=2) == 0
    loads.line(1)[Load.FREE] = 2
    assert [loads.free(but=shard) for shard in range(3)] == [1, 0, 0]
    loads.line(1)[Load.PENALTY] = EXCLUDED
    assert loads.free(but=0) is None
    loads.line(2)[Load.WAITING] = 1
    assert loads.waiting(but=0) == 2
    assert loads.waiting(but=2) is None


def test_the_gate_of_a_shared_listener_asks_who_has_fewer() -> None:
    loads = loads_of(2, 1, 2)
    assert loads.is_above_least(0)
    assert not loads.is_above_least(1)
    loads.line(1)[Load.PENALTY] = EXCLUDED
    assert not loads.is_above_least(0), "a worker that is not there holds nobody back"


# The ladder


def test_the_best_that_the_kernel_takes_is_chosen(group: ShardGroup) -> None:
    steering = choose_steering("auto", [group], SHARDS)
    assert steering.mode in ("ebpf", "cbpf")
    assert bool(steering.why) == (steering.mode == "cbpf")
    assert choose_steering("cbpf", [group], SHARDS).mode == "cbpf"
    assert choose_steering("hash", [group], SHARDS).mode == "hash"


def test_one_shared_listener_is_not_steered(tmp_path: object) -> None:
    (unix,) = bind(Address("unix", path=f"{tmp_path}/s"), 4, 16)
    (shared,) = bind(Address("tcp", host="127.0.0.1"), 4, 16, sharded=False)
    for group in (unix, shared):
        assert len(group.sockets) == 1
        assert choose_steering("auto", [group], 4).mode == "shared"
        group.close()
        group.remove_path()


def test_more_shards_than_a_table_holds_are_left_to_the_hash(group: ShardGroup) -> None:
    steering = choose_steering("auto", [group], CAPACITY + 1)
    assert steering.mode == "hash"
    assert "64 shards" in steering.why
    with pytest.raises(ConfigError, match="--steering cbpf: more than 64"):
        choose_steering("cbpf", [group], CAPACITY + 1)

"""Steering by eBPF, on real sockets: where the kernel puts each connection, and what happens when all is not well."""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.proc import eventually
from support.shards import Shards, why_no_ebpf

from shardserve.errors import BindError
from shardserve.net.address import Address
from shardserve.net.ebpf import LeastConnections
from shardserve.net.listener import bind, queue_length
from shardserve.net.loads import CAPACITY, EXCLUDED, Load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(bool(why_no_ebpf()), reason=why_no_ebpf())
FIN, SYN, RST, ACK, ECE, CWR = 0x01, 0x02, 0x04, 0x10, 0x40, 0x80


@pytest.fixture
def shards() -> Iterator[Callable[..., Shards]]:
    with ExitStack() as stack:
        yield lambda count=4, host="127.0.0.1": Shards(host, count, stack)


# Balance


@pytest.mark.parametrize("connections", [8, 32, 256])
def test_connections_spread_exactly_when_they_come_one_by_one(shards: Callable[..., Shards], connections: int) -> None:
    group = shards()
    for _ in range(connections):
        group.connect()
        group.work()
    assert [group.held[shard] for shard in range(4)] == [connections // 4] * 4


@pytest.mark.parametrize("connections", [8, 32, 256])
def test_connections_spread_exactly_in_a_burst(shards: Callable[..., Shards], connections: int) -> None:
    group = shards()
    group.connect(times=connections)
    assert group.pending() == [connections // 4] * 4
    group.work(connections)
    assert [group.held[shard] for shard in range(4)] == [connections // 4] * 4
    assert group.pending() == [0] * 4


def test_who_lost_connections_gets_the_next_ones(shards: Callable[..., Shards]) -> None:
    group = shards()
    group.held = {0: 9, 1: 4, 2: 9, 3: 6}
    group.publish()
    group.connect(times=8)
    group.work(8)
    assert group.held == {0: 9, 1: 9, 2: 9, 3: 9}


def test_ties_are_decided_by_chance(shards: Callable[..., Shards]) -> None:
    # As many wakings as workers: the first of an idle group is not always the same.
    group = shards()
    first = set()
    for _ in range(100):
        group.connect()
        first.add(group.pending().index(1))
        group.publish()
        group.work()
        group.held.clear()
        group.publish()
    assert first == {0, 1, 2, 3}


def test_the_most_shards_there_may_be(shards: Callable[..., Shards]) -> None:
    group = shards(CAPACITY + 1)
    group.connect(times=2 * CAPACITY)
    assert [queue_length(sock) for sock in group.sockets] == [2] * CAPACITY + [0]


@pytest.mark.parametrize(("host", "clients"), [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"])])
def test_ipv6_and_both_families_in_one_group(shards: Callable[..., Shards], host: str, clients: list[str]) -> None:
    try:
        group = shards(4, host)
    except BindError as error:
        pytest.skip(f"no IPv6 here: {error}")
    for client in clients:
        group.connect(client, 20)
    assert group.pending() == [5 * len(clients)] * 4
    group.work(20 * len(clients))
    assert set(group.held.values()) == {5 * len(clients)}


def test_groups_share_the_loads(shards: Callable[..., Shards]) -> None:
    one = shards(2)
    (other,) = bind(Address("tcp", host="127.0.0.1"), 3, 16)
    one.stack.callback(other.close)
    one.steering.attach(other.sockets)
    one.held = {0: 3, 1: 0}
    one.publish()
    one.loads.line(2)[Load.PENALTY] = 3
    for _ in range(3):
        one.stack.enter_context(socket.create_connection(("127.0.0.1", other.address.port), 5))
    assert [queue_length(sock) for sock in other.sockets] == [0, 3, 0]
    one.connect(times=2)
    assert one.pending() == [1, 4]


# Who is left out


def test_an_excluded_shard_gets_nothing_and_a_penalty_is_load(shards: Callable[..., Shards]) -> None:
    group = shards()
    group.loads.line(2)[Load.PENALTY] = EXCLUDED
    group.loads.line(3)[Load.PENALTY] = 10
    group.connect(times=50)
    assert group.pending() == [20, 20, 0, 10]
    group.loads.line(2)[Load.PENALTY] = 0
    group.connect(times=20)
    assert group.pending() == [20, 20, 20, 10]


def test_a_busy_shard_is_the_last_to_be_chosen(shards: Callable[..., Shards]) -> None:
    group = shards()
    group.loads.line(0)[Load.BUSY] = 1000
    group.connect(times=30)
    assert group.pending() == [0, 10, 10, 10]


@pytest.mark.parametrize("penalty", [EXCLUDED, 2**28 - 1, 2**64 - 1])
def test_when_all_are_excluded_the_kernel_hashes(shards: Callable[..., Shards], penalty: int) -> None:
    group = shards()
    for shard in range(4):
        group.loads.line(shard)[Load.PENALTY] = penalty
    group.connect(times=200)
    assert group.pending() == [0] * 4
    group.work(200)
    assert len(group.held) == 4
    assert min(group.held.values()) > 20


def test_a_worker_that_stands_still_is_left_out_by_itself(shards: Callable[..., Shards]) -> None:
    # Shard 0 accepts nothing; the others answer at once, so that they hold nothing.
    group = shards()
    for _ in range(100):
        group.connect()
        if 1 in group.pending()[1:]:
            shard = group.pending().index(1, 1)
            group.sockets[shard].accept()[0].close()
            group.loads.line(shard)[Load.TAKEN] += 1
    assert group.pending() == [1, 0, 0, 0]
    assert [queue_length(sock) for sock in group.sockets] == [1, 0, 0, 0]


# Segments that are no connection


def segment(port: int, source: int, flags: int) -> bytes:
    """A TCP header over 127.0.0.1 with its checksum (RFC 9293, section 3.1)."""
    head = struct.pack("!HHIIBBHHH", source, port, 1000, 2000, 5 << 4, flags, 1024, 0, 0)
    pseudo = socket.inet_aton("127.0.0.1") * 2 + struct.pack("!HH", socket.IPPROTO_TCP, len(head))
    total = sum(struct.unpack(f"!{(len(pseudo) + len(head)) // 2}H", pseudo + head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:16] + struct.pack("!H", ~total & 0xFFFF) + head[18:]


def send_segments(port: int, count: int, flags: int) -> None:
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    except PermissionError:
        pytest.skip("run as root or with CAP_NET_RAW: raw sockets are not permitted")
    with raw:
        for number in range(count):
            raw.sendto(segment(port, 1024 + number, flags), ("127.0.0.1", 0))


@pytest.mark.parametrize("flags", [ACK, RST, SYN | ACK, SYN | RST, SYN | FIN])
def test_stray_segments_are_not_counted(shards: Callable[..., Shards], flags: int) -> None:
    group = shards()
    send_segments(group.port, 100, flags)
    send_segments(group.port, 4, SYN)  # these are: what was sent before them has arrived
    eventually("four SYNs are counted", lambda: sum(group.pending()) >= 4)
    assert group.pending() == [1] * 4


def test_a_syn_that_offers_congestion_notification_is_counted(shards: Callable[..., Shards]) -> None:
    group = shards()
    send_segments(group.port, 4, SYN | ECE | CWR)
    eventually("four SYNs are counted", lambda: group.pending() == [1] * 4)


def test_half_open_connections_are_load_until_they_are_forgotten(shards: Callable[..., Shards]) -> None:
    group = shards()
    send_segments(group.port, 400, SYN)
    eventually("400 SYNs are counted", lambda: group.pending() == [100] * 4)
    group.loads.line(0)[Load.FORGOTTEN] = 100
    group.connect(times=4)
    assert group.pending() == [4, 100, 100, 100]
    group.work(4)
    for shard in (1, 2, 3):
        group.loads.line(shard)[Load.FORGOTTEN] = 100
    group.connect(times=12)
    group.work(12)
    assert group.held == {0: 4, 1: 4, 2: 4, 3: 4}


def test_more_taken_than_steered_is_no_credit(shards: Callable[..., Shards]) -> None:
    group = shards()
    group.held = {0: 1}
    group.publish()
    group.loads.line(0)[Load.TAKEN] += 5
    group.connect(times=3)
    assert group.pending()[1:] == [1, 1, 1]
    group.loads.line(0)[Load.FORGOTTEN] = 2**64 - 5  # and that has been noticed
    group.connect(times=4)
    assert group.pending() == [1, 2, 2, 2]


# Sockets that come and go


def test_a_group_grows(shards: Callable[..., Shards]) -> None:
    group = shards(2)
    group.connect(times=4)
    group.work(4)
    group.sockets += [group.add(), group.add()]
    group.connect(times=2)
    group.work(2)
    assert group.held == {0: 3, 1: 3}  # the new ones are not in it yet
    group.steering.attach(group.sockets)
    group.connect(times=10)
    group.work(10)
    assert group.held == {0: 4, 1: 4, 2: 4, 3: 4}


def test_sockets_are_exchanged(shards: Callable[..., Shards]) -> None:
    group = shards()
    group.sockets[0].close()
    group.sockets[0] = group.add()
    group.sockets[1], group.sockets[2] = group.sockets[2], group.sockets[1]
    old, group.sockets[3] = group.sockets[3], group.add()
    group.steering.attach(group.sockets)
    group.held = {1: 5, 2: 5, 3: 5}
    group.publish()
    group.connect(times=5)
    assert queue_length(group.sockets[0]) == 5
    group.connect(times=8)
    assert [queue_length(sock) for sock in group.sockets] == [7, 2, 2, 2]
    assert queue_length(old) == 0


def test_attaching_the_same_again_is_harmless(shards: Callable[..., Shards]) -> None:
    group = shards()
    for _ in range(25):
        group.steering.attach(group.sockets)
        group.connect(times=4)
    assert group.pending() == [25] * 4


def test_a_slot_without_its_socket_leaves_its_share_to_the_hash(shards: Callable[..., Shards]) -> None:
    group = shards()
    group.sockets.pop().close()
    group.connect(times=60)
    assert group.pending(4) == [15] * 4
    queued = [queue_length(sock) for sock in group.sockets]
    assert sum(queued) == 60
    assert min(queued) >= 15
    group.publish()  # nobody does it for slot 3
    group.connect(times=45)
    assert group.pending() == [15] * 3


def test_a_queue_moves_when_its_listener_is_closed(shards: Callable[..., Shards]) -> None:
    group = shards(2)
    group.connect(times=10)
    group.loads.line(0)[Load.PENALTY] = EXCLUDED
    group.sockets[0].close()
    eventually("all ten wait on the other", lambda: queue_length(group.sockets[1]) == 10)


def test_a_single_listener_is_taken_along_until_there_are_more(shards: Callable[..., Shards]) -> None:
    group = shards(1)
    group.connect(times=3)
    group.work(3)
    group.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    group.sockets.append(group.add())
    group.steering.attach(group.sockets)
    group.connect(times=3)
    group.work(3)
    assert group.held == {0: 3, 1: 3}


def test_what_is_attached_outlives_the_descriptors(shards: Callable[..., Shards]) -> None:
    group = shards(2)
    (other,) = bind(Address("tcp", host="127.0.0.1"), 2, 16)
    group.stack.callback(other.close)
    steering = LeastConnections(2)
    memory = memoryview(steering.memory).cast("Q")
    steering.attach(other.sockets)
    steering.close()
    memory[Load.CONNECTIONS] = 7
    for _ in range(7):
        group.stack.enter_context(socket.create_connection(("127.0.0.1", other.address.port), 5))
    assert [queue_length(sock) for sock in other.sockets] == [0, 7]

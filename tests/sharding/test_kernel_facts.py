"""What the design takes the kernel to do (socket(7), tcp(7)), beyond what tests/unit pins; none of our code."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.proc import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SO_REUSEPORT groups with programs are Linux's")

SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h
RETURN = 0x06  # linux/filter.h: BPF_RET | BPF_K
QUEUE_LENGTH_AT = 24  # of tcpi_unacked in struct tcp_info, linux/tcp.h


@pytest.fixture
def member() -> Iterator[Callable[[], socket.socket]]:
    """Makes bound members of one group; they do not listen yet."""
    with ExitStack() as stack:
        address = ("127.0.0.1", 0)

        def make() -> socket.socket:
            nonlocal address
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
            sock.setblocking(False)
            address = sock.getsockname()
            return sock

        yield make


def always(sock: socket.socket, index: int) -> None:
    """Attach the program that gives every connection to the member of this index."""
    code = ctypes.create_string_buffer(struct.pack("=HBBI", RETURN, 0, 0, index))
    program = struct.pack("@HP", 1, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)


def chosen(members: list[socket.socket]) -> socket.socket:
    """Which member gets the next connection."""
    with socket.create_connection(members[0].getsockname(), 5):
        (one,) = [sock for sock in members if take(sock)]
    return one


def take(listener: socket.socket) -> int:
    """Accept and close all that wait; how many."""
    taken = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return taken
        taken += 1


def queue_length(listener: socket.socket) -> int:
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(struct.unpack_from("=I", info, QUEUE_LENGTH_AT)[0])


def test_members_are_numbered_in_the_order_in_which_they_listened(member: Callable[[], socket.socket]) -> None:
    a, b, c = member(), member(), member()
    for sock in (c, a, b):
        sock.listen()
    for index, expected in enumerate((c, a, b)):
        always(a, index)
        assert chosen([a, b, c]) is expected


def test_the_last_member_takes_the_number_of_one_that_closes(member: Callable[[], socket.socket]) -> None:
    a, b, c, d = members = [member() for _ in range(4)]
    for sock in members:
        sock.listen()
    b.close()
    for index, expected in enumerate((a, d, c)):
        always(a, index)
        assert chosen([a, c, d]) is expected


def test_changing_the_program_under_load_refuses_nobody(member: Callable[[], socket.socket]) -> None:
    members = [member() for _ in range(4)]
    for sock in members:
        sock.listen(1024)
    connected, refused = [], []

    def connect() -> None:
        for _ in range(1500):
            try:
                connected.append(socket.create_connection(members[0].getsockname(), 5))
            except OSError as error:
                refused.append(error)

    load = threading.Thread(target=connect)
    load.start()
    changes = 0
    while load.is_alive():
        always(members[changes % 4], changes % 4)
        changes += 1
    load.join()
    for client in connected:
        client.close()
    assert not refused
    assert changes > 100
    assert sum(map(take, members)) == 1500, "each is in the queue of some member"


def test_the_length_of_an_accept_queue_can_be_read_by_whoever_holds_the_listener(
    member: Callable[[], socket.socket],
) -> None:
    listener = member()
    listener.listen()
    with ExitStack() as stack:
        for expected in range(1, 6):
            stack.enter_context(socket.create_connection(listener.getsockname(), 5))
            eventually("it is counted", lambda count=expected: queue_length(listener) == count)  # type: ignore[misc]
        listener.accept()[0].close()
        assert queue_length(listener) == 4
        take(listener)
        assert queue_length(listener) == 0


def test_what_waits_in_a_queue_outlives_every_process_but_the_last_that_holds_it(
    member: Callable[[], socket.socket],
) -> None:
    listener = member()
    listener.listen()
    with socket.create_connection(listener.getsockname(), 5) as client:
        copy = listener.dup()
        listener.close()
        accepted, _ = copy.accept()
        copy.close()
        with accepted:
            client.sendall(b"still here")
            assert accepted.recv(10) == b"still here"


def test_a_listener_bound_alone_shares_with_nobody_and_may_be_joined_once_it_allows_it() -> None:
    first = socket.socket()
    second = socket.socket()
    with first, second:
        first.bind(("127.0.0.1", 0))
        first.listen()
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            second.bind(first.getsockname())
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        second.bind(first.getsockname())
        second.listen()

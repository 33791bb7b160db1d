"""Listening sockets, real ones: shards of one port, who is refused, and what is left behind."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from shardserve.errors import BindError
from shardserve.net.address import Address, parse_address
from shardserve.net.listener import ShardGroup, bind

if TYPE_CHECKING:
    from pathlib import Path

BACKLOG = 16


@pytest.fixture
def listen() -> Iterator[Callable[..., list[ShardGroup]]]:
    """`bind` for an address as text; everything is closed with the test."""
    with ExitStack() as stack:

        def start(text: str, shards: int = 1, **options: object) -> list[ShardGroup]:
            groups = bind(parse_address(text), shards, BACKLOG, **options)  # type: ignore[arg-type]
            for group in groups:
                stack.callback(group.close)
            return groups

        yield start


Listen = Callable[..., list[ShardGroup]]


def answers(*sockets: socket.socket, port: int, count: int) -> set[int]:
    """Connect `count` times and return which of the sockets got a connection, by index."""
    clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(count)]
    got = set()
    taken = 0
    for index, sock in enumerate(sockets):
        while True:
            try:
                connection, _ = sock.accept()
            except BlockingIOError:
                break
            connection.close()
            got.add(index)
            taken += 1
    for client in clients:
        client.close()
    assert taken == count
    return got


def test_each_shard_has_a_socket_of_its_own_on_one_port(listen: Listen) -> None:
    (group,) = listen("127.0.0.1:0", 4)
    assert group.sharded
    assert len({sock.fileno() for sock in group.sockets}) == 4
    assert {sock.getsockname() for sock in group.sockets} == {("127.0.0.1", group.address.port)}
    assert group.address.port != 0
    assert [group.listener(shard).socket for shard in range(4)] == list(group.sockets)
    assert all(group.listener(shard).sharded for shard in range(4))
    assert all(not sock.getblocking() for sock in group.sockets)
    assert all(not sock.get_inheritable() for sock in group.sockets)


def test_the_kernel_spreads_connections_over_all_shards(listen: Listen) -> None:
    (group,) = listen("127.0.0.1:0", 4)
    # 15 of 64 connections at most on average; that a shard gets none has a probability of 1e-8.
    got: set[int] = set()
    for _ in range(8):
        got |= answers(*group.sockets, port=group.address.port, count=8)
    assert got == {0, 1, 2, 3}


def test_a_second_server_is_refused_and_told_who_is_there(listen: Listen) -> None:
    (group,) = listen("127.0.0.1:0", 2)
    for shards in (1, 4):
        with pytest.raises(BindError) as caught:
            listen(f"127.0.0.1:{group.address.port}", shards)
        assert f"127.0.0.1:{group.address.port}" in str(caught.value)
        assert f"pid {os.getpid()} (" in str(caught.value)


def test_a_strangers_reuseport_listener_is_noticed_and_not_shared_with(listen: Listen) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(BindError, match="taken"):
            listen(f"127.0.0.1:{stranger.getsockname()[1]}", 4)


def test_a_failed_bind_leaves_no_socket_open(listen: Listen) -> None:
    (group,) = listen("127.0.0.1:0", 2)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BindError):
        listen(f"127.0.0.1:{group.address.port}", 4)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_single_worker_keeps_the_port_to_itself(listen: Listen) -> None:
    (group,) = listen("127.0.0.1:0", 1)
    assert group.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_a_port_can_be_bound_again_at_once_with_connections_in_time_wait(listen: Listen) -> None:
    (group,) = listen("127.0.0.1:0", 2)
    port = group.address.port
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    for sock in group.sockets:
        try:
            connection, _ = sock.accept()
        except BlockingIOError:
            continue
        connection.close()  # the server's side closes first: the TIME_WAIT is on the server's port
    assert client.recv(1) == b""
    client.close()
    group.close()
    (again,) = listen(f"127.0.0.1:{port}", 2)
    assert again.address.port == port


def test_every_ipv6_address_means_ipv4_too(listen: Listen) -> None:
    (group,) = listen("[::]:0", 2)
    assert group.address.host == "::"
    assert {sock.family for sock in group.sockets} == {socket.AF_INET6}
    assert answers(*group.sockets, port=group.address.port, count=4)
    with socket.create_connection(("::1", group.address.port), timeout=5):
        pass


def test_one_ipv6_address_does_not_mean_ipv4(listen: Listen) -> None:
    (group,) = listen("[::1]:0", 2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", group.address.port), timeout=5)


def test_a_name_gives_a_group_for_each_of_its_addresses(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    groups = listen("both.example:0", 2)
    assert [group.address.host for group in groups] == ["127.0.0.1", "127.0.0.2"]
    assert [len(group.sockets) for group in groups] == [2, 2]


def test_a_name_whose_second_family_this_machine_lacks_is_still_served(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.113.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    (group,) = listen("both.example:0")
    assert group.address.host == "127.0.0.1"


def test_an_address_of_another_machine_is_refused(listen: Listen) -> None:
    with pytest.raises(BindError, match=r"no such address"):
        listen("203.0.113.1:0")


def test_a_name_that_does_not_resolve_is_refused(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(BindError, match=r"none\.invalid:80: Name or service not known"):
        listen("none.invalid:80")


# Unix sockets


def test_all_shards_share_a_unix_socket(listen: Listen, tmp_path: Path) -> None:
    (group,) = listen(f"unix:{tmp_path}/a.sock", 4)
    assert not group.sharded
    assert len(group.sockets) == 1
    assert {group.listener(shard).socket for shard in range(4)} == set(group.sockets)
    assert not group.listener(3).sharded
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/a.sock")
        group.sockets[0].accept()[0].close()


def test_a_stale_unix_socket_is_replaced(listen: Listen, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
        old.listen()
    assert path.is_socket()
    listen(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_live_unix_socket_is_refused_and_its_owner_named(listen: Listen, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    (group,) = listen(f"unix:{path}")
    with pytest.raises(BindError, match=rf"pid {os.getpid()} \(.*listens there"):
        listen(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert path.stat().st_ino == group.unlink[1] if group.unlink else None


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_path_that_is_no_socket_is_left_alone(listen: Listen, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.sock"
    if kind == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    with pytest.raises(BindError, match="not a socket"):
        listen(f"unix:{path}")
    assert path.exists()
    if kind == "file":
        assert path.read_text() == "precious"


def test_a_directory_that_is_not_there_is_refused(listen: Listen, tmp_path: Path) -> None:
    with pytest.raises(BindError, match="No such file"):
        listen(f"unix:{tmp_path}/none/a.sock")


def test_a_path_too_long_for_a_socket_is_refused(listen: Listen, tmp_path: Path) -> None:
    with pytest.raises(BindError):
        listen(f"unix:{tmp_path}/{'a' * 120}")


def test_a_unix_socket_gets_the_umask_and_the_process_keeps_its_own(listen: Listen, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        listen(f"unix:{tmp_path}/a.sock", umask=0o117)
        listen(f"unix:{tmp_path}/b.sock", umask=0)
        assert stat.S_IMODE((tmp_path / "a.sock").stat().st_mode) == 0o660
        assert stat.S_IMODE((tmp_path / "b.sock").stat().st_mode) == 0o777
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_removing_the_path_removes_ours_and_only_ours(listen: Listen, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    (group,) = listen(f"unix:{path}")
    group.remove_path()
    assert not path.exists()
    group.remove_path()
    (second,) = listen(f"unix:{path}")
    group.remove_path()  # another server has bound the path since
    assert path.is_socket()
    second.remove_path()
    assert not path.exists()


def test_an_abstract_socket_leaves_no_file(listen: Listen) -> None:
    name = f"shardserve-test-{os.getpid()}"
    (group,) = listen(f"unix:@{name}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + name)
    with pytest.raises(BindError, match="in use"):
        listen(f"unix:@{name}")
    group.remove_path()


# Inherited sockets


def test_an_inherited_socket_is_shared_and_the_descriptor_stays_open(listen: Listen) -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        given.listen()
        (group,) = listen(f"fd://{given.fileno()}", 4)
        assert not group.sharded
        assert group.address == Address("fd", fd=given.fileno())
        assert answers(group.listener(3).socket, port=given.getsockname()[1], count=2) == {0}
        group.close()
        assert given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_an_inherited_socket_that_only_is_bound_is_listened_on(listen: Listen) -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        (group,) = listen(f"fd://{given.fileno()}")
        assert answers(group.sockets[0], port=given.getsockname()[1], count=1) == {0}


def test_a_descriptor_that_is_not_open_is_refused(listen: Listen) -> None:
    number = os.dup(0)
    os.close(number)
    with pytest.raises(BindError, match=rf"fd://{number}: .*is the socket passed"):
        listen(f"fd://{number}")


def test_a_descriptor_that_is_no_stream_socket_is_refused(listen: Listen, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, pytest.raises(BindError):
        listen(f"fd://{datagrams.fileno()}")
    with (tmp_path / "file").open("w") as file, pytest.raises(BindError):
        listen(f"fd://{file.fileno()}")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loop's transports set it")
def test_what_is_accepted_does_not_keep_small_pieces_back(listen: Listen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        for address in ("127.0.0.1:0", f"fd://{given.fileno()}"):
            (group,) = listen(address)
            listener = group.sockets[0]
            with socket.create_connection(listener.getsockname(), 5), listener.accept()[0] as accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

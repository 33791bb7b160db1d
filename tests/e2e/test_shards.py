"""Which process holds which socket, and how connections spread over the shards."""

from __future__ import annotations

import re
import signal
import socket
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.proc import (
    LISTEN,
    SEQPACKET,
    STREAM,
    descriptors,
    eventually,
    own_listener,
    tcp_listeners,
    tcp_sockets,
    unix_sockets,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server

    Serve = Callable[..., Server]
    Note = Callable[[object], None]


def test_each_worker_owns_one_listener_and_the_supervisor_holds_them_all(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "4")
    workers = server.workers()
    assert len(workers) == 4
    own = {own_listener(pid, server.port) for pid in workers}
    assert len(own) == 4
    assert tcp_listeners(server.pid, server.port) == own


def test_a_replaced_worker_holds_no_more_than_the_first_one_did(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "3")
    first = set(server.workers())
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete")
    for pid in server.workers():
        assert pid not in first
        assert own_listener(pid, server.port)


def test_a_worker_holds_only_its_own_channel_and_nothing_of_the_supervisor(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "4")
    pids = [server.pid, *server.workers()]
    # The supervisor: the channels, and both ends of all inboxes. A worker: its channel, its own inbox's end to take
    # from, and of all inboxes the ends to put into. (One more while it stands in for a sibling that was slow to begin.)
    expected = [4 + 8, *[1 + 1 + 4] * 4]
    eventually(f"{expected} ends", lambda: [len(unix_sockets(pid, SEQPACKET)) for pid in pids] == expected)
    channels = [unix_sockets(pid, SEQPACKET) for pid in pids]
    mine = [ends - set.intersection(*channels) for ends in channels[1:]]
    assert [len(ends) for ends in mine] == [2, 2, 2, 2]
    assert all(not one & other for one, other in combinations(mine, 2))
    supervisor_pipes = descriptors(server.pid, "pipe")
    for pid in pids[1:]:
        assert not descriptors(pid, "pipe") & supervisor_pipes
        assert "pidfd" not in descriptors(pid, "anon_inode")


def test_2000_new_connections_spread_over_all_workers(serve: Serve, note: Note) -> None:
    server = serve("probe:asgi", "--workers", "4")
    with Load(server.port, clients=16, requests=2000) as load:
        tally = load.finish()
    note(tally)
    assert tally.ok == 2000, tally
    assert sorted(tally.pids) == sorted(server.workers())
    # A new one goes where the fewest are open: to a worker that is held up, by whatever else runs here, go fewer. How
    # evenly those spread that stay open: tests/sharding/test_balance.py.
    assert all(count >= 100 for count in tally.pids.values()), tally


def test_a_unix_socket_is_one_listener_that_all_workers_share(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = serve("probe:asgi", "--workers", "3", bind=f"unix:{path}")
    assert f"listening on unix:{path} (one listener, shared by all workers)" in server.log
    listeners = {pid: unix_sockets(pid, STREAM, listening=True) for pid in (server.pid, *server.workers())}
    assert len(set.union(*listeners.values())) == 1
    assert all(listeners.values())
    with Load(str(path), clients=8, requests=300) as load:
        tally = load.finish()
    assert tally.ok == 300, tally
    assert server.process.poll() is None
    server.process.terminate()
    assert server.exit_code() == 0
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    serve("probe:asgi", "--workers", "1", bind=f"unix:{path}")
    with Load(str(path), clients=1, requests=1) as load:
        assert load.finish().ok == 1


def test_an_inherited_socket_is_one_listener_that_all_workers_share(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        port, fd = inherited.getsockname()[1], inherited.fileno()
        server = serve("probe:asgi", "--workers", "3", bind=f"fd://{fd}", pass_fds=(fd,))
    assert f"listening on fd://{fd} (one listener, shared by all workers)" in server.log
    listeners = {pid: tcp_listeners(pid, port) for pid in (server.pid, *server.workers())}
    assert len(set.union(*listeners.values())) == 1
    assert all(listeners.values())
    with Load(port, clients=8, requests=300) as load:
        tally = load.finish()
    assert tally.ok == 300, tally


def test_port_0_is_one_port_for_all_shards_and_is_said(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "3", bind="127.0.0.1:0")
    assert server.port > 0
    assert f"listening on http://127.0.0.1:{server.port} (3 shards, one listener per worker)" in server.log
    assert sum(one.state == LISTEN for one in tcp_sockets(server.port)) == 3


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_ipv6(serve: Serve) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no [::1]: {error}")
    server = serve("probe:asgi", "--workers", "2", bind="[::1]:0")
    assert re.search(r"listening on http://\[::1\]:\d+ \(2 shards", server.log)
    with socket.create_connection(("::1", server.port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b'"client": ["::1", ' in answer


def test_several_addresses_at_once(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = serve("probe:asgi", "--workers", "2", "--bind", "127.0.0.2:0", "--bind", f"unix:{path}", ready=False)
    line = server.wait_for("ready: 2 of 2 workers serve")
    ports = dict(re.findall(r"http://(127\.0\.0\.\d):(\d+)", line))
    assert set(ports) == {"127.0.0.1", "127.0.0.2"}
    assert f"unix:{path}" in line
    for host, port in ports.items():
        with socket.create_connection((host, int(port)), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    with Load(str(path), clients=1, requests=1) as load:
        assert load.finish().ok == 1
    own = {own_listener(pid, int(port)) for pid in server.workers() for port in ports.values()}
    assert len(own) == 4  # each of two workers has one listener of each of two addresses

"""Ending sockets: a door that is shut for newcomers only, a stream that ends although somebody holds a copy."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack

import pytest
from support.proc import few_descriptors

from shardserve.net.closing import blank, end_stream, open_door, shut_door

linux = pytest.mark.skipif(sys.platform != "linux", reason="IP_MINTTL for TCP is Linux's")


def listen(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")
    listener.setblocking(False)
    return listener


@linux
@pytest.mark.parametrize(("host", "client"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")])
def test_a_shut_door_keeps_what_is_queued_and_ignores_newcomers(host: str, client: str) -> None:
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listen(host))
        except OSError as error:
            pytest.skip(f"this machine has no {host}: {error.strerror}")
        port = listener.getsockname()[1]
        queued = [stack.enter_context(socket.create_connection((client, port), 5)) for _ in range(40)]
        assert shut_door(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection((client, port), 0.3)
        for one in queued:
            accepted, _ = listener.accept()
            with accepted:
                open_door(accepted.fileno())
                one.sendall(b"question")
                accepted.settimeout(5)
                assert accepted.recv(16) == b"question"
        with pytest.raises(BlockingIOError):
            listener.accept()


@linux
def test_an_open_door_hears_again() -> None:
    with listen("127.0.0.1") as listener:
        client = socket.create_connection(listener.getsockname(), 5)
        accepted, _ = listener.accept()
        with client, accepted:
            assert shut_door(accepted)  # as a connection is that inherits it from its listener
            client.sendall(b"x")
            accepted.settimeout(0.2)
            with pytest.raises(TimeoutError):
                accepted.recv(1)
            open_door(accepted.fileno())
            accepted.settimeout(10)
            assert accepted.recv(1) == b"x"  # sent again by the client's kernel


def test_a_unix_socket_has_no_door() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        assert not shut_door(sock)
        open_door(sock.fileno())


def test_a_stream_ends_although_a_copy_is_open() -> None:
    ours, theirs = socket.socketpair()
    copy = ours.dup()
    with ours, theirs, copy:
        theirs.settimeout(5)
        end_stream(ours.fileno())
        ours.close()
        assert theirs.recv(1) == b""
    end_stream(-1)


@linux
def test_it_ends_also_where_no_descriptor_is_left() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.dup():
        with few_descriptors(os.getpid()):
            end_stream(theirs.fileno())
        ours.settimeout(5)
        assert ours.recv(1) == b""
        ours.sendall(b"the other way")
        assert theirs.recv(20) == b"the other way"


def test_a_blank_descriptor_keeps_its_number_and_lets_go() -> None:
    ours, theirs = socket.socketpair()
    null = os.open(os.devnull, os.O_RDWR)
    with ours, theirs:
        number = ours.fileno()
        blank(number, null)
        assert os.fstat(number).st_rdev == os.stat(os.devnull).st_rdev
        assert not os.get_inheritable(number)
        theirs.settimeout(5)
        assert theirs.recv(1) == b""
    blank(-1, null)
    os.close(null)

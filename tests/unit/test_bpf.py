"""bpf(2): who may call it, what is left when privileges are dropped, which descriptors there are, how errors read."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.proc import open_descriptors
from support.shards import Shards, why_no_ebpf

from shardserve.net import bpf
from shardserve.net.address import Address
from shardserve.net.bpf_assembler import assemble
from shardserve.net.ebpf import LeastConnections
from shardserve.net.listener import bind, queue_length
from shardserve.net.loads import EXCLUDED, Load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(bool(why_no_ebpf()), reason=why_no_ebpf())
NOBODY = 65534


@pytest.fixture
def group() -> Iterator[Shards]:
    with ExitStack() as stack:
        yield Shards("127.0.0.1", 2, stack)


def in_child(check: Callable[[], None]) -> None:
    """Run `check` in a forked process that has become nobody; fail as it does."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            check()
            status = 0
        except BaseException as error:
            os.write(2, f"in the child: {error!r}\n".encode())
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_worker_that_is_nobody_publishes_its_load(group: Shards) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")

    def publish() -> None:
        group.loads.line(1)[Load.CONNECTIONS] = 6

    in_child(publish)
    assert group.loads.line(1)[Load.CONNECTIONS] == 6
    group.connect(times=6)
    assert group.pending() == [6, 0]


def test_nobody_attaches_what_is_loaded_but_makes_and_loads_nothing(group: Shards) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    group.sockets[0] = group.add()
    more = group.add()

    def check() -> None:
        group.steering.attach(group.sockets)  # as many as before, one of them exchanged
        with pytest.raises(PermissionError, match=r"cannot make a BPF map.*it takes root or CAP_BPF"):
            LeastConnections(8)
        with pytest.raises(PermissionError, match="cannot load a BPF program"):
            group.steering.attach([*group.sockets, more])

    in_child(check)
    group.loads.line(1)[Load.PENALTY] = EXCLUDED
    group.connect(times=5)
    assert queue_length(group.sockets[0]) == 5  # what the child attached is in force, and was not harmed by its failure


def test_cap_bpf_alone_is_enough() -> None:
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("run as root, with setpriv (util-linux), to drop all capabilities but one")
    script = """
from shardserve.net.address import Address
from shardserve.net.ebpf import LeastConnections
from shardserve.net.listener import bind
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")])
(group,) = bind(Address("tcp", host="127.0.0.1"), 4, 16)
LeastConnections(64).attach(group.sockets)
"""
    for capabilities, works in (("-all,+cap_39", True), ("-all", False)):
        done = subprocess.run(
            [setpriv, "--bounding-set", capabilities, "--inh-caps", "-all", sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stdout.strip() == ("['0000008000000000']" if works else "['0000000000000000']"), done.stderr
        assert (done.returncode == 0) == works, done.stderr
        assert works or "it takes root or CAP_BPF" in done.stderr


def test_no_descriptor_survives_an_exec_and_close_leaves_none() -> None:
    before = open_descriptors(os.getpid())
    with ExitStack() as stack:
        (group,) = bind(Address("tcp", host="127.0.0.1"), 3, 16)
        stack.callback(group.close)
        steering = LeastConnections(3)
        for count in (2, 3, 3):
            steering.attach(group.sockets[:count])
        made = open_descriptors(os.getpid()) - before
        assert len(made) == 3 + 1 + 1 + 1 + 1  # listeners, loads, their memory's, slots, program
        assert not any(os.get_inheritable(number) for number in made)
        steering.close()
    del steering  # and with it the memory
    assert open_descriptors(os.getpid()) == before


def test_a_group_that_is_gone_leaves_no_descriptor() -> None:
    (stays,) = bind(Address("tcp", host="127.0.0.1"), 2, 16)
    steering = LeastConnections(2)
    steering.attach(stays.sockets)
    before = open_descriptors(os.getpid())
    for _ in range(3):
        (goes,) = bind(Address("tcp", host="127.0.0.1"), 2, 16)
        steering.attach(goes.sockets)
        goes.close()
    steering.attach(stays.sockets)
    assert open_descriptors(os.getpid()) == before
    steering.close()
    stays.close()


def test_what_the_verifier_says_is_in_the_error() -> None:
    with pytest.raises(OSError, match=r"cannot load a BPF program: .*; .*R0 !read_ok") as caught:
        bpf.load_reuseport_program(assemble("exit", {}))
    assert caught.value.errno == errno.EACCES
    assert "processed" not in str(caught.value)


def test_a_loop_without_end_is_refused_with_its_reason() -> None:
    with pytest.raises(OSError, match=r"infinite loop detected"):
        bpf.load_reuseport_program(assemble("again:\nr0 = 1\nif r1 != 0 goto again\nexit", {}))


def test_listeners_that_are_no_group_are_refused() -> None:
    steering = LeastConnections(2)
    ones = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    with pytest.raises(OSError, match="cannot set element 0 of a BPF map: Invalid argument"):
        steering.attach(ones)
    for one in ones:
        one.close()
    steering.close()


def test_a_socket_is_steered_by_one_at_a_time(group: Shards) -> None:
    other = LeastConnections(2)
    with pytest.raises(OSError, match="cannot set element 0 of a BPF map: Device or resource busy"):
        other.attach(group.sockets)
    other.close()
    group.connect(times=4)
    assert group.pending() == [2, 2]


def test_a_closed_descriptor_is_an_error_like_any_other() -> None:
    with pytest.raises(OSError, match="cannot delete element 5 of a BPF map: Bad file descriptor"):
        bpf.delete_element(1 << 30, 5)

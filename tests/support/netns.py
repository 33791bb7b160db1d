"""Network namespaces and TUN devices (network_namespaces(7)), without the ip command: a test's own network.

Entering one concerns the calling thread and what it starts. Needs root; `private_network` skips the test without.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000  # sched.h
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFTXQLEN = 0x8913, 0x8914, 0x8916, 0x891C, 0x8943
_IFF_UP = 0x1
_TUN = Path("/dev/net/tun")
_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: int) -> None:
    if getattr(_libc, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def new_network() -> int:
    """Go into a new network namespace whose loopback is up; returns a descriptor of it."""
    _call("unshare", _CLONE_NEWNET)
    _set_up("lo")
    return current_network()


def current_network() -> int:
    """A descriptor of the calling thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(network: int) -> None:
    """Go into a namespace."""
    _call("setns", network, _CLONE_NEWNET)


@contextmanager
def private_network() -> Iterator[None]:
    """Run in a new network namespace; skip the test where that is not permitted."""
    before = current_network()
    try:
        inside = new_network()
    except PermissionError:
        os.close(before)
        pytest.skip("a network namespace of its own needs root (in a container: CAP_SYS_ADMIN)")
    os.close(inside)
    try:
        yield
    finally:
        enter(before)
        os.close(before)


def make_tun(name: str, address: str) -> int:
    """Make a TUN device with an address in a /24 network, up; returns the descriptor its packets are read from."""
    if not _TUN.exists():
        pytest.skip(f"{_TUN} is not there (modprobe tun; of a container: --device {_TUN})")
    tun = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.0")):
            octets = socket.inet_aton(value)
            fcntl.ioctl(control, request, struct.pack("16sH2x4s16x", name.encode(), socket.AF_INET, octets))
        fcntl.ioctl(control, _SIOCSIFTXQLEN, struct.pack("16si20x", name.encode(), 5000))
    _set_up(name)
    return tun


def _set_up(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
        (flags,) = struct.unpack_from("H", answer, 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | _IFF_UP))

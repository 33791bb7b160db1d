"""What the kernel says about processes and sockets, read from /proc, and waiting for it to be so."""

from __future__ import annotations

import os
import resource
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LISTEN, ESTABLISHED = "0A", "01"
SEQPACKET, STREAM = "0005", "0001"
ACCEPTS = "00010000"


@dataclass(frozen=True)
class TcpSocket:
    """A row of /proc/net/tcp. `inode` is "0" while no process has accepted the connection; `peer` is the other port."""

    port: int
    peer: int
    state: str
    inode: str


def eventually(what: str, condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Block until `condition` holds; fail, saying `what` did not come true, after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not in {timeout} s: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def asleep(pid: int) -> bool:
    """Whether a process waits for something to happen: what it had to do before, it has done."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors(pid: int, kind: str) -> set[str]:
    """What the open descriptors of a process refer to, for those of a kind: `socket`, `pipe`, `anon_inode`."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            link = os.readlink(entry)
        except OSError:
            continue  # closed meanwhile
        if link.startswith(f"{kind}:"):
            found.add(link[len(kind) + 1 :].strip("[]"))
    return found


def tcp_sockets(port: int) -> list[TcpSocket]:
    """The TCP sockets of this machine whose local port is `port`."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            cells = row.split()
            if int(cells[1].rpartition(":")[2], 16) == port:
                found.append(TcpSocket(port, int(cells[2].rpartition(":")[2], 16), cells[3], cells[9]))
    return found


def tcp_listeners(pid: int, port: int) -> set[str]:
    """The inodes of the listening sockets on `port` that a process holds."""
    return descriptors(pid, "socket") & {one.inode for one in tcp_sockets(port) if one.state == LISTEN}


def own_listener(pid: int, port: int) -> str:
    """The inode of the one listening socket on `port` that a worker holds.

    Waits for it: on a busy machine a sibling may not move for so long that the worker accepts for it as well.
    """
    end = time.monotonic() + 10
    while len(found := tcp_listeners(pid, port)) != 1:
        assert time.monotonic() < end, f"{pid} holds {found}"
        time.sleep(0.01)
    return found.pop()


def accepted(pid: int, port: int) -> int:
    """How many connections to `port` a process has accepted that neither side has closed."""
    return len(descriptors(pid, "socket") & {one.inode for one in tcp_sockets(port) if one.state == ESTABLISHED})


def accepted_from(pid: int, port: int) -> set[int]:
    """The ports of the clients whose connections to `port` a process has accepted."""
    own = descriptors(pid, "socket")
    return {one.peer for one in tcp_sockets(port) if one.state == ESTABLISHED and one.inode in own}


def queued(port: int) -> int:
    """How many connections to `port` no process has accepted yet."""
    return sum(one.state == ESTABLISHED and one.inode == "0" for one in tcp_sockets(port))


def unix_sockets(pid: int, kind: str, *, listening: bool = False) -> set[str]:
    """The inodes of the unix sockets of a kind (STREAM, SEQPACKET) that a process holds."""
    rows = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return descriptors(pid, "socket") & {row[6] for row in rows if row[4] == kind and (row[3] == ACCEPTS) == listening}


def marked(name: str, value: str) -> list[int]:
    """The processes that have been started with an environment variable, apart from this one."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                variables = (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # ended meanwhile
            if f"{name}={value}".encode() in variables and alive(int(process.name)):
                found.append(int(process.name))
    return found


def in_group(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and alive(int(process.name)):
            try:
                if os.getpgid(int(process.name)) == group:
                    found.append(int(process.name))
            except ProcessLookupError:
                continue
    return found


def open_descriptors(pid: int) -> frozenset[int]:
    """Those that a process has open now (Linux)."""
    # Looked at again: if it is this process, the listing is through a descriptor of its own.
    return frozenset(int(name) for name in os.listdir(f"/proc/{pid}/fd") if os.path.lexists(f"/proc/{pid}/fd/{name}"))


@contextmanager
def few_descriptors(pid: int, free: int = 0) -> Iterator[None]:
    """Meanwhile a process can open just so many descriptors more (prlimit(2))."""
    looks = [open_descriptors(pid)]
    while len(looks) < 4 or len(set(looks[-4:])) > 1:  # one that is open for a moment would be one too many soon
        time.sleep(0.02)
        looks.append(open_descriptors(pid))
    used = looks[-1]
    limit = next(limit for limit in count() if sum(number not in used for number in range(limit)) == free)
    while limit in used:
        limit += 1
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

"""Who holds a port: reads /proc to name the process behind "address already in use". Best effort, for messages only."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

_COMMAND_MAX = 80  # characters
_LISTEN = "0A"  # state column of /proc/net/tcp, proc(5)


def describe_port_owner(port: int) -> str:
    """Say which process listens on TCP `port`: "pid 812 (nginx: master process)", a user name, or "" if unknown."""
    inodes = _listening_inodes(port)
    if not inodes:
        return ""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _holds(process, inodes.keys()):
            return describe_process(int(process.name))
    uid = next(iter(inodes.values()))
    return f"a process of uid {uid}"


def describe_unix_owner(peer: socket.socket) -> str:
    """Say which process listens at the other end of a connected unix socket (SO_PEERCRED, unix(7))."""
    pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return describe_process(pid)


def describe_process(pid: int) -> str:
    """Name a process: "pid 812 (shardserve myapp:app)", with the end of its command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return f"pid {pid}"
    words[0] = os.path.basename(words[0])
    command = b" ".join(words).decode(errors="replace")
    if len(command) > _COMMAND_MAX:
        command = "..." + command[-_COMMAND_MAX:]  # what tells one server from another stands at the end
    return f"pid {pid} ({command})" if command else f"pid {pid}"


def _listening_inodes(port: int) -> dict[str, str]:
    """Inode -> uid of every listening TCP socket on `port`."""
    found: dict[str, str] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            cells = row.split()
            if cells[3] == _LISTEN and int(cells[1].rpartition(":")[2], 16) == port:
                found[cells[9]] = cells[7]
    return found


def _holds(process: Path, inodes: Container[str]) -> bool:
    try:
        entries = list((process / "fd").iterdir())
    except OSError:
        return False  # it ended meanwhile, or is another user's
    for entry in entries:
        with suppress(OSError):  # closed meanwhile
            link = os.readlink(entry)
            if link.startswith("socket:[") and link[8:-1] in inodes:
                return True
    return False

"""The bpf(2) system call: what steering needs of it (maps and one kind of program), without a library or a compiler.

Whether it is permitted is found by calling it (root or CAP_BPF, as a rule). Every descriptor it gives is close-on-exec.
The layouts are those of `union bpf_attr` in linux/bpf.h; a kernel takes a shorter one as if zeros followed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD = 0, 2, 3, 5
_PROG_TYPE_SK_REUSEPORT = 21
# Kernels older than 5.14 know no attach types for this kind of program and do not look at the number.
_SELECT_OR_MIGRATE = 40
_LICENSE = b"MIT"  # ours; "GPL" would be needed only to call GPL-only helpers
_LOG_SIZE = 1 << 20  # octets; the verifier writes a line for each instruction it walks through, loops unrolled
_LOG_LINES = 3  # of them in an error

MAP_ARRAY = 2
MAP_REUSEPORT_SOCKARRAY = 20
MAPPABLE = 0x400  # BPF_F_MMAPABLE: the values may be mapped into memory


def create_map(kind: int, value_size: int, entries: int, flags: int = 0) -> int:
    """Make a map of `entries` values of `value_size` octets with 32-bit keys; its descriptor. Raises OSError."""
    attributes = struct.pack("=5I", kind, 4, value_size, entries, flags)
    return _bpf(_MAP_CREATE, attributes, "cannot make a BPF map")


def update_element(descriptor: int, key: int, value: int) -> None:
    """Set the element at `key` of a map with 64-bit values. Raises OSError."""
    key_buffer, value_buffer = ctypes.c_uint32(key), ctypes.c_uint64(value)
    attributes = struct.pack("=I4xQQQ", descriptor, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer), 0)
    _bpf(_MAP_UPDATE, attributes, f"cannot set element {key} of a BPF map")


def delete_element(descriptor: int, key: int) -> None:
    """Remove the element at `key` of a map. Raises OSError (ENOENT: nothing there)."""
    key_buffer = ctypes.c_uint32(key)
    attributes = struct.pack("=I4xQ", descriptor, ctypes.addressof(key_buffer))
    _bpf(_MAP_DELETE, attributes, f"cannot delete element {key} of a BPF map")


def load_reuseport_program(code: bytes) -> int:
    """Have the kernel verify and compile a program that selects a socket of an SO_REUSEPORT group; its descriptor.

    Where it can (Linux 5.14), the kernel also asks the program where to move the queue of a listener that is closed.
    Raises OSError; where the verifier refused the program, with the end of what it says.
    """
    try:
        return _load(code, None)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.E2BIG):
            raise
        refused = error
    # Asked for the log only now: writing it costs the verifier more than its work.
    log = ctypes.create_string_buffer(_LOG_SIZE)
    try:
        return _load(code, log)
    except OSError:
        said = [line for line in log.value.decode(errors="replace").splitlines() if not line.startswith("processed ")]
        raise OSError(refused.errno, "; ".join([str(refused.strerror), *said[-_LOG_LINES:]])) from None


def _load(code: bytes, log: ctypes.Array[ctypes.c_char] | None) -> int:
    code_buffer = ctypes.create_string_buffer(code, len(code))
    license_buffer = ctypes.create_string_buffer(_LICENSE)
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        _PROG_TYPE_SK_REUSEPORT,
        len(code) // 8,
        ctypes.addressof(code_buffer),
        ctypes.addressof(license_buffer),
        int(log is not None),  # log level
        len(log) if log is not None else 0,
        ctypes.addressof(log) if log is not None else 0,
        0,  # kernel version: not looked at
        0,  # flags
        b"shardserve",  # the name that bpftool shows
        0,  # network interface
        _SELECT_OR_MIGRATE,
    )
    return _bpf(_PROG_LOAD, attributes, "cannot load a BPF program")


def _bpf(command: int, attributes: bytes, failure: str) -> int:
    number = _SYSCALL_NUMBERS.get(platform.machine()) if platform.system() == "Linux" else None
    if number is None:
        raise OSError(errno.ENOSYS, f"{failure}: unknown on {platform.system()} {platform.machine()}")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        advice = " (it takes root or CAP_BPF)" if code == errno.EPERM else ""
        raise OSError(code, f"{failure}: {os.strerror(code)}{advice}")
    return result

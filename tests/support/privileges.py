"""What this machine lets a test do; each function skips the test with the reason, and says what would permit it."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

import pytest

_BPF = {"x86_64": 321, "aarch64": 280}  # the number of bpf(2)
_MAP_CREATE, _ARRAY = 0, 2


def need_bpf() -> None:
    """eBPF maps and programs: tried, not asked for."""
    number = _BPF.get(platform.machine())
    if number is None:
        pytest.skip(f"the number of bpf(2) on {platform.machine()} is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(struct.pack("=5I", _ARRAY, 4, 8, 1, 0), 128)
    made = libc.syscall(number, _MAP_CREATE, attributes, 128)
    if made < 0:
        pytest.skip(f"eBPF is not permitted ({os.strerror(ctypes.get_errno())}): it needs CAP_BPF, or root")
    os.close(made)

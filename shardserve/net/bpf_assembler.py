"""An assembler for the few eBPF instructions that steering uses, in the notation of LLVM and of the kernel's verifier.

Registers are r0 to r9; r10 points to the end of the program's stack. One instruction a line; `#` begins a comment:

    label:
    r1 = r2                      r1 = 5               likewise += -= &= |= <<= >>= s>>=
    r1 = map NAME                                     NAME is the descriptor of the map
    r1 = *(u64 *)(r2 + 8)        *(u32 *)(r10 - 4) = r1
    lock *(u64 *)(r2 + 8) += r1
    if r1 >= r2 goto label       if r1 == 5 goto label        likewise != < >
    call NAME                                         a helper: takes r1 to r5 and destroys them, answers in r0
    exit                                              the answer is r0

A name may stand wherever a number may; offsets are always written.
See RFC 9669, and Documentation/bpf/standardization of the kernel.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# On 64 bits all of them; conditions without sign, only s>>= with it.
_OPERATIONS = {"=": 0xB7, "+=": 0x07, "-=": 0x17, "|=": 0x47, "&=": 0x57, "<<=": 0x67, ">>=": 0x77, "s>>=": 0xC7}
_CONDITIONS = {"==": 0x15, ">": 0x25, ">=": 0x35, "!=": 0x55, "<": 0xA5}
_BY_REGISTER = 0x08  # added to either: the second operand is a register
_SIZES = {"u32": 0x00, "u8": 0x10, "u64": 0x18}
_LOAD, _STORE, _ATOMIC_ADD = 0x61, 0x63, 0xC3
_LOAD_MAP, _IS_DESCRIPTOR = 0x18, 1
_CALL, _EXIT = 0x85, 0x95

_PLACE = r"\*\((?P<size>u\d+) \*\)\(r(?P<base>\d+) (?P<sign>[+-]) (?P<offset>\w+)\)"
_FORMS = {
    "map": r"r(?P<to>\d+) = map (?P<value>\w+)",
    "load": rf"r(?P<to>\d+) = {_PLACE}",
    "store": rf"{_PLACE} = r(?P<source>\d+)",
    "add": rf"lock {_PLACE} \+= r(?P<source>\d+)",
    "operation": r"r(?P<to>\d+) (?P<operator>\S*=) (?:r(?P<source>\d+)|(?P<value>-?\w+))",
    "jump": r"if r(?P<to>\d+) (?P<operator>\S+) (?:r(?P<source>\d+)|(?P<value>-?\w+)) goto (?P<label>\w+)",
    "call": r"call (?P<value>\w+)",
    "exit": r"exit",
}


def assemble(source: str, names: Mapping[str, int]) -> bytes:
    """The instructions of `source`, eight octets each. Raises ValueError for a line that is not in the notation."""
    parsed: list[tuple[str, dict[str, str]]] = []
    labels: dict[str, int] = {}
    count = 0  # of instructions; naming a map takes two
    for line in (raw.partition("#")[0].strip() for raw in source.splitlines()):
        if line.endswith(":"):
            labels[line[:-1]] = count
        elif line:
            form, parts = _parse(line)
            count += 2 if form == "map" else 1
            parsed.append((form, parts))
    code = b""
    for form, parts in parsed:
        following = len(code) // 8 + 1
        jumps = {label: target - following for label, target in labels.items()}
        try:
            code += _encode(form, parts, names, jumps)
        except KeyError as error:
            raise ValueError(f"unknown in {form}: {error}") from None
    return code


def _parse(line: str) -> tuple[str, dict[str, str]]:
    for form, pattern in _FORMS.items():
        if found := re.fullmatch(pattern, line):
            return form, {name: text for name, text in found.groupdict().items() if text is not None}
    raise ValueError(f"not an instruction: {line}")


def _encode(form: str, parts: Mapping[str, str], names: Mapping[str, int], jumps: Mapping[str, int]) -> bytes:
    def number(part: str) -> int:
        text = parts.get(part, "0")
        return int(text) if text.lstrip("-").isdecimal() else names[text]

    to, base, source = (int(parts.get(part, 0)) for part in ("to", "base", "source"))
    offset = -number("offset") if parts.get("sign") == "-" else number("offset")
    by_register = _BY_REGISTER if "source" in parts else 0
    match form:
        case "map":
            return _pack(_LOAD_MAP, to, _IS_DESCRIPTOR, 0, number("value")) + bytes(8)
        case "load":
            return _pack(_LOAD | _SIZES[parts["size"]], to, base, offset)
        case "store":
            return _pack(_STORE | _SIZES[parts["size"]], base, source, offset)
        case "add":
            return _pack(_ATOMIC_ADD | _SIZES[parts["size"]], base, source, offset)
        case "operation":
            return _pack(_OPERATIONS[parts["operator"]] | by_register, to, source, 0, number("value"))
        case "jump":
            code = _CONDITIONS[parts["operator"]] | by_register
            return _pack(code, to, source, jumps[parts["label"]], number("value"))
        case "call":
            return _pack(_CALL, value=number("value"))
    return _pack(_EXIT)


def _pack(code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | to, offset, value)

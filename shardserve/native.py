"""What compiled modules ask of C directly, and the Python that stands for it (docs/building.md). For every layer."""

from __future__ import annotations

import time
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    # Of native.pxd: C functions, which there are in the compiled form only.
    c_monotonic_ns: Callable[[], int]
    c_second: Callable[[], int]
    c_new_context: Callable[[], Context]
    c_enter: Callable[[Context], int]
    c_leave: Callable[[Context], int]
    c_join: Callable[[tuple[bytes, ...]], bytes | None]


def monotonic_ns() -> int:
    """time.monotonic_ns()."""
    return c_monotonic_ns()


def second() -> int:
    """int(time.time())."""
    return c_second()


def join(parts: tuple[bytes, ...]) -> bytes:
    """b"".join(parts), of which each may be anything that is like bytes."""
    joined = c_join(parts)
    return b"".join(parts) if joined is None else joined


def new_context() -> Context:
    """An empty context."""
    return c_new_context()


if __file__.endswith((".py", ".pyc")):
    # Themselves, without a call in between.
    globals().update(
        join=b"".join, monotonic_ns=time.monotonic_ns, new_context=Context, second=lambda: int(time.time())
    )


def enter_context(context: Context) -> None:
    """What Context.run does before its call. Compiled only: there is no such thing in Python."""
    c_enter(context)


def leave_context(context: Context) -> None:
    """What Context.run does after its call, whatever has become of it."""
    c_leave(context)

"""The black box: which requests a worker executes, and since when, in shared memory that outlives it.

It is the part of a worker's line of the board behind its counters. A slot is free while its start is 0; the start is
written after the text, so that a slot with a start is whole. Slots are handed out by popping a list, which is atomic:
threads need no lock, and only what finds no slot of its own takes one.
"""

from __future__ import annotations

import struct
import threading

from shardserve.logs import printable
from shardserve.native import monotonic_ns

COMPILED = not __file__.endswith((".py", ".pyc"))
SLOTS = 64  # the last one is for the newest of the requests that have found no other
_LAST = SLOTS - 1
_PATH_MAX = 104  # octets; a path that fills them all has been cut
_METHOD_MAX = 16
_SLOT = struct.Struct(f"{_METHOD_MAX}s{_PATH_MAX}sQ")  # method, path without the query (it may hold secrets), start
_SLOT_SIZE = _SLOT.size
_SLOT_WORDS = _SLOT_SIZE // 8
_write_slot = _SLOT.pack_into
_START = _SLOT_WORDS - 1  # of a slot's words: monotonic_ns()
_BEYOND = SLOTS * _SLOT_WORDS  # how many requests have no slot of their own
_NEWEST = _BEYOND + 1  # when the newest of them began, if it has ended too
_THREADS = _BEYOND + 2  # how many requests can be executed at once (WSGI); 0 = any number
_MOVED = _BEYOND + 3  # when an execution has last got on with its client, where a thread waits for that
WORDS = _BEYOND + 8  # 64-bit words, in whole cache lines
SIGN_EVERY = 0.5  # seconds: an execution that waits for its client says so again (`moved`)
SHOWN = 16  # requests that a description names: half of them the oldest, half the newest
_SECOND = 1_000_000_000  # nanoseconds

_OCTETS = {"GET": b"GET", "POST": b"POST"}  # encoding costs as much as the rest of a note

Note = tuple[bytes, bytes, int]  # what a slot holds


class BlackBox:
    """The worker's side: notes the begin and the end of each execution. May be used by several threads."""

    __slots__ = ("_beyond", "_free", "_lock", "_newest", "_octets", "_words")

    def __init__(self, words: memoryview) -> None:
        """`words` are WORDS 64-bit ones, all 0."""
        self._words = words
        self._octets = words.cast("B")
        self._free = list(range(_LAST))
        self._beyond = 0
        self._newest: object = None  # whose the last slot is
        self._lock = threading.Lock()

    def began(self, owner: object, method: str, path: bytes, now: int = 0) -> int:
        """The execution of a request begins; returns its slot, for `ended`. `owner` is any object of its own.

        `now` is a monotonic_ns() that has just been read, if one has.
        """
        now = now or monotonic_ns()
        try:
            slot: int = self._free.pop() if self._free else _LAST  # an exception costs more than all the rest
        except IndexError:  # another thread has taken it
            slot = _LAST
        if slot == _LAST:
            self._began_beyond(owner, method, path, now)
        elif COMPILED:
            self._note(slot, method, path, now)
        else:  # the same, with a call less
            octets = _OCTETS.get(method) or method.encode()
            _write_slot(self._words, slot * _SLOT_SIZE, octets, path, now)
        return slot

    def _note(self, slot: int, method: str, path: bytes, now: int) -> None:
        """Write an entry. Octet by octet where that is compiled: an eighth of the instructions."""
        if not COMPILED:
            _write_slot(self._words, slot * _SLOT_SIZE, _OCTETS.get(method) or method.encode(), path, now)
            return
        octets = self._octets
        at = slot * _SLOT_SIZE
        # Of what is longer the beginning; a method is a token, that is to say ASCII.
        count = len(method)
        if count >= _METHOD_MAX:
            count = _METHOD_MAX
        else:
            octets[at + count] = 0
        for index in range(count):
            octets[at + index] = ord(method[index])
        at += _METHOD_MAX
        count = len(path)
        if count >= _PATH_MAX:
            count = _PATH_MAX
        else:
            octets[at + count] = 0
        for index in range(count):
            octets[at + index] = path[index]
        self._words[slot * _SLOT_WORDS + _START] = now

    def _began_beyond(self, owner: object, method: str, path: bytes, now: int) -> None:
        # Compiled, all of it is C, through which the interpreter's own lock is held: ours would take as long again.
        if COMPILED:
            self._add_beyond(owner, method, path, now)
        else:
            with self._lock:
                self._add_beyond(owner, method, path, now)

    def _add_beyond(self, owner: object, method: str, path: bytes, now: int) -> None:
        self._newest = owner
        self._beyond += 1
        self._words[_NEWEST] = now
        self._words[_BEYOND] = self._beyond
        self._note(_LAST, method, path, now)

    def ended(self, owner: object, slot: int) -> None:
        """The execution has ended."""
        if slot != _LAST:
            self._words[slot * _SLOT_WORDS + _START] = 0
            self._free.append(slot)
            return
        if COMPILED:
            self._take_beyond(owner)
        else:
            with self._lock:
                self._take_beyond(owner)

    def _take_beyond(self, owner: object) -> None:
        self._beyond -= 1
        self._words[_BEYOND] = self._beyond
        if self._newest is owner:
            self._newest = None
            self._words[_LAST * _SLOT_WORDS + _START] = 0

    def moved(self) -> None:
        """An execution gets on with its client, or waits for it: it is not stuck. May be called by any thread."""
        self._words[_MOVED] = monotonic_ns()

    def limit(self, threads: int) -> None:
        """Say that requests are executed by so many threads."""
        self._words[_THREADS] = threads


def describe(words: memoryview) -> str:
    """What is, or was, in execution, the longest first: "GET /a (3.2 s), POST /b (0.1 s) and 7 more"; "" if nothing."""
    now = monotonic_ns()
    slots = _notes(words)
    total = len(slots) + words[_BEYOND] - (_LAST in slots)
    notes = sorted(slots.values(), key=lambda note: note[2])
    if len(notes) > SHOWN:
        notes[SHOWN // 2 : -SHOWN // 2] = []
    said = ", ".join(
        f"{_text(method)} {_text(path)}{'...' * (len(path) == _PATH_MAX)} ({(now - start) / _SECOND:.1f} s)"
        for method, path, start in notes
    )
    more = total - len(notes)
    return f"{said} and {more} more" if more > 0 else said


def has_threads(words: memoryview) -> bool:
    """Whether the worker executes requests on threads of a pool (WSGI), not on its loop."""
    return bool(words[_THREADS])


def full_since(words: memoryview) -> int:
    """When the newest of the calls that now occupy every thread began, or one has got on with its client, if later.

    That is a `monotonic_ns()`; 0 if a thread is free.

    A worker that makes progress while this reads shows a new start: it can only seem fuller than it is for a moment.
    """
    starts = [start for slot, (_, _, start) in _notes(words).items() if slot != _LAST]
    beyond = words[_BEYOND]
    if not 0 < words[_THREADS] <= len(starts) + beyond:
        return 0
    return max(*starts, words[_NEWEST], words[_MOVED])


def newest_start(words: memoryview) -> int:
    """When the newest of the requests in execution began (`monotonic_ns()`); 0 if there is none."""
    return max([start for _, _, start in _notes(words).values()], default=0)


def _notes(words: memoryview) -> dict[int, Note]:
    """The slots in use."""
    notes = {}
    for slot in range(SLOTS):
        method, path, start = _SLOT.unpack_from(words, slot * _SLOT_SIZE)
        if start:
            notes[slot] = (method.partition(b"\0")[0], path.partition(b"\0")[0], start)  # what is behind may be older
    return notes


def _text(octets: bytes) -> str:
    return printable(octets.decode("latin-1"))

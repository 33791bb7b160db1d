"""A load whose every answer is checked to the last octet, sent by a process of its own (strict_client.py).

`with StrictLoad(Plan(port=server.port)) as load: load.wait_for(500); ...; outcome = load.stop()`. Nothing is ever sent
twice: what a client of a proxy would see is what is counted.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TESTS = Path(__file__).parent.parent


@dataclass(frozen=True)
class Plan:
    """What the client process does. Times are in seconds but where they say milliseconds.

    Closed loop (`rate` is 0): each of `clients` sends its next request when the last has ended, after up to `think`.
    Open loop: requests arrive at `rate` a second, as a Poisson process, whatever becomes of those before; each opens a
    connection of its own, or waits for one of a pool of `pool` kept ones.
    """

    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""  # of a unix socket, instead of host and port
    clients: int = 32
    keep_alive: bool = False
    think: float = 0.0
    once: bool = False  # each client sends one request only
    silent: bool = False  # each connects, and sends nothing before `StrictLoad.speak`
    rate: float = 0.0
    pool: int = 0
    ms: float = 4.0  # how long the application is asked to block
    slow_ms: float = 100.0  # and for the slow ones
    slow_share: float = 0.0
    grow: int = 0  # KiB of memory that it is asked to keep
    timeout: float = 15.0  # for a whole exchange, connecting included
    seconds: float = 120.0  # after which it ends by itself
    seed: int = 1


@dataclass(frozen=True)
class Record:
    """One request and what became of it. Times are of `time.monotonic()`, which all processes share; 0 = never.

    `kind` is `ok`; `refused` (connect() failed with ECONNREFUSED, so nothing was established) or `unreached` (it failed
    otherwise); after connect() had succeeded `reset` or `empty` (closed) before any octet of an answer, `truncated` by
    either within one, `wrong` (not the answer to this request), `timeout`; or `dropped`: the server closed a kept
    connection on which no request was under way.
    """

    kind: str
    began: float  # it should have been sent: in an open loop its arrival
    connected: float  # connect() was known to have succeeded
    sent: float
    ended: float
    port: int  # the client's
    earlier: int  # requests that this connection had carried before
    told: bool  # the answer said that the server would close, though it was not asked to
    slow: bool
    pid: int
    shard: int
    generation: int

    @property
    def wait(self) -> float:
        """Seconds."""
        return self.ended - self.began


@dataclass(repr=False)
class Outcome:
    """All that a load has seen."""

    records: list[Record]

    @property
    def answered(self) -> int:
        return sum(one.kind == "ok" for one in self.records)

    @property
    def failed(self) -> list[Record]:
        """Requests without their answer. One that was refused is not among them where `refused` is looked at apart."""
        return [one for one in self.records if one.kind not in ("ok", "dropped")]

    @property
    def truncated(self) -> int:
        return sum(one.kind == "truncated" for one in self.records)

    @property
    def closed(self) -> list[Record]:
        """How often the server ended a connection that the client would have kept."""
        kept = (one for one in self.records if one.earlier or one.kind == "dropped" or one.told)
        return [one for one in kept if one.told or one.kind in ("dropped", "reset", "empty", "truncated")]

    @property
    def worst(self) -> float:
        """The longest wait for an answer, in seconds."""
        return max((one.wait for one in self.records if one.kind == "ok"), default=0.0)

    @property
    def pids(self) -> Counter[int]:
        """Who answered, how often."""
        return Counter(one.pid for one in self.records if one.kind == "ok")

    def only(self, wanted: Callable[[Record], bool]) -> Outcome:
        """A part of it."""
        return Outcome([one for one in self.records if wanted(one)])

    def quantile(self, share: float) -> float:
        """The wait, in milliseconds, that this share of the answered requests did not exceed."""
        waits = sorted(one.wait for one in self.records if one.kind == "ok")
        return waits[max(0, math.ceil(share * len(waits)) - 1)] * 1000 if waits else math.inf

    def __repr__(self) -> str:
        kinds = Counter(one.kind for one in self.records)
        closed = Counter("told so" if one.told else one.kind for one in self.closed)
        examples = "".join(f"\n  {one}" for one in sorted(self.failed, key=_is_refusal)[:3] + self.closed[:3])
        return f"{dict(kinds)}, closed {dict(closed)}, worst {self.worst:.3f} s, by {dict(self.pids)}{examples}"


def _is_refusal(record: Record) -> bool:
    return record.kind == "refused"


def merge(outcomes: Iterable[Outcome]) -> Outcome:
    """Several as one."""
    return Outcome([record for outcome in outcomes for record in outcome.records])


class StrictLoad:
    """The client process, from the parent's side. `enter` runs in it before it starts (to go into a namespace)."""

    def __init__(self, plan: Plan, enter: Callable[[], None] | None = None) -> None:
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.strict_client", str(theirs.fileno())],
                cwd=TESTS,
                pass_fds=(theirs.fileno(),),
                preexec_fn=enter,
            )
        self._ours.settimeout(plan.seconds + plan.timeout + 10)
        self._file = self._ours.makefile("rw")
        self._ask(asdict(plan))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._ours.close()  # at which it ends
        self._process.wait(10)

    def _ask(self, message: dict[str, Any]) -> Any:
        self._file.write(json.dumps(message) + "\n")
        self._file.flush()
        line = self._file.readline()
        assert line, f"the client process has ended with {self._process.wait(5)}"
        return json.loads(line)

    @property
    def answered(self) -> int:
        """So far."""
        return int(self._ask({"do": "count"}))

    @property
    def connected(self) -> int:
        """How many connections are open now."""
        return int(self._ask({"do": "connected"}))

    def speak(self) -> None:
        """Let the silent clients send."""
        self._ask({"do": "speak"})

    def wait_for(self, more: int, since: int | None = None, seconds: float = 60.0) -> int:
        """Block until so many more requests than now (or than `since`) have been answered; returns how many have."""
        goal = (self.answered if since is None else since) + more
        got = int(self._ask({"do": "wait", "goal": goal, "seconds": seconds}))
        assert got >= goal, f"{got} answers instead of {goal} after {seconds} s"
        return got

    def stop(self) -> Outcome:
        """Send no more, wait for what is under way, and return all that was seen."""
        return Outcome([Record(*one) for one in self._ask({"do": "stop"})])


def pack(record: Record) -> tuple[Any, ...]:
    """As the client process sends it."""
    return astuple(record)

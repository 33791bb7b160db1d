"""What every fuzzer calls: octets over a connection in memory, with each parser, whole and cut; any fault is an error.

A fault is an exception anywhere on the loop, an answer that a strict client cannot read, a request that the application
sees without an answer, a head that is held beyond its limits, or an outcome that depends on the parser or the cuts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.corpus import SMALL, Limits, Outcome, Recorder
from support.wire import EVERY_PARSER, Driver, cut

from shardserve.http.h1_states import HEAD

if TYPE_CHECKING:
    from collections.abc import Sequence


class Target:
    """One service for each parser, kept from one input to the next; use it as a context manager."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._recorder = Recorder()
        self._wires = {name: Driver.asgi(self._recorder.asgi, name, limits=limits) for name in EVERY_PARSER}

    def close(self) -> None:
        """End the services."""
        for wire in reversed(self._wires.values()):
            wire.__exit__(None)

    def outcome(self, parser: str, pieces: Sequence[bytes], ended: bool) -> Outcome:
        """What becomes of octets that arrive in these pieces."""
        wire, seen = self._wires[parser], self._recorder.seen
        seen.clear()
        wire.connect()
        for piece in (*pieces, b"") if ended else pieces:
            wire.transport.arrive(piece)
            wire.settle()
            self._check_bounds(wire)
        answers = wire.answers(*(one.method for one in seen))
        statuses = tuple(answer.status for answer in answers if answer.status >= 200)
        result = Outcome(tuple(seen), statuses, wire.closed)
        wire.reset()
        assert not wire.service.running, "an application call hangs"
        for answer in answers:
            # A refusal has no content where the method was HEAD, which a request that is not seen does not show.
            unseen = answer is answers[-1] and len(statuses) > len(seen) and not answer.body
            assert answer.complete or (unseen and b"HEAD " in b"".join(pieces)), "an answer is not complete"
        assert statuses[: len(seen)] == (200,) * len(seen), f"answered {statuses} for {len(seen)} requests"
        assert len(statuses) <= len(seen) + 1, "more than one refusal"
        assert len(statuses) == len(seen) or result.closed, "not closed after a refusal"
        return result

    def _check_bounds(self, wire: Driver) -> None:
        connection = wire.connection
        if connection._state == HEAD and not wire.closed:
            held = len(connection._buffer)
            assert held <= self._limits.line + self._limits.section + 4, f"{held} octets of a head are held"

    def check(self, octets: bytes, seed: int = 0, *, ended: bool = False) -> None:
        """Run octets in all ways; `seed` says where they are cut."""
        ways = [[octets], cut(octets, seed, 1 + seed % 20)] if len(octets) > 1 else [[octets]]
        first = None
        for parser in EVERY_PARSER:
            for pieces in ways:
                again = self.outcome(parser, pieces, ended)
                first = first or again
                assert again == first, f"{parser}, cut as {[len(one) for one in pieces]}: {again} instead of {first}"


LARGE = Limits()
__all__ = ["LARGE", "SMALL", "Target"]

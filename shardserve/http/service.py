"""What all connections of one worker share: settings, the coarse clock, what is open and what runs, drain."""

from __future__ import annotations

import contextvars
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shardserve.http.grammar import HEAD_END
from shardserve.http.head import date_line
from shardserve.http.overdue import Overdue
from shardserve.http.request import Limits
from shardserve.logs import log
from shardserve.net.blackbox import BlackBox
from shardserve.net.board import Word, WorkerState, box
from shardserve.net.loads import FULL_LOAD, Load, note_taken, unshared_line

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from shardserve.http.access import AccessLog
    from shardserve.http.connection import Connection
    from shardserve.http.exchange import Exchange, Gateway, Give
    from shardserve.http.lifetime import Lifetime
    from shardserve.http.parsers import Parser
    from shardserve.net.poller import Poller


REFUSALS_LOGGED = 10  # of those within a second: a line for each would be a way to fill a disk
# Of connections, in one turn of the loop: to refuse one takes about 25 us, as long again to close it, and 2,000 clients
# that have sent half a head would be refused while all others wait.
EXPIRIES = 16


# As plain numbers, for what is done with each connection.
_CONNECTIONS, _ACCEPTED, _LOAD_CONNECTIONS = int(Word.CONNECTIONS), int(Word.ACCEPTED), int(Load.CONNECTIONS)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds on waiting for a client, in seconds."""

    keep_alive: float = 75.0
    header: float = 10.0  # from the first octet of a head to its end; 0 = no limit, as for the next two
    body: float = 30.0  # of silence in a body
    write: float = 60.0  # without an octet of what waits for the client being taken
    request: float = 0.0  # from a complete head to the end of its response; 0 = no limit
    body_min_rate: float = 240.0  # octets a second, on average, after the first 10 s; 0 = none
    disconnect_grace: float = 0.0  # that work for a client that has left may go on; 0 = no limit
    drain_linger: float = 1.0  # what a draining worker waits for a request on a connection that is idle
    close_linger: float = 2.0  # what is read, and thrown away, after an answer that closes


class Service:
    """One per worker. `gateway` opens the exchange of each request; `board` is this worker's line."""

    __slots__ = (
        "_board",
        "_due",
        "_emptied",
        "_load",
        "access",
        "ask_for_work",
        "board",
        "box",
        "closing",
        "connections",
        "context",
        "cut_off",
        "date",
        "date_end",
        "draining",
        "forked",
        "gateway",
        "give_idle",
        "give_on",
        "has_idle",
        "keep_alive",
        "lifetime",
        "limits",
        "load",
        "loop",
        "most_connections",
        "now",
        "opening",
        "overdue",
        "parser",
        "poller",
        "refused",
        "request_timeout",
        "requests",
        "running",
        "sends",
        "sends_until",
        "shed",
        "takes_calls",
        "timeouts",
        "trusted_limits",
        "trusts",
        "when_room",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        parser: Parser,
        gateway: Gateway,
        board: memoryview,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        access: AccessLog | None = None,
        load: memoryview | None = None,
        lifetime: Lifetime | None = None,
    ) -> None:
        self.loop = loop
        self.parser = parser
        self.gateway = gateway
        self.board = board
        self.load = load if load is not None else unshared_line()
        self._board, self._load = self.board, self.load  # the same, typed in service.pxd
        self.give_on: Give | None = None  # to the worker that replaces this one: where connections go that are kept
        self.ask_for_work: Callable[[], None] | None = None  # of the workers where requests wait for a thread
        self.give_idle: Give | None = None  # to a worker that has a free thread, for a request that finds none here
        self.has_idle: Callable[[], bool] | None = None  # whether there is one just now; None: try it
        self.cut_off = False  # no descriptor is free for what other workers would give to us
        # Tells our transports when their sockets are ready; None: they are the loop's.
        self.poller: Poller | None = None
        self.takes_calls = False  # the shard's line says what is free for them
        self.limits = limits or Limits()
        self.trusts: Callable[[tuple[str, int] | None], bool] | None = None  # whether a peer is a proxy of ours
        self.trusted_limits = self.limits  # of its requests
        self.timeouts = timeouts or Timeouts()
        self.lifetime = lifetime  # of connections; None: unlimited
        self.keep_alive = self.timeouts.keep_alive  # read once a request
        self.request_timeout = self.timeouts.request
        self.closing = not self.keep_alive  # every answer closes its connection
        self.connections: set[Connection] = set()
        self.opening = 0  # accepted, and not among the connections yet
        self.running: set[Exchange] = set()  # exchanges whose application code has not returned
        self.overdue = Overdue(self.running, self.timeouts.disconnect_grace)
        self.box = BlackBox(box(board))
        self.access = access
        self.requests = 0
        self.refused = self.shed = 0  # requests, since the last tick: by what they were, for want of a turn
        self._due: list[Connection] = []  # at the last tick, and not expired yet
        # Parts of responses since a stream last gave up its turn or might have, and until when, in monotonic_ns(), none
        # has to (gateway/fair.py).
        self.sends = 0
        self.sends_until = 0
        self.most_connections = 0  # from which on no more are accepted; 0 = any number
        self.when_room: list[Callable[[], None]] = []  # called once when there is room for a connection again
        self.draining = False
        self.forked = False  # processes that the application has started may hold copies of connections
        self._emptied: asyncio.Future[None] | None = None
        # Where callbacks run that must not see an application's context variables.
        self.context = contextvars.copy_context()
        self.tick()

    def limits_of(self, peer: tuple[str, int] | None) -> Limits:
        """Those of a peer's requests: a proxy that is trusted may send fields that a client may not."""
        return self.trusted_limits if self.trusts is not None and self.trusts(peer) else self.limits

    def tick(self) -> None:
        """Move the coarse clock on and act on passed deadlines: once a second, ten times a second while draining."""
        self.now = time.monotonic()
        self.date = date_line(time.time())
        self.date_end = self.date + HEAD_END
        if self.refused or self.shed:
            self._report()
        if not self._due:  # else those come first: a list made anew might put the same ones behind again
            self._due = [one for one in self.connections if one.deadline <= self.now]
            if self.timeouts.request:
                self._due += [one for one in self.connections if one.answer_by <= self.now]
            self._expire()
        if self.give_on is not None:
            for connection in list(self.connections):  # those that it could not take before
                connection.drain()
        self.overdue.look(self.now)
        self.publish()

    def _expire(self) -> None:
        """Act on the deadlines of some connections, and of the others in turns to come, beside what else there is."""
        some = self._due[-EXPIRIES:]
        del self._due[-EXPIRIES:]
        if self._due:
            self.loop.call_soon(self._expire, context=self.context)
        for connection in some:
            if connection.deadline <= self.now:  # else it has become another one meanwhile
                connection.expire()
            if connection.answer_by <= self.now and self.timeouts.request:
                connection.expire_answer()

    def _report(self) -> None:
        """Log what was not logged one by one: a flood must not fill the log."""
        if self.refused > REFUSALS_LOGGED:
            log.info("and %d more requests refused", self.refused - REFUSALS_LOGGED)
        if self.shed:
            log.warning("overloaded: %d requests found no turn in time and got 503 (--limit-concurrency)", self.shed)
        self.refused = self.shed = 0

    def publish(self) -> None:
        """Write this worker's line of the board."""
        board = self.board
        board[Word.HEARTBEAT] = time.monotonic_ns()
        board[Word.REQUESTS] = self.requests
        board[Word.ACTIVE] = len(self.running)
        self.count()
        if not self.takes_calls:  # words of a WSGI worker that stood here before
            self.load[Load.FREE] = self.load[Load.WAITING] = self.load[Load.BUSY] = 0
        if not self.most_connections:
            self.load[Load.FULL] = 0

    def count(self) -> None:
        """Write down how many connections there are."""
        connections = len(self.connections) + self.opening
        self._board[_CONNECTIONS] = self._load[_LOAD_CONNECTIONS] = connections
        if self.most_connections:
            self._note_full()

    def count_taken(self) -> None:
        """Write down that one more connection has been accepted that was steered here, and how many there are."""
        connections = len(self.connections) + self.opening
        self._board[_CONNECTIONS] = connections
        note_taken(self._load, connections)
        if self.most_connections:
            self._note_full()

    def _note_full(self) -> None:
        full = self.is_full()
        self.load[Load.FULL] = FULL_LOAD if full else 0
        if self.when_room and not full:
            waiting, self.when_room = self.when_room, []
            for accept in waiting:
                accept()

    def is_full(self) -> bool:
        """Whether no more connections are to be accepted for now (--worker-connections)."""
        return 0 < self.most_connections <= len(self.connections) + self.opening

    def opened(self, connection: Connection) -> None:
        """A connection that was being opened is open; how many there are stays the same."""
        self.opening -= 1
        self.connections.add(connection)
        self._board[_ACCEPTED] += 1

    def idle(self) -> Give | None:
        """How to pass a request on that finds no thread free here; None while no other worker could take it.

        Asked before anything is tried: under load everybody is busy, and to find that out for each of sixty requests
        that wait costs as much as a third of a call of Django.
        """
        return self.give_idle if self.has_idle is None or self.has_idle() else None

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self.count()
        if self._emptied is not None:
            self._check_empty()

    def ended(self, exchange: Exchange) -> None:
        """The application's code for an exchange has returned."""
        self.running.discard(exchange)
        if self._emptied is not None:
            self._check_empty()

    def close_all(self) -> None:
        """Have every answer close its connection from now on, and give none on: nobody may be there to take them."""
        self.closing = True
        if self.give_on is not None:
            self.give_on = self.give_idle = None
            for connection in list(self.connections):
                connection.drain()

    def wind_down(self, give_on: Give | None = None) -> None:
        """Begin to leave: idle connections are given on; without `give_on` every answer closes its own."""
        if self.draining:
            return
        self.draining = True
        self.give_on, self.give_idle, self.has_idle, self.ask_for_work = give_on, give_on, None, None
        if give_on is None:
            self.closing = True
            self.load[Load.FREE] = self.load[Load.WAITING] = 0
        self.load = self._load = unshared_line()  # the shard's is the replacement's, if there is one
        self.board[Word.STATE] = WorkerState.DRAINING
        self.now = time.monotonic()
        for connection in list(self.connections):
            connection.drain()

    def drain(self, give_on: Give | None = None) -> asyncio.Future[None]:
        """Wind down; done once no connection is open and no application code runs. Nothing may be accepted any more."""
        self.wind_down(give_on)
        self._emptied = self.loop.create_future()
        self._check_empty()
        return self._emptied

    def _check_empty(self) -> None:
        """Complete the drain if nothing is left."""
        if self._emptied is not None and not self.connections and not self.running and not self._emptied.done():
            self._emptied.set_result(None)

    def cut(self) -> None:
        """End all that is left: cancel what runs, close every connection."""
        for exchange in list(self.running):
            exchange.cancel()
        for connection in list(self.connections):
            connection.cut()

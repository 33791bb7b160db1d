"""The deputy: a thread that sees to what waits at a worker while its loop's thread executes a WSGI call (inline).

During a call nothing else runs here: connections that wait in the listener's queue, in the inbox, or with a request
that has not been read yet would wait for its end, though a sibling may be idle. The deputy gives them to one. And the
answers of calls before it in the same turn of the loop would wait to be sent: it sends them.

It acts in the loop's place: only while the loop's thread is within the application's code, which it keeps there by a
lock that is taken at the end of each step (gateway/inside.py). So it may do whatever a callback of the loop might do.
It costs nothing while the worker is idle, and a look every few milliseconds while calls are made.
"""

from __future__ import annotations

import select
import threading
import time
from typing import TYPE_CHECKING

from shardserve.gateway.inside import Inside
from shardserve.logs import log

if TYPE_CHECKING:
    from shardserve.gateway.wsgi_inline import InlineGateway
    from shardserve.http.connection import Connection
    from shardserve.http.service import Service
    from shardserve.worker.handover import Handover
    from shardserve.worker.listening import Listening

_LOOK = 0.002  # seconds between looks while calls are made: a call that lasts longer is a long one
_LOOK_ALONE = 0.01  # while there is no sibling
_PARK_AFTER = 5  # looks without a call
_SLICE = 4  # milliseconds of waiting for something to give away, until it is looked whether the call has ended
_NONE_FREE = 0.001  # seconds until it is looked again for a free sibling


class Deputy:
    """One worker's."""

    def __init__(self, service: Service, gateway: InlineGateway, listening: Listening, handover: Handover) -> None:
        gateway.inside = self.inside = Inside(service)
        self._gateway = gateway
        self._service = service
        self._listening = listening
        self._handover = handover
        self._over = False
        self._target = -1  # the shard that is given to
        self._readable: set[int] = set()  # descriptors that had something to read at the last look

    def start(self) -> None:
        """Begin to look, and say that calls are taken here. For the loop's thread."""
        self._handover.pass_requests_on()
        self._gateway.attended = self._listening.keeps()
        self.inside.leave()
        threading.Thread(target=self._run, name="shardserve-deputy", daemon=True).start()

    def stop(self) -> None:
        """The worker leaves: what waits is seen to otherwise, and nothing is kept any more."""
        self._over = True
        self._gateway.attended = False
        self._listening.send_at_once()
        self.inside.bell.put(True)

    def _run(self) -> None:
        inside = self.inside
        while inside.bell.get() and not self._over:
            idle = 0
            while idle < _PARK_AFTER and not self._over:
                steps = inside.steps
                time.sleep(_LOOK if self._service.draining or self._handover.has_siblings() else _LOOK_ALONE)
                if not inside.inside:
                    idle = idle + 1 if inside.steps == steps else 0
                    self._readable.clear()
                    continue
                idle = 0
                try:
                    self._look(long=inside.steps == steps)
                except Exception:
                    log.exception("the deputy of this worker has failed; it goes on")
            inside.parked = True
            if inside.inside:
                inside.bell.put(True)  # a call has begun that did not see it park

    def _look(self, *, long: bool) -> None:
        """Send what is kept; give away what waits: in a long call all that comes, else what did at the last look."""
        with self.inside:
            if self.inside.inside:
                self._listening.send_kept()
        if long:
            self._see_to_call(self.inside.steps)
        elif not self._has_target():
            return
        else:
            with self.inside:
                if not self.inside.inside:
                    return
                sources = self._sources()
                poll = _poll(sources)
                readable = {descriptor for descriptor, _ in poll.poll(0)}
                for descriptor in readable & self._readable:
                    if self._has_target():
                        self._give(descriptor, sources)
                self._readable = readable

    def _see_to_call(self, step: int) -> None:
        """Give away what waits or comes during a step, until it has ended."""
        inside = self.inside
        with inside:
            if not inside.inside or inside.steps != step:
                return
            sources = self._sources()
            waiting = [one for one in sources.values() if one is not None and one.has_request()]
            more = self._gateway.waits()
        self._listening.aim()
        poll = _poll(sources)
        while inside.inside and inside.steps == step and not self._over:
            ready = [descriptor for descriptor, _ in poll.poll(0 if waiting or more else _SLICE)]
            if not ready and not waiting and not more:
                continue
            if not self._has_target():
                time.sleep(_NONE_FREE)
                continue
            with inside:
                if not inside.inside or inside.steps != step:
                    break
                if more:
                    more = self._gateway.give_waiting(self._pass)
                elif waiting:
                    waiting.pop().pass_on(self._pass)
                elif self._give(ready[0], sources):
                    poll.unregister(ready[0])
        self._listening.aim()

    def _sources(self) -> dict[int, Connection | None]:
        """What could be given away, by descriptor: idle connections; None for an inbox or a listener."""
        found: dict[int, Connection | None] = dict.fromkeys(self._handover.inboxes())
        found.update(dict.fromkeys(self._listening.sharded()))
        if not self._service.draining:
            for connection in list(self._service.connections):
                if connection.is_idle():
                    found[connection.fileno()] = connection
        found.pop(-1, None)
        return found

    def _give(self, descriptor: int, sources: dict[int, Connection | None]) -> bool:
        """Give away what has become readable; whether nothing more is to be expected of it."""
        connection = sources[descriptor]
        if connection is not None:
            connection.pass_on(self._pass)
            return True
        if not self._handover.pass_on(descriptor, self._pass):
            acceptor = self._listening.sharded().get(descriptor)
            return acceptor is None or not acceptor.pass_on(self._pass)
        return False

    def _has_target(self) -> bool:
        """Find a sibling that has a free thread."""
        target = self._handover.free()
        if target is not None:
            self._target = target
        return target is not None

    def _pass(self, descriptor: int, octets: bytes, answer_by: float, copied: bool) -> bool:
        return self._handover.push(self._target, descriptor, octets, answer_by, copied)


def _poll(sources: dict[int, Connection | None]) -> select.poll:
    poll = select.poll()
    for descriptor in sources:
        poll.register(descriptor, select.POLLIN)
    return poll

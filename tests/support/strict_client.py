"""The process that sends a strict load: one thread, one epoll, sockets as they are. Started by support.strict."""

from __future__ import annotations

import errno
import heapq
import json
import random
import select
import socket
import sys
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

from support.strict import Plan, Record, pack
from support.strict_exchange import Request, WrongAnswer, read_answer

if TYPE_CHECKING:
    from collections.abc import Callable

_AGAIN = 0.01  # seconds after a refusal: at once would only spin


class Conversation:
    """A connection, with at most one request under way."""

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.connected = 0.0
        self.port = 0
        self.data = b""
        self.earlier = 0
        self.request: Request | None = None


class StrictClient:
    """Runs a plan; talks with the parent over `control`."""

    def __init__(self, plan: Plan, control: socket.socket) -> None:
        self._plan = plan
        self._arrivals = random.Random(plan.seed)  # of its own: the same ones whatever else is drawn
        self._random = random.Random(plan.seed)
        self._control = control
        self._epoll = select.epoll()
        self._epoll.register(control.fileno(), select.EPOLLIN)
        self._numbers = count(1)  # of requests
        self._ties = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._open: dict[int, Conversation] = {}
        self._idle: list[Conversation] = []  # of the pool
        self._backlog: deque[Request] = deque()  # for want of one
        self._under_way = 0
        self._records: list[Record] = []
        self._answered = 0
        self._goal = 0
        self._goal_until = 0.0
        self._silent = plan.silent
        self._stopping = False

    def run(self) -> None:
        """Until the parent has all it asked for, or is gone."""
        plan = self._plan
        start = time.monotonic()
        if plan.rate:
            for _ in range(plan.pool):
                self._connect(Conversation())
            self._await_arrival(start + 0.2)
        else:
            for _ in range(plan.clients):
                self._begin(Conversation())
        self._at(start + plan.seconds, self._stop)
        self._at(start + 0.1, self._sweep)
        while True:
            wait = self._due[0][0] - time.monotonic() if self._due else 1.0
            for fd, _ in self._epoll.poll(max(0.0, wait)):
                if fd == self._control.fileno():
                    if not self._obey():
                        return
                elif fd in self._open:
                    self._on_event(self._open[fd])
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
            if self._goal and (self._answered >= self._goal or time.monotonic() > self._goal_until):
                self._goal = 0
                self._say(self._answered)

    # The parent

    def _obey(self) -> bool:
        data = self._control.recv(4096)
        if not data:
            return False
        message = json.loads(data)
        if message["do"] == "count":
            self._say(self._answered)
        elif message["do"] == "wait":
            self._goal, self._goal_until = message["goal"], time.monotonic() + message["seconds"]
        elif message["do"] == "connected":
            self._say(sum(one.connected > 0 for one in self._open.values()))
        elif message["do"] == "speak":
            self._silent = False
            for one in [one for one in self._open.values() if one.connected]:
                assert one.request is not None
                one.request.began = time.monotonic()
                self._send(one)
            self._say(True)
        else:
            self._stop()
            while self._under_way or self._backlog:
                for fd, _ in self._epoll.poll(0.1):
                    if fd in self._open:
                        self._on_event(self._open[fd])
                self._give_up()
            self._say([pack(one) for one in self._records])
        return True

    def _say(self, answer: object) -> None:
        self._control.sendall(json.dumps(answer).encode() + b"\n")

    # Time

    def _at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._ties), call))

    def _sweep(self) -> None:
        self._give_up()
        self._at(time.monotonic() + 0.1, self._sweep)

    def _give_up(self) -> None:
        past = time.monotonic() - self._plan.timeout
        for one in [one for one in self._open.values() if one.request is not None and one.request.began < past]:
            self._end(one, "timeout")

    def _stop(self) -> None:
        self._stopping = True

    # Requests

    def _await_arrival(self, last: float) -> None:
        following = last + self._arrivals.expovariate(self._plan.rate)
        self._at(following, lambda: self._arrive(following))

    def _new_request(self, began: float) -> Request:
        slow = self._arrivals.random() < self._plan.slow_share
        return Request(next(self._numbers), self._plan, slow, began)

    def _arrive(self, when: float) -> None:
        """Open loop: a request arrives."""
        if self._stopping:
            return
        if self._plan.pool:
            self._backlog.append(self._new_request(when))
            self._pump()
        else:
            self._begin(Conversation(), when)
        self._await_arrival(when)

    def _pump(self) -> None:
        """Give the requests that wait to connections of the pool, any of them."""
        while self._backlog and self._idle:
            conversation = self._idle.pop(self._random.randrange(len(self._idle)))
            conversation.request = self._backlog.popleft()
            self._under_way += 1
            self._send(conversation)

    def _begin(self, conversation: Conversation, when: float = 0.0) -> None:
        """Send a new request on a connection, or on a new one if it has none yet."""
        if self._stopping:
            return
        conversation.request = self._new_request(when or time.monotonic())
        self._under_way += 1
        if conversation.sock is None:
            self._connect(conversation)
        else:
            self._send(conversation)

    def _rest(self, conversation: Conversation, after: float) -> None:
        """A request has ended: what its connection (closed or not) does next."""
        if self._plan.once:
            return
        if not self._plan.rate:
            self._at(time.monotonic() + after, lambda: self._begin(conversation))
        elif self._plan.pool and conversation.sock is not None:
            self._idle.append(conversation)
            self._pump()
        elif self._plan.pool:
            self._at(time.monotonic() + after, lambda: self._connect(Conversation()))

    # Sockets

    def _connect(self, conversation: Conversation) -> None:
        plan = self._plan
        sock = socket.socket(socket.AF_UNIX if plan.path else socket.AF_INET)
        sock.setblocking(False)
        conversation.sock, conversation.connected = sock, 0.0
        conversation.data, conversation.earlier = b"", 0
        self._open[sock.fileno()] = conversation
        self._epoll.register(sock.fileno(), select.EPOLLOUT)
        error = sock.connect_ex(plan.path or (plan.host, plan.port))
        if error == errno.EAGAIN:  # a unix socket's queue is full: it did not block
            self._end(conversation, "unreached")
        elif error not in (0, errno.EINPROGRESS):
            self._end(conversation, "refused" if error == errno.ECONNREFUSED else "unreached")

    def _on_event(self, conversation: Conversation) -> None:
        assert conversation.sock is not None
        if conversation.connected:
            self._read(conversation)
            return
        error = conversation.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._end(conversation, "refused" if error == errno.ECONNREFUSED else "unreached")
            return
        conversation.connected = time.monotonic()
        conversation.port = 0 if self._plan.path else conversation.sock.getsockname()[1]
        self._epoll.modify(conversation.sock.fileno(), select.EPOLLIN)
        if conversation.request is None:
            self._idle.append(conversation)
            self._pump()
        elif not self._silent:
            self._send(conversation)

    def _send(self, conversation: Conversation) -> None:
        assert conversation.sock is not None
        assert conversation.request is not None
        conversation.request.sent = time.monotonic()
        try:
            sent = conversation.sock.send(conversation.request.octets)
        except OSError:
            self._end(conversation, "reset")
        else:
            assert sent == len(conversation.request.octets), "more than a socket's buffer holds"

    def _read(self, conversation: Conversation) -> None:
        assert conversation.sock is not None
        ended = "empty"
        try:
            data = conversation.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data, ended = b"", "reset"
        request = conversation.request
        if request is None:
            self._end(conversation, "wrong" if data else "dropped")
            return
        if not data:
            self._end(conversation, "truncated" if conversation.data else ended)
            return
        conversation.data += data
        try:
            answer = read_answer(conversation.data)
            if answer is not None:
                self._end(conversation, "ok", *request.check(answer[0]), told=answer[1])
        except (WrongAnswer, ValueError):
            self._end(conversation, "wrong")

    def _end(
        self,
        conversation: Conversation,
        kind: str,
        pid: int = 0,
        shard: int = 0,
        generation: int = 0,
        told: bool = False,
    ) -> None:
        """A request, or an idle connection, has ended so."""
        now = time.monotonic()
        kept = self._plan.keep_alive or bool(self._plan.pool)
        request, conversation.request = conversation.request, None
        began, sent, slow = (request.began, request.sent, request.slow) if request else (now, 0.0, False)
        who = pid, shard, generation
        self._records.append(
            Record(
                *(kind, began, conversation.connected, sent, now, conversation.port, conversation.earlier),
                *(told and kept, slow, *who),
            )
        )
        conversation.data = b""
        conversation.earlier += 1
        if kind != "ok" or told or not kept:
            self._close(conversation)
        if request is not None:
            self._under_way -= 1
            self._answered += kind == "ok"
        if conversation in self._idle:
            self._idle.remove(conversation)
        if request is not None or self._plan.pool:
            late = _AGAIN if kind in ("refused", "unreached") else 0.0
            self._rest(conversation, max(late, self._random.random() * self._plan.think))

    def _close(self, conversation: Conversation) -> None:
        assert conversation.sock is not None
        del self._open[conversation.sock.fileno()]
        self._epoll.unregister(conversation.sock.fileno())
        conversation.sock.close()
        conversation.sock = None


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    plan: dict[str, Any] = json.loads(control.recv(65536))
    control.sendall(b"true\n")
    StrictClient(Plan(**plan), control).run()


if __name__ == "__main__":
    main()

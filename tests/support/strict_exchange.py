"""One request of a strict load, and what its answer must be: the other side of apps/echo.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.strict import Plan

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked\r\n")
_CLOSES = re.compile(rb"(?i)\r\nconnection: *close\r\n")


class WrongAnswer(Exception):
    """Octets that are not the answer to the request."""


def read_answer(data: bytes) -> tuple[bytes, bool] | None:
    """The body of the one response in `data`, and whether the server will close; None while it is not all there.

    Raises WrongAnswer for another status than 200, wrong framing, and octets behind the response.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    if not head.startswith(b"HTTP/1.1 200 "):
        raise WrongAnswer
    head += b"\r\n"
    if found := _LENGTH.search(head):
        body, rest = rest[: int(found[1])], rest[int(found[1]) :]
        if len(body) < int(found[1]):
            return None
    elif _CHUNKED.search(head):
        body = b""
        while True:
            line, end, rest = rest.partition(b"\r\n")
            if not end:
                return None
            size = int(line, 16)
            if len(rest) < size + 2:
                return None
            if rest[size : size + 2] != b"\r\n":
                raise WrongAnswer
            body, rest = body + rest[:size], rest[size + 2 :]
            if not size:
                break
    else:
        raise WrongAnswer
    if rest:
        raise WrongAnswer
    return body, bool(_CLOSES.search(head))


class Request:
    """What is asked, and how the answer must look. Every third has a body, every third gets its answer in chunks."""

    def __init__(self, number: int, plan: Plan, slow: bool, began: float) -> None:
        self.token = f"{number:08d}"
        self.began = began
        self.slow = slow
        self.sent = 0.0
        size = number * 7919 % 4000
        target = f"/{self.token}?ms={plan.slow_ms if slow else plan.ms}&size={size}"
        if plan.grow:
            target += f"&grow={plan.grow}"
        if number % 3 == 2:
            target += "&cut=1"
        fields = "Host: test\r\n" if plan.keep_alive or plan.pool else "Host: test\r\nConnection: close\r\n"
        self._filler = b"." * size
        if number % 3 == 1:
            self._filler = self.token.encode() * (size // 8 + 1)
            head = f"POST {target} HTTP/1.1\r\n{fields}Content-Length: {len(self._filler)}\r\n\r\n"
            self.octets = head.encode() + self._filler
        else:
            self.octets = f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode()

    def check(self, body: bytes) -> tuple[int, int, int]:
        """Who answered: pid, shard, generation. Raises WrongAnswer if this is not the answer to this request."""
        line, _, rest = body.partition(b"\n")
        words = line.decode("latin-1").split(" ")
        if len(words) != 4 or words[0] != self.token or rest != self._filler + self.token.encode():
            raise WrongAnswer
        return int(words[1]), int(words[2]), int(words[3])

"""What the servers are asked for: one workload is one kind of request, and how many connections ask."""

from __future__ import annotations

from dataclasses import dataclass, field

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Connection": "keep-alive",
    "Cookie": "session=0123456789abcdefghijklmnopqrstuvwxyz; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}


@dataclass(frozen=True)
class Workload:
    """`app` is a module of apps/; `size` the octets of a right answer's body at least.

    `script` and `argument` are for wrk. `everyone`: the limits and the variants of servers are asked too.
    """

    name: str
    title: str
    app: str = "hello"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    script: str = ""
    argument: int = 0
    size: int = 13
    connections: int = 64
    idle: int = 0
    interfaces: tuple[str, ...] = ("asgi", "wsgi")
    access_log: bool = False
    closes: bool = False
    paced: bool = False  # by h2load at a fixed rate, not as fast as it goes
    everyone: bool = False
    post: int = 0

    def path_for(self, interface: str) -> str:
        """Its path for a server of that interface."""
        return self.path.format(interface=interface)


SHOP = "/shops/7/items?page=1"

WORKLOADS = (
    Workload("plain", "plain GET", everyone=True),
    Workload("headers", "GET, query, 11 headers", path="/items/42?page=1&sort=name", headers=BROWSER, everyone=True),
    Workload("pipeline", "16 pipelined", script="pipeline", argument=16),
    Workload("idle", "64 busy beside 1,000 idle", idle=1000),
    Workload("close", "connection per request", headers={"Connection": "close"}, closes=True),
    Workload("access-log", "plain GET, access log", access_log=True),
    Workload("post-1k", "POST 1 KiB", "bodies", script="post", argument=1024, post=1024, size=4),
    Workload("post-1m", "POST 1 MiB", "bodies", script="post", argument=1 << 20, post=1 << 20, size=7, connections=16),
    Workload("body-64k", "64 KiB response", "bodies", "/64k", size=65536),
    Workload("body-10m", "10 MiB response", "bodies", "/10m", size=10 << 20, connections=16),
    Workload("stream", "1,000 chunks", "bodies", "/stream", size=100_000, connections=16),
    Workload("fastapi", "FastAPI, 1 KiB JSON", "fastapi_json", SHOP, size=900, interfaces=("asgi",)),
    Workload("flask", "Flask, 1 KiB JSON", "flask_json", SHOP, size=900, interfaces=("wsgi",)),
    Workload("django", "Django, 1 KiB JSON", "django_json", "/{interface}" + SHOP, size=900),
    Workload("rate", "plain GET at a fixed rate", paced=True),
)
BY_NAME = {one.name: one for one in WORKLOADS}


def groups(names: list[str]) -> list[list[Workload]]:
    """The workloads, those together that one start of a server can serve one after another."""
    found: dict[tuple[str, bool], list[Workload]] = {}
    for one in WORKLOADS:
        if one.name in names:
            found.setdefault((one.app, one.access_log), []).append(one)
    return list(found.values())

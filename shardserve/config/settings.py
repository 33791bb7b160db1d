"""Every option of shardserve, each written once: the fields of `Config`.

The command line, the environment variables, the TOML keys, --print-config and docs/settings.md all follow from this
table, and nothing about an option is said anywhere else. To add one, add a field. Checks that need more than one
option stand in `Config.__post_init__`; reading values is the business of `sources`.
"""

# ruff: noqa: RUF009 -- option() only makes a dataclasses.field()

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from shardserve.config.kinds import (
    Account,
    Choice,
    Networks,
    OptionalText,
    RootPath,
    Seconds,
    Size,
    Switch,
    Text,
    TextList,
    Umask,
    Whole,
    Workers,
)
from shardserve.config.option import Names, Option, option
from shardserve.errors import ConfigError

Interface = Literal["auto", "asgi", "asgi2", "wsgi"]
Lifespan = Literal["auto", "on", "off"]
Loop = Literal["auto", "uvloop", "asyncio"]
HttpParser = Literal["auto", "builtin", "httptools", "h11"]
HeaderMap = Literal["drop", "refuse", "dangerous"]
Steering = Literal["auto", "ebpf", "cbpf", "hash", "shared"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

APPLICATION = "Application"
SOCKETS = "Sockets"
WORKERS = "Workers"
TIMEOUTS = "Timeouts"
LIMITS = "Limits"
WEBSOCKET = "WebSocket"
LOGGING = "Logging"
PROXIES = "Proxies"
DEVELOPMENT = "Development"
PROCESS = "Process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one run, valid and unchangeable. Times are seconds.

    Takes values that are parsed already (`sources` does that) and raises ConfigError if they contradict each other.
    """

    # Application

    app: str | None = option(
        None,
        "The application: module:attr, module (its app, else its application), or module:factory(...).",
        kind=OptionalText("APP"),
        group=APPLICATION,
        names=Names(gunicorn=("wsgi_app",)),
    )
    factory: bool = option(
        False,
        "APP names a callable without arguments that returns the application.",
        kind=Switch(),
        group=APPLICATION,
    )
    interface: Interface = option(
        "auto",
        "What the application speaks; auto looks at the object. asgi2: it is called twice, first with the scope.",
        kind=Choice[Interface](get_args(Interface), {"asgi3": "asgi"}),
        group=APPLICATION,
    )
    chdir: str | None = option(
        None,
        "Directory to change to before the application is imported.",
        kind=OptionalText("PATH"),
        group=APPLICATION,
    )
    pythonpath: tuple[str, ...] = option(
        (),
        "Directories to import from, before the current one. Repeatable, or separated by commas.",
        kind=TextList("PATHS"),
        group=APPLICATION,
        names=Names(aliases=("--app-dir",), uvicorn=("app_dir",)),
    )
    lifespan: Lifespan = option(
        "auto",
        "ASGI lifespan events: auto tolerates an application that refuses them at once, on demands them.",
        kind=Choice[Lifespan](get_args(Lifespan)),
        group=APPLICATION,
        names=Names(aliases=("--asgi-lifespan",), gunicorn=("asgi_lifespan",)),
    )
    root_path: str = option(
        "",
        "URL path the application is mounted under: ASGI root_path, WSGI SCRIPT_NAME.",
        kind=RootPath("PATH"),
        group=APPLICATION,
    )

    # Sockets

    bind: tuple[str, ...] = option(
        ("127.0.0.1:8000",),
        "Address to listen on: HOST:PORT, [::]:PORT, unix:PATH or fd://N. Repeatable, or separated by commas.",
        kind=TextList("ADDRESS"),
        group=SOCKETS,
        names=Names("-b", env="PORT", uvicorn=("host", "port", "uds", "fd")),
    )
    steering: Steering = option(
        "auto",
        "How new connections find a worker: by eBPF to the least loaded, by classic BPF to one of the less loaded, by "
        "the kernel's hash, or from one shared listener. auto: the first of these that the kernel allows here.",
        kind=Choice[Steering](get_args(Steering)),
        group=SOCKETS,
    )
    backlog: int = option(
        2048,
        "Connections the kernel queues for each shard.",
        kind=Whole(minimum=1),
        group=SOCKETS,
    )

    # Workers

    workers: int | Literal["auto"] = option(
        "auto",
        "Worker processes, one shard each; auto counts the CPUs this process may use (affinity and cgroup quota), "
        "0 serves in the calling process.",
        kind=Workers(),
        group=WORKERS,
        names=Names("-w", env="WEB_CONCURRENCY"),
    )
    threads: int = option(
        1,
        "Threads for WSGI calls in each worker; with 1, one call at a time and always on the same thread.",
        kind=Whole(minimum=1),
        group=WORKERS,
    )
    wsgi_inline: bool = option(
        True,
        "With one thread, call a WSGI application on the event loop's own: fastest, and the worker does nothing else "
        "during a call. Off, or with request-timeout or limit-concurrency, the application has a thread of its own.",
        kind=Switch(),
        group=WORKERS,
    )
    request_buffering: bool = option(
        True,
        "Read the body of a request whole, into memory or a file, before a WSGI application is called. Off, the "
        "application reads the body as it comes, and a slow client holds its thread; that needs threads beside the "
        "event loop's (threads 2 or more, or wsgi-inline off). ASGI applications always get a body as it comes.",
        kind=Switch(),
        group=WORKERS,
    )
    loop: Loop = option(
        "auto",
        "Event loop; auto prefers uvloop.",
        kind=Choice[Loop](get_args(Loop)),
        group=WORKERS,
        names=Names(aliases=("--asgi-loop",), gunicorn=("asgi_loop",)),
    )
    http: HttpParser = option(
        "auto",
        "Who reads the fields of a request head; auto is builtin. What is refused does not depend on it.",
        kind=Choice[HttpParser](get_args(HttpParser), {"fast": "httptools", "python": "h11"}),
        group=WORKERS,
        names=Names(aliases=("--http-parser",), gunicorn=("http_parser",)),
    )

    preload: bool = option(
        False,
        "Import the application once, in a process of its own that workers are forked from: they share its memory. A "
        "reload takes new code all the same. Not for applications that start threads, or use the event loop, when "
        "imported.",
        kind=Switch(),
        group=WORKERS,
        names=Names(aliases=("--preload-app",), gunicorn=("preload_app",)),
    )
    max_requests: int = option(
        0,
        "Requests after which a worker is replaced, ready first; 0 never.",
        kind=Whole(),
        group=WORKERS,
        names=Names(aliases=("--limit-max-requests",), uvicorn=("limit_max_requests",)),
    )
    max_requests_jitter: int = option(
        0,
        "Up to so many more requests, drawn for each worker, so that they are not replaced all at once.",
        kind=Whole(),
        group=WORKERS,
        names=Names(aliases=("--limit-max-requests-jitter",), uvicorn=("limit_max_requests_jitter",)),
    )
    max_lifetime: float = option(
        0.0,
        "How long a worker serves before it is replaced, ready first, drawn up to a tenth longer; 0 for ever.",
        kind=Seconds(),
        group=WORKERS,
    )
    max_rss: int = option(
        0,
        "Resident memory in bytes (or 512M, 2G) at which a worker is replaced, ready first (or, where memory has no "
        "room for one more, after it has left); 0 never.",
        kind=Size(),
        group=WORKERS,
    )

    # Timeouts

    keep_alive: float = option(
        75.0,
        "How long an idle connection stays open for the next request; 0 closes each after its answer.",
        kind=Seconds(),
        group=TIMEOUTS,
        names=Names(
            aliases=("--keepalive", "--timeout-keep-alive"), gunicorn=("keepalive",), uvicorn=("timeout_keep_alive",)
        ),
    )
    graceful_timeout: float = option(
        30.0,
        "How long a stopping worker may take to finish its requests; then they are cut. 0 cuts them at once.",
        kind=Seconds(),
        group=TIMEOUTS,
        names=Names(aliases=("--timeout-graceful-shutdown",), uvicorn=("timeout_graceful_shutdown",)),
    )
    drain_delay: float = option(
        0.0,
        "How long to go on accepting after SIGTERM, for load balancers that still send; every answer closes its "
        "connection meanwhile. A stop may take this, graceful-timeout and 8 s: let the platform wait for so long.",
        kind=Seconds(),
        group=TIMEOUTS,
    )
    timeout: float = option(
        30.0,
        "How long a worker's event loop may stand still, or all its WSGI threads be busy without beginning a call, "
        "before it is taken for hung, shows its stacks and is replaced; 0 waits for ever.",
        kind=Seconds(),
        group=TIMEOUTS,
        names=Names("-t", aliases=("--timeout-worker-healthcheck",), uvicorn=("timeout_worker_healthcheck",)),
    )
    request_timeout: float = option(
        0.0,
        "How long a request may take from its complete head to the end of its response, streams included; then 504, or "
        "a cut where the response has begun, within a second. 0 sets no limit.",
        kind=Seconds(),
        group=TIMEOUTS,
    )
    disconnect_grace: float = option(
        0.0,
        "How long an ASGI application may work on for a client that has left, or ended its side, before its response "
        "was complete; then it is cancelled, within a second. 0 lets it run to its end.",
        kind=Seconds(),
        group=TIMEOUTS,
    )
    boot_timeout: float = option(
        120.0,
        "How long a worker may take to import and start the application; 0 sets no limit.",
        kind=Seconds(),
        group=TIMEOUTS,
    )

    header_timeout: float = option(
        10.0,
        "How long a request's head may take from its first byte to its end; then 408. 0 sets no limit.",
        kind=Seconds(),
        group=TIMEOUTS,
    )
    body_timeout: float = option(
        30.0,
        "How long a request's body may pause while it is being read; then 408. 0 sets no limit.",
        kind=Seconds(),
        group=TIMEOUTS,
    )
    body_min_rate: int = option(
        240,
        "Bytes a second that a request's body must come at on average, after its first 10 s; 0 sets no limit.",
        kind=Whole(),
        group=TIMEOUTS,
    )
    write_timeout: float = option(
        60.0,
        "How long a client may take no byte of a response that waits for it; then it is closed. 0 sets no limit.",
        kind=Seconds(),
        group=TIMEOUTS,
    )

    # Limits

    worker_connections: int = option(
        0,
        "Open connections at which a worker accepts no more until one closes; new ones go to other workers, or wait in "
        "the backlog. 0 sets no limit but that of open files.",
        kind=Whole(),
        group=LIMITS,
    )
    limit_concurrency: int = option(
        0,
        "Requests that a worker executes at once; what comes beyond goes to a worker that has fewer, or waits in order "
        "and is answered 503 with Retry-After after queue-timeout. WSGI executes as many as threads at most: there any "
        "number turns the time limit on. 0 sets no limit.",
        kind=Whole(),
        group=LIMITS,
        names=Names(uvicorn=("limit_concurrency",)),
    )
    queue_timeout: float = option(
        0.5,
        "How long a request may wait for its turn under limit-concurrency, and a fifth of it where requests have been "
        "waiting for all of that time; then 503. 0 lets it wait.",
        kind=Seconds(),
        group=LIMITS,
    )
    max_connection_requests: int = option(
        0,
        "Requests after which a connection is closed, with its last answer, drawn up to a tenth more; 0 never.",
        kind=Whole(),
        group=LIMITS,
    )
    max_connection_age: float = option(
        0.0,
        "How old a connection may be and still be kept after an answer, drawn up to a tenth older; 0 however old. Lets "
        "clients of balancers that never reconnect find new workers and addresses.",
        kind=Seconds(),
        group=LIMITS,
    )
    permit_unconventional_http_method: bool = option(
        False,
        "Hand any method to the application (but CONNECT), not only those of the registry; others are 501.",
        kind=Switch(),
        group=LIMITS,
    )
    limit_request_line: int = option(
        8190,
        "Longest request line in bytes; more is 414.",
        kind=Whole(minimum=16),
        group=LIMITS,
    )
    limit_request_fields: int = option(
        100,
        "Most header fields in a request; more is 431.",
        kind=Whole(minimum=1),
        group=LIMITS,
    )
    limit_request_field_size: int = option(
        8190,
        "Longest header field in bytes; more is 431.",
        kind=Whole(minimum=16),
        group=LIMITS,
        names=Names(aliases=("--limit-request-field_size",)),
    )
    limit_request_section: int = option(
        65536,
        "Largest header section, and trailer section, in bytes; more is 431.",
        kind=Whole(minimum=64),
        group=LIMITS,
        names=Names(aliases=("--h11-max-incomplete-event-size",), uvicorn=("h11_max_incomplete_event_size",)),
    )
    limit_request_body: int = option(
        0,
        "Largest request body in bytes; more is 413. 0 sets no limit.",
        kind=Whole(),
        group=LIMITS,
    )
    limit_request_spool: int = option(
        1024**3,
        "Largest request body in bytes that is kept on disk for a WSGI application; more is 413. 0 sets no limit.",
        kind=Whole(),
        group=LIMITS,
    )

    # WebSocket

    ws_max_size: int = option(
        16 * 1024**2,
        "Largest WebSocket message in bytes (or 512K, 16M), inflated; for a larger one it is closed with 1009. 0 sets "
        "no limit.",
        kind=Size(),
        group=WEBSOCKET,
        names=Names(gunicorn=("websocket_max_message_size",)),
    )
    ws_ping_interval: float = option(
        20.0,
        "How often a WebSocket's client is pinged; 0 never.",
        kind=Seconds(),
        group=WEBSOCKET,
    )
    ws_ping_timeout: float = option(
        20.0,
        "How long a pinged client may be silent before its WebSocket is closed with 1011; 0 for ever.",
        kind=Seconds(),
        group=WEBSOCKET,
    )
    ws_deflate: bool = option(
        False,
        "Compress WebSocket messages (permessage-deflate) with clients that offer it; costs CPU, and about 55 KiB of "
        "memory for each such connection.",
        kind=Switch(),
        group=WEBSOCKET,
        names=Names(uvicorn=("ws_per_message_deflate",)),
    )
    ws_deflate_threshold: int = option(
        1024,
        "Messages of fewer bytes (or 1K) are sent without compression.",
        kind=Size(),
        group=WEBSOCKET,
    )

    # Proxies

    forwarded_allow_ips: tuple[str, ...] = option(
        ("127.0.0.1", "::1"),
        "Peers whose X-Forwarded-For and -Proto are believed: addresses or CIDR networks, * for all, empty for none. "
        "Repeatable, or separated by commas.",
        kind=Networks(),
        group=PROXIES,
        names=Names(env="FORWARDED_ALLOW_IPS"),
    )
    header_map: HeaderMap = option(
        "drop",
        "Header fields whose names hold an underscore, which WSGI cannot tell from a dash: drop them, refuse the "
        "request with 400, or (dangerous) hand them over.",
        kind=Choice[HeaderMap](get_args(HeaderMap)),
        group=PROXIES,
    )
    forwarder_headers: tuple[str, ...] = option(
        ("SCRIPT_NAME", "PATH_INFO"),
        "Such fields that are handed over anyway from peers that forwarded-allow-ips trusts, * for all; SCRIPT_NAME "
        "says where the application is mounted, as root-path does. Repeatable, or separated by commas.",
        kind=TextList("NAMES"),
        group=PROXIES,
    )

    # Logging

    log_level: LogLevel = option(
        "info",
        "The least severe messages that are logged.",
        kind=Choice[LogLevel](get_args(LogLevel)),
        group=LOGGING,
        names=Names(aliases=("--loglevel",), gunicorn=("loglevel",)),
    )
    access_logfile: str | None = option(
        None,
        "File for the access log, - for standard output. Without it there is none.",
        kind=OptionalText("PATH"),
        group=LOGGING,
        names=Names(gunicorn=("accesslog",)),
    )
    access_logformat: str = option(
        '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "Format of a line of the access log, in gunicorn's atoms.",
        kind=Text("FORMAT"),
        group=LOGGING,
        names=Names(gunicorn=("access_log_format",)),
    )

    # Development

    reload: bool = option(
        False,
        "Reload when a Python file changes (needs watchfiles); for development. The last good application stays.",
        kind=Switch(),
        group=DEVELOPMENT,
    )
    reload_dir: tuple[str, ...] = option(
        (),
        "Directories to watch; without any, the current one. Repeatable, or separated by commas.",
        kind=TextList("PATHS"),
        group=DEVELOPMENT,
        names=Names(uvicorn=("reload_dirs",)),
    )

    # Process

    pidfile: str | None = option(
        None,
        "File to write the supervisor's process id to.",
        kind=OptionalText("PATH"),
        group=PROCESS,
        names=Names("-p", aliases=("--pid",), gunicorn=("pid",)),
    )
    user: str | None = option(
        None,
        "User (name or number) that workers drop to; the supervisor keeps its uid.",
        kind=Account("USER"),
        group=PROCESS,
        names=Names("-u"),
    )
    group: str | None = option(
        None,
        "Group (name or number) that workers drop to; the supervisor keeps its gid.",
        kind=Account("GROUP"),
        group=PROCESS,
        names=Names("-g"),
    )
    umask: int | None = option(
        None,
        'Mask for the modes of new files, in octal: "027". Without it the inherited mask stays.',
        kind=Umask(),
        group=PROCESS,
        names=Names("-m"),
    )

    def __post_init__(self) -> None:
        """Check what no option can know of itself."""
        if not self.bind:
            raise ConfigError("--bind: no address is left to listen on; give one, such as 127.0.0.1:8000")
        twice = next((address for address in self.bind if self.bind.count(address) > 1), None)
        if twice is not None:
            raise ConfigError(f"--bind: {twice} is given twice; give each address once")
        if self.reload and self.workers == 0:
            raise ConfigError("--reload: there is no supervisor to reload with --workers 0; use 1, or drop --reload")
        # Serving as root where another user was asked for would be a silent loss of protection.
        dropped = "--user" if self.user else "--group" if self.group else None
        if self.workers == 0 and dropped is not None:
            raise ConfigError(f"{dropped}: only workers drop to it and --workers 0 has none; use 1, or drop {dropped}")
        if not self.request_buffering and self.calls_inline and self.interface in ("auto", "wsgi"):
            raise ConfigError(
                "--no-request-buffering: with one thread a WSGI application is called on the event loop's own, which "
                "cannot wait for a body; use --threads 2, or --no-wsgi-inline"
            )

    @property
    def calls_inline(self) -> bool:
        """Whether WSGI applications are called on the loop's own thread: one, and no need of a loop that runs on.

        A request past request_timeout is answered, and one that has waited too long under limit_concurrency is shed, by
        the loop, while the application is at work.
        """
        return self.threads == 1 and self.wsgi_inline and not self.request_timeout and not self.limit_concurrency


OPTIONS: tuple[Option, ...] = tuple(Option(name=f.name, default=f.default, **f.metadata) for f in fields(Config))

"""Every option of shardserve, each written once: the fields of `Config`.

The command line, the environment variables, the TOML keys, --print-config and docs/settings.md all follow from this
table, and nothing about an option is said anywhere else. To add one, add a field. Checks that need more than one
option stand in `Config.__post_init__`; reading values is the business of `sources`.
"""

# ruff: noqa: RUF009 -- option() only makes a dataclasses.field()

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

from shardserve.config.kinds import (
    Account,
    Choice,
    Kind,
    Networks,
    OptionalText,
    RootPath,
    Seconds,
    Switch,
    TextList,
    Umask,
    Whole,
    Workers,
)
from shardserve.errors import ConfigError

T = TypeVar("T")

Interface = Literal["auto", "asgi", "wsgi"]
Lifespan = Literal["auto", "on", "off"]
Loop = Literal["auto", "uvloop", "asyncio"]
HttpParser = Literal["auto", "httptools", "h11"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

APPLICATION = "Application"
SOCKETS = "Sockets"
WORKERS = "Workers"
TIMEOUTS = "Timeouts"
PROXIES = "Proxies"
PROCESS = "Process"


@dataclass(frozen=True, slots=True)
class Names:
    """What an option is called besides `--its-name`, `its_name` and SHARDSERVE_ITS_NAME."""

    short: str = ""  # "-w"
    aliases: tuple[str, ...] = ()  # further long flags: spellings of gunicorn and uvicorn
    env: str = ""  # a variable platforms set, weaker than the configuration file
    gunicorn: tuple[str, ...] = ()  # gunicorn's setting names, where they are not ours
    uvicorn: tuple[str, ...] = ()  # uvicorn's option names, where they are not ours


@dataclass(frozen=True, slots=True)
class Option:
    """One line of the table: all there is to know about an option."""

    name: str
    default: Any
    what: str
    kind: Kind[Any]
    group: str
    names: Names

    @property
    def flag(self) -> str:
        """The primary spelling on the command line; the application is an argument, not a flag."""
        return "APP" if self.name == "app" else "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """All spellings on the command line, the short one first."""
        return tuple(flag for flag in (self.names.short, self.flag, *self.names.aliases) if flag)

    @property
    def variable(self) -> str:
        """The environment variable of our own."""
        return f"SHARDSERVE_{self.name.upper()}"


_NO_NAMES = Names()


def option(default: T, what: str, *, kind: Kind[T], group: str, names: Names = _NO_NAMES) -> T:
    """A field of `Config`. `what` is one sentence or two, with units; `kind` reads its values."""
    metadata = {"what": what, "kind": kind, "group": group, "names": names}
    return field(default=default, metadata=metadata)


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
        "What the application speaks; auto looks at the object.",
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
    loop: Loop = option(
        "auto",
        "Event loop; auto prefers uvloop.",
        kind=Choice[Loop](get_args(Loop)),
        group=WORKERS,
        names=Names(aliases=("--asgi-loop",), gunicorn=("asgi_loop",)),
    )
    http: HttpParser = option(
        "auto",
        "HTTP/1 parser; auto prefers httptools.",
        kind=Choice[HttpParser](get_args(HttpParser), {"fast": "httptools", "python": "h11"}),
        group=WORKERS,
        names=Names(aliases=("--http-parser",), gunicorn=("http_parser",)),
    )

    # Timeouts

    keep_alive: float = option(
        75.0,
        "How long an idle connection stays open for the next request.",
        kind=Seconds(),
        group=TIMEOUTS,
        names=Names(
            aliases=("--keepalive", "--timeout-keep-alive"), gunicorn=("keepalive",), uvicorn=("timeout_keep_alive",)
        ),
    )
    graceful_timeout: float = option(
        30.0,
        "How long a stopping worker may take to finish its requests.",
        kind=Seconds(),
        group=TIMEOUTS,
        names=Names(aliases=("--timeout-graceful-shutdown",), uvicorn=("timeout_graceful_shutdown",)),
    )
    boot_timeout: float = option(
        120.0,
        "How long a worker may take to import and start the application; 0 sets no limit.",
        kind=Seconds(),
        group=TIMEOUTS,
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

    # Process

    log_level: LogLevel = option(
        "info",
        "The least severe messages that are logged.",
        kind=Choice[LogLevel](get_args(LogLevel)),
        group=PROCESS,
        names=Names(aliases=("--loglevel",), gunicorn=("loglevel",)),
    )
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
        # Serving as root where another user was asked for would be a silent loss of protection.
        dropped = "--user" if self.user else "--group" if self.group else None
        if self.workers == 0 and dropped is not None:
            raise ConfigError(f"{dropped}: only workers drop to it and --workers 0 has none; use 1, or drop {dropped}")


OPTIONS: tuple[Option, ...] = tuple(Option(name=f.name, default=f.default, **f.metadata) for f in fields(Config))

"""Who is measured, and how each is started: one worker, no access log, else its defaults and its advised extras."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from environments import FOLDER, HERE, UnavailableError, environment, versions

if TYPE_CHECKING:
    from pathlib import Path

UNLOGGED = "@unlogged"  # stands in a command for the options that keep the access log off


@dataclass(frozen=True)
class Contender:
    """In `command`, {app}, {port} and {workers} are filled in; `package` names its environment.

    `logged` are the options that turn its access log on (None: it has none), `unlogged` those that turn it off.
    A `variant` is measured only with the workloads for everyone. `preload`: the option that imports the application
    before the fork.
    """

    name: str
    interface: str
    package: str
    command: str
    logged: str | None = None
    unlogged: str = ""
    environ: tuple[tuple[str, str], ...] = ()
    variant: bool = False
    many: bool = True  # it can have several workers
    preload: str = ""

    @property
    def key(self) -> str:
        """What it is called in results.json and on the command line."""
        return f"{self.interface} {self.name}"


def _shardserve(name: str, interface: str, options: str = "", **more: object) -> Contender:
    command = f"shardserve {{app}} -w {{workers}} -b 127.0.0.1:{{port}} {UNLOGGED} {options}"
    return Contender(name, interface, "shardserve", command, "--access-logfile /dev/null", **more)  # type: ignore[arg-type]


_UVICORN = f"uvicorn {{app}} --port {{port}} --workers {{workers}} {UNLOGGED} --loop uvloop --http httptools"
_GUNICORN = f"gunicorn -w {{workers}} -b 127.0.0.1:{{port}} --no-control-socket {UNLOGGED} {{app}}"
_GRANIAN = f"granian --interface %s --port {{port}} --workers {{workers}} {UNLOGGED} {{app}}"
_PEREGRINE = f"peregrine --protocol %s --port {{port}} --workers {{workers}} {UNLOGGED} {{app}}"
_FASTPYSGI = "fastpysgi {app} --host 127.0.0.1 -p {port}"
_PURE = (("SHARDSERVE_PURE", "1"),)
_LOGFILE = "--access-logfile /dev/null"

CONTENDERS = (
    _shardserve("shardserve", "asgi", preload="--preload"),
    _shardserve("shardserve, uncompiled", "asgi", environ=_PURE),
    _shardserve("shardserve --http httptools", "asgi", "--http httptools", variant=True),
    _shardserve("shardserve --http h11", "asgi", "--http h11", variant=True),
    Contender("peregrine", "asgi", "peregrine-server", _PEREGRINE % "asgi", "--access-log"),
    Contender("granian", "asgi", "granian", _GRANIAN % "asgi", "--access-log", "--no-log"),
    Contender(
        "h2corn",
        "asgi",
        "h2corn",
        f"h2corn -p {{port}} -w {{workers}} {UNLOGGED} {{app}}",
        "--access-log",
        "--no-access-log",
    ),
    Contender("uvicorn", "asgi", "uvicorn", _UVICORN, "", "--no-access-log"),
    Contender("gunicorn asgi", "asgi", "gunicorn", f"{_GUNICORN} -k asgi", _LOGFILE, preload="--preload"),
    Contender("gunicorn asgi, parser in C", "asgi", "gunicorn-fast", f"{_GUNICORN} -k asgi", _LOGFILE, variant=True),
    Contender(
        "hypercorn",
        "asgi",
        "hypercorn",
        f"hypercorn -k uvloop -w {{workers}} -b 127.0.0.1:{{port}} {UNLOGGED} {{app}}",
        _LOGFILE,
    ),
    Contender("fastpysgi", "asgi", "fastpysgi", _FASTPYSGI, many=False),
    _shardserve("shardserve", "wsgi", preload="--preload"),
    _shardserve("shardserve, uncompiled", "wsgi", environ=_PURE),
    _shardserve("shardserve --no-wsgi-inline", "wsgi", "--no-wsgi-inline", variant=True),
    _shardserve("shardserve --threads 4", "wsgi", "--threads 4"),
    Contender("peregrine", "wsgi", "peregrine-server", _PEREGRINE % "wsgi", "--access-log"),
    Contender("bjoern", "wsgi", "bjoern", "python launchers/c_server.py bjoern {app} {port}", many=False),
    Contender("fastwsgi", "wsgi", "fastwsgi", "python launchers/c_server.py fastwsgi {app} {port}", many=False),
    Contender("fastpysgi", "wsgi", "fastpysgi", _FASTPYSGI, many=False),
    Contender("granian", "wsgi", "granian", _GRANIAN % "wsgi", "--access-log", "--no-log"),
    Contender(
        "gunicorn gthread", "wsgi", "gunicorn", f"{_GUNICORN} -k gthread --threads 4", _LOGFILE, preload="--preload"
    ),
    Contender("C epoll loop", "limit", "gcc", "epoll_canned {port}", variant=True, many=False),
    Contender("uvloop protocol", "limit", "uvicorn", "python limits/uvloop_canned.py {port}", variant=True, many=False),
    Contender("nginx return 200", "limit", "nginx", "python limits/run_nginx.py {port}", variant=True, many=False),
)


def select(words: list[str]) -> list[Contender]:
    """Those whose key is, or else holds, one of the words, with shardserve to compare with; all without words."""
    keys = {one.key for one in CONTENDERS}
    chosen = {
        one.key
        for one in CONTENDERS
        if not words or any(word == one.key or (word not in keys and word in one.key) for word in words)
    }
    chosen |= {f"{key.partition(' ')[0]} shardserve" for key in chosen}
    return [one for one in CONTENDERS if one.key in chosen]


def program(one: Contender, *, here: bool = False) -> Path:
    """Where the first word of its command is. Raises UnavailableError."""
    first = one.command.split()[0]
    if one.package == "gcc":
        return _compiled(first)
    if one.package == "nginx" and shutil.which("nginx") is None:
        raise UnavailableError("nginx is not here: apt-get install nginx-light")
    package = "uvicorn" if one.package == "nginx" else one.package
    path = environment(package, here=here) / first
    if not path.exists():
        raise UnavailableError(f"{first} is not in {path.parent}")
    return path


def version(one: Contender, *, here: bool = False) -> dict[str, str]:
    """The versions of what it is made of."""
    if one.package in ("gcc", "nginx"):
        option = {"gcc": "--version", "nginx": "-v"}[one.package]
        done = subprocess.run([one.package, option], capture_output=True, text=True, check=True)
        return {one.package: (done.stdout + done.stderr).splitlines()[0].rpartition("/" if option == "-v" else " ")[2]}
    found = versions(environment(one.package, here=here), one.package)
    if one.package == "shardserve":  # says also whether it runs compiled
        words = [str(program(one, here=here)), "--version"]
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **dict(one.environ)})
        found["says"] = done.stdout.strip()
    return found


def command(
    one: Contender, app: str, port: int, *, log: bool = False, workers: int = 1, here: bool = False
) -> list[str]:
    """The words to start it with; `app` is a module of apps/. Raises UnavailableError."""
    path = program(one, here=here)
    if log and one.logged is None:
        raise UnavailableError("it has no access log")
    text = one.command.replace(UNLOGGED, (one.logged or "") if log else one.unlogged)
    words = text.format(app=f"apps.{app}:{one.interface}", port=port, workers=workers).split()
    return [str(path), *words[1:]]


def _compiled(name: str) -> Path:
    """The program made of limits/NAME.c, compiled where that is newer."""
    source, target = HERE / "limits" / f"{name}.c", FOLDER / name
    if shutil.which("gcc") is None:
        raise UnavailableError("gcc is not here: apt-get install gcc libc6-dev")
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        FOLDER.mkdir(exist_ok=True)
        done = subprocess.run(["gcc", "-O2", "-o", str(target), str(source)], capture_output=True, text=True)
        if done.returncode:
            raise UnavailableError(f"gcc: {done.stderr.strip()[:200]}")
    return target

"""What a server takes before it is asked: memory of its workers, time until it answers, CPU time to print its help.

Memory is the PSS (proc_pid_smaps(5): what processes share is divided among them) with four workers, or with one where
a server has no more; of a worker it is the median of the workers, in all it is every process. Idle is when nothing
uses the CPU any more, loaded is after a second of requests on 64 connections.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import load
from contenders import command, program
from environments import UnavailableError
from serving import Server, cpu_seconds, free_port, pss
from workloads import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from contenders import Contender
    from rounds import Figures

WORKERS = 4
TITLES = {
    "memory-hello": "memory, hello world",
    "memory-django": "memory, Django",
    "start-hello": "start, hello world",
    "start-django": "start, Django",
    "help": "CPU time of --help",
}
ONCE = ("memory-hello", "memory-django")  # the same in every round


def measure_all(name: str, contenders: list[Contender], number: int, *, here: bool = False) -> Figures:
    """One round of memory, start or help."""
    kind, _, app = name.partition("-")
    measure: Callable[..., dict[str, Any]] = {"memory": _memory, "start": _start, "help": _help}[kind]
    chosen = _with_help(contenders) if kind == "help" else _with_preload(contenders, memory=kind == "memory")
    random.shuffle(chosen)
    found: Figures = {}
    for one in chosen:
        print(f"round {number}: {one.key}: {name}", file=sys.stderr, flush=True)
        try:
            found[one.key] = measure(one, app, here)
        except (UnavailableError, OSError, load.LoadError) as error:
            found[one.key] = {"failed": str(error)}
            print(f"  {error}", file=sys.stderr, flush=True)
    return found


def _with_preload(contenders: list[Contender], *, memory: bool) -> list[Contender]:
    """The contenders that are no variants, those with --preload with and without it."""
    chosen = [one for one in contenders if not one.variant]
    if memory:
        chosen += [preloading(one) for one in chosen if one.preload]
    return chosen


def preloading(one: Contender) -> Contender:
    """The same server, which imports the application before it forks."""
    return replace(one, name=f"{one.name} {one.preload}", command=f"{one.command} {one.preload}")


def _with_help(contenders: list[Contender]) -> list[Contender]:
    """One of each package whose program has a --help."""
    found: dict[str, Contender] = {}
    for one in contenders:
        if not one.variant and not one.command.startswith("python "):
            found.setdefault(one.package, one)
    return list(found.values())


def _path(one: Contender, app: str) -> str:
    return BY_NAME["django"].path_for(one.interface) if app == "django" else "/"


def _started(one: Contender, app: str, workers: int, here: bool) -> Server:
    port = free_port()
    module = "django_json" if app == "django" else app
    return Server(command(one, module, port, workers=workers, here=here), port, environ=dict(one.environ))


def _memory(one: Contender, app: str, here: bool) -> dict[str, Any]:
    workers = WORKERS if one.many else 1
    path = _path(one, app)
    with _started(one, app, workers, here) as server:
        server.wait(path)
        _settle(server.process.pid)
        idle = pss(server.process.pid)
        load.fast(server.port, BY_NAME["plain"], path, 1)
        _settle(server.process.pid)
        loaded = pss(server.process.pid)
    return {
        "workers": workers,
        "processes": len(idle),
        "idle": _of_a_worker(idle, workers),
        "loaded": _of_a_worker(loaded, workers),
        "idle_total": sum(idle),
        "loaded_total": sum(loaded),
    }


def _of_a_worker(processes: list[int], workers: int) -> float:
    """The median of the largest processes below the first; a helper that a server has besides is smaller."""
    below = sorted(processes[1:], reverse=True)[:workers]
    return statistics.median(below) if below else processes[0]


def _settle(pid: int) -> None:
    """Wait until the server does nothing, at most 15 s."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        before = cpu_seconds(pid)
        time.sleep(0.5)
        if cpu_seconds(pid) - before < 0.01:
            return


def _start(one: Contender, app: str, here: bool) -> dict[str, Any]:
    """Seconds, and CPU seconds, from the command to the first answer of one worker."""
    with _started(one, app, 1, here) as server:
        seconds = server.wait(_path(one, app))
        return {"seconds": round(seconds, 3), "cpu": round(cpu_seconds(server.process.pid), 3)}


def _help(one: Contender, _: str, here: bool) -> dict[str, Any]:
    """CPU seconds of PROGRAM --help."""
    words = [str(program(one, here=here)), "--help"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UnavailableError(f"{Path(words[0]).name} --help ended with {process.returncode}")
    return {"cpu": round(used.ru_utime + used.ru_stime, 3)}

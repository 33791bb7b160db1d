"""Measures contenders round by round: fresh servers, in an order that is drawn anew for each round."""

from __future__ import annotations

import http.client
import os
import random
import resource
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import load
from contenders import command
from environments import UnavailableError
from serving import PATIENCE_FOR_ONE, SERVER_CPU, Server, busy_seconds, cpu_seconds, free_port
from workloads import groups

if TYPE_CHECKING:
    from contenders import Contender
    from workloads import Workload

Figures = dict[str, dict[str, Any]]  # by contender: figures, or why there are none


@dataclass
class Plan:
    """`rate`: requests a second for the workload that has a fixed one."""

    contenders: list[Contender]
    workloads: list[str]
    seconds: float
    warm_up: float
    rate: float = 0.0
    here: bool = False
    broken: dict[tuple[str, str], str] = field(default_factory=dict)  # does not start: contender, application; why


def measure_round(plan: Plan, number: int) -> dict[str, Figures]:
    """One round: the figures of each workload, the contenders in the order they were measured in."""
    found: dict[str, Figures] = {name: {} for name in plan.workloads}
    for group in groups(plan.workloads):
        order = [one for one in plan.contenders if any(_takes_part(one, each) for each in group)]
        random.shuffle(order)
        for one in order:
            workloads = [each for each in group if _takes_part(one, each)]
            print(
                f"round {number}: {one.key}: {', '.join(each.name for each in workloads)}", file=sys.stderr, flush=True
            )
            for name, figures in _measure_group(plan, one, workloads).items():
                found[name][one.key] = figures
                if "failed" in figures:
                    print(f"  {name}: {figures['failed']}", file=sys.stderr, flush=True)
    return found


def _takes_part(one: Contender, workload: Workload) -> bool:
    if one.interface == "limit":
        return workload.everyone
    if workload.access_log and one.logged is None:
        return False
    return one.interface in workload.interfaces and (workload.everyone or not one.variant)


def _measure_group(plan: Plan, one: Contender, workloads: list[Workload]) -> Figures:
    """Workloads of one application, one after another; a server that has ended is started again for the next."""
    found: Figures = {}
    app, log = workloads[0].app, workloads[0].access_log
    while left := workloads[len(found) :]:
        try:
            if why := plan.broken.get((one.key, app)):
                raise UnavailableError(why)
            port = free_port()
            words = command(one, app, port, log=log, here=plan.here)
            with Server(words, port, environ=dict(one.environ), discard=log) as server:
                server.wait(left[0].path_for(one.interface))
                for each in left:
                    found[each.name] = _measure(plan, each, server, each.path_for(one.interface))
                    if server.process.poll() is not None:
                        break
        except (UnavailableError, OSError) as error:
            plan.broken[one.key, app] = str(error)
            found |= {each.name: {"failed": str(error)} for each in left}
    return found


def _measure(plan: Plan, workload: Workload, server: Server, path: str) -> dict[str, Any]:
    """Check the answer, warm up, and count."""
    try:
        _check(server, workload, path)
        load.fast(server.port, workload, path, plan.warm_up)
        with load.idle(server.port, workload.idle, path):
            before, busy, began = cpu_seconds(server.process.pid), busy_seconds(), time.monotonic()
            if workload.paced:
                got = load.paced(server.port, workload, path, plan.seconds, plan.rate)
            else:
                got = load.fast(server.port, workload, path, plan.seconds)
            used = cpu_seconds(server.process.pid) - before
            others = max(0.0, busy_seconds() - busy - used) / (time.monotonic() - began)
    except (OSError, http.client.HTTPException, load.LoadError) as error:
        return {"failed": server.reason() if server.process.poll() is not None else str(error)}
    if server.process.poll() is not None:
        return {"failed": server.reason()}
    figures = {"requests": got.requests, "errors": got.errors, "per_second": round(got.requests / got.seconds, 1)}
    if not workload.paced:
        figures["per_cpu_second"] = round(got.requests / used, 1)
    return (
        figures
        | {"cpu": round(used, 3), "others": round(others, 3)}
        | {f"p{each}": round(took, 3) for each, took in got.percentiles.items()}
    )


def _check(server: Server, workload: Workload, path: str) -> None:
    """One request, looked at in full. Raises LoadError."""
    body = b"x" * workload.post if workload.post else None
    try:
        status, answer = server.ask("POST" if body else "GET", path, body)
    except TimeoutError:
        raise load.LoadError(f"no complete answer within {PATIENCE_FOR_ONE} s") from None
    right = answer == b"%d" % workload.post if body else len(answer) >= workload.size
    if status != 200 or not right:
        raise load.LoadError(f"answers {status} with {len(answer)} octets")


def prepare() -> None:
    """Leave the server's CPU to the server; let us and the servers open as many files as the system permits."""
    os.sched_setaffinity(0, set(os.sched_getaffinity(0)) - {SERVER_CPU})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))

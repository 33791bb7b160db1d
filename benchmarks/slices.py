"""Compares a few servers closely, on one workload: who takes how much CPU time for a request, and how sure that is.

    python slices.py fastapi "asgi shardserve" "asgi peregrine" [--rounds 20] [--processes 3] [--seconds 1]

On a machine whose seconds differ by half, `bench.py`, with one figure of each server a round, tells 10 to 30 % of an
application's request at best. Here several processes of each server stand ready, and every round has a slice of each,
in an order drawn anew: what slows the machine for some seconds slows all of them. The first server is what others are
compared with: "speed" is how much faster one is than that, the mean over the rounds with its standard error. (Between
processes of one server lie some per cent too, by where their memory happens to be.)
"""

from __future__ import annotations

import argparse
import math
import random
import signal
import statistics
import sys
from contextlib import ExitStack

import load
from bench import missing
from contenders import CONTENDERS, command
from environments import UnavailableError
from rounds import prepare
from serving import Server, cpu_seconds, free_port
from workloads import BY_NAME


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workload", choices=[name for name, one in BY_NAME.items() if not one.paced])
    parser.add_argument("contender", nargs="+", choices=[one.key for one in CONTENDERS], metavar="CONTENDER")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=3, help="of each server")
    parser.add_argument("--seconds", type=int, default=1, help="of a slice")
    parser.add_argument("--here", action="store_true", help="servers of the environment that runs this; no installing")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: an error takes two")
    return options


def measure(options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Microseconds of CPU time a request: by contender, for each round those of its processes."""
    workload = BY_NAME[options.workload]
    contenders = [one for one in CONTENDERS if one.key in options.contender]
    found: dict[str, list[list[float]]] = {key: [] for key in options.contender}
    with ExitStack() as stack:
        servers = []
        for one in contenders:
            path = workload.path_for(one.interface)
            for _ in range(options.processes):
                port = free_port()
                words = command(one, workload.app, port, log=workload.access_log, here=options.here)
                server = Server(words, port, environ=dict(one.environ), discard=workload.access_log)
                stack.enter_context(server).wait(path)
                load.fast(port, workload, path, 1)  # to warm up
                servers.append((one.key, server, path))
        for _ in range(options.rounds):
            for figures in found.values():
                figures.append([])
            for key, server, path in random.sample(servers, len(servers)):
                before = cpu_seconds(server.process.pid)
                got = load.fast(server.port, workload, path, options.seconds)
                used = cpu_seconds(server.process.pid) - before
                if got.errors:
                    raise load.LoadError(f"{key}: {got.errors} answers are wrong or missing")
                found[key][-1].append(used / got.requests * 1e6)
    return found


def table(found: dict[str, list[list[float]]]) -> list[str]:
    """A line for each contender."""
    means = {key: [statistics.fmean(map(math.log, one)) for one in rounds] for key, rounds in found.items()}
    first = next(iter(means.values()))
    lines = [f"{'':28} us a request: least, quarter, median   speed"]
    for key, rounds in found.items():
        every = sorted(figure for one in rounds for figure in one)
        ratios = [a - b for a, b in zip(first, means[key], strict=True)]
        error = statistics.stdev(ratios) / math.sqrt(len(ratios))
        spread = f"{every[0]:12.1f} {every[len(every) // 4]:12.1f} {statistics.median(every):12.1f}"
        lines.append(f"{key:28} {spread}   {math.exp(statistics.fmean(ratios)):.3f} +- {error:.3f}")
    return lines


def main() -> int:
    options = arguments()
    if lacks := missing([options.workload]):
        print(lacks, file=sys.stderr)
        return 1
    prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # by way of all `with`: servers end with us
    try:
        found = measure(options)
    except (UnavailableError, load.LoadError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measure shardserve beside its peers: requests per CPU second of the server, latencies, memory, start.

    python bench.py [--rounds 5] [--seconds 3] [--only WORD ...] [--workload NAME ...] [--add] [--quick]
    python bench.py --report            make the tables and pictures of what was measured before
    python bench.py --list

Every server runs alone with one worker on one CPU while the load comes from another. Rounds are interleaved, in an
order drawn anew for each; a server is started anew in each round, checked, and warmed up. What counts is requests
divided by the CPU seconds (user and system, all processes and threads) that the server used meanwhile: on a noisy
machine that is much steadier than requests a second.

What was measured goes into results.json (with --only: into .venv-bench/only.json, and nowhere else, unless --output
says where), and replaces there the same workloads and contenders; with --add it is added as further rounds. So the
whole can be measured in pieces. Loopback only. The programs install what they need into .venv-bench.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path

import footprint
import pictures
import results
import tables
from contenders import CONTENDERS, Contender, program, select, version
from environments import FOLDER, HERE, REPOSITORY, UnavailableError
from rounds import Plan, measure_round, prepare
from serving import CPUS
from workloads import BY_NAME, WORKLOADS

RESULTS = HERE / "results.json"
ONLY = FOLDER / "only.json"
README = HERE / "README.md"
BEGIN, END = "<!-- table begins -->", "<!-- table ends -->"
RATED = "asgi uvicorn"  # half of its rate is the fixed one
TOOLS = {"wrk": "wrk", "taskset": "util-linux", "h2load": "nghttp2-client"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="for each workload of each server in each round")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="contenders whose name has it")
    parser.add_argument("--workload", nargs="+", default=[], choices=[*BY_NAME, *footprint.TITLES], metavar="NAME")
    parser.add_argument("--add", action="store_true", help="as further rounds of what is in the results")
    parser.add_argument("--quick", action="store_true", help="one round of a second: to see that all works")
    parser.add_argument("--report", action="store_true", help="measure nothing, make tables and pictures")
    parser.add_argument("--list", action="store_true", help="print contenders and workloads")
    parser.add_argument("--output", type=Path, help="the file of the results")
    parser.add_argument("--here", action="store_true", help="servers of the environment that runs this; no installing")
    options = parser.parse_args()
    if options.quick:
        options.rounds = options.seconds = 1
    if options.output is None:
        options.output = ONLY if options.only else RESULTS
    return options


def missing(workloads: list[str]) -> str:
    """What must be installed before anything can be measured."""
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None and (tool != "h2load" or "rate" in workloads):
            return f"{tool} is missing: apt-get install {package}"
    return "" if len(CPUS) > 1 else "it takes two CPUs: one for the server, one for the load"


def available(chosen: list[Contender], new: results.Results, *, here: bool) -> list[Contender]:
    """Those that can be had; the others go into `new` with the reason."""
    found = []
    for one in chosen:
        try:
            program(one, here=here)
            new["versions"][one.key] = version(one, here=here)
            found.append(one)
        except UnavailableError as error:
            new["skipped"][one.key] = str(error)
            print(f"{one.key}: skipped, {error}", file=sys.stderr)
    return found


def run(options: argparse.Namespace) -> None:
    """Measure; each round is in the file as soon as it is over."""
    names = options.workload or [*BY_NAME, *footprint.TITLES]
    workloads = [name for name in names if name in BY_NAME and name != "rate"]
    new: results.Results = {"workloads": {}, "versions": {}, "skipped": {}, "machine": results.machine()}
    contenders = available(select(options.only), new, here=options.here)
    if options.only and options.output == ONLY and not options.add:
        ONLY.unlink(missing_ok=True)
    old = results.read(options.output)
    prepare()
    plan = Plan(contenders, workloads, options.seconds, 1, here=options.here)
    for number in range(1, options.rounds + 1):
        for name in names:
            if name in footprint.TITLES and (number == 1 or name not in footprint.ONCE):
                began = results.stamp()
                figures = footprint.measure_all(name, contenders, number, here=options.here)
                new["workloads"].setdefault(name, []).append({**began, "seconds": 0, "figures": figures})
        _round(plan, number, new)
        results.write(options.output, results.merge(old, new, add=options.add))
    if "rate" in names:
        new["rate"] = plan.rate = fixed_rate(options)
        plan.workloads = ["rate"]
        for number in range(1, options.rounds + 1):
            _round(plan, number, new)
            results.write(options.output, results.merge(old, new, add=options.add))


def _round(plan: Plan, number: int, new: results.Results) -> None:
    began = results.stamp()
    for name, figures in measure_round(plan, number).items():
        new["workloads"].setdefault(name, []).append({**began, "seconds": plan.seconds, "figures": figures})


def fixed_rate(options: argparse.Namespace) -> float:
    """Half of what uvicorn answers a second on a plain GET: as measured before, else measured now."""
    for path in (options.output, RESULTS):
        if most := results.median(results.read(path), "plain", RATED, "per_second"):
            return round(most / 2, 1)
    plan = Plan([one for one in CONTENDERS if one.key == RATED], ["plain"], options.seconds, 1)
    most = measure_round(plan, 0)["plain"][RATED].get("per_second")
    if most is None:
        raise SystemExit("the fixed rate is half of uvicorn's, and uvicorn cannot be measured")
    return round(most / 2, 1)


def write_readme(text: str) -> None:
    old = README.read_text()
    README.write_text(old[: old.index(BEGIN) + len(BEGIN)] + "\n" + text + "\n" + old[old.index(END) :])


def main() -> int:
    options = arguments()
    if options.list:
        print(
            "\n".join(
                [
                    *(f"{one.key}" for one in CONTENDERS),
                    "",
                    *(f"{w.name}: {w.title}" for w in WORKLOADS),
                    *(f"{name}: {title}" for name, title in footprint.TITLES.items()),
                ]
            )
        )
        return 0
    if not options.report:
        if lacks := missing(options.workload or list(BY_NAME)):
            print(lacks, file=sys.stderr)
            return 1
        began = time.monotonic()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # by way of all `with`: servers end with us
        run(options)
        print(f"measured in {time.monotonic() - began:.0f} s", file=sys.stderr)
    text = tables.report(results.read(options.output))
    print(text)
    if options.output == RESULTS:
        write_readme(text)
        pictures.draw_all(results.read(RESULTS), REPOSITORY / "docs" / "images")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The tables of README.md, made of results.json."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from contenders import CONTENDERS
from footprint import TITLES, preloading
from results import faults, median, times, values
from workloads import BY_NAME

if TYPE_CHECKING:
    from contenders import Contender
    from results import Results

THROUGHPUT = {
    "Hello world": ("plain", "headers", "access-log"),
    "Connections": ("pipeline", "idle", "close"),
    "Bodies of requests": ("post-1k", "post-1m"),
    "Bodies of responses": ("body-64k", "body-10m", "stream"),
    "Frameworks": ("fastapi", "flask", "django"),
}


def number(value: float) -> str:
    """Three figures of a number of requests, thousands as k."""
    if value >= 1000:
        return f"{value / 1000:.1f} k" if value < 100_000 else f"{value / 1000:.0f} k"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def report(results: Results) -> str:
    """All tables for which there are results."""
    parts = [_about(results)]
    for title, names in THROUGHPUT.items():
        there = [name for name in names if results["workloads"].get(name)]
        if there:
            parts.append(f"### {title}\n\n" + throughput(results, there))
    parts += _latencies(results)
    parts += _footprint(results)
    parts += _not_measured(results)
    return "\n\n".join(parts)


def _about(results: Results) -> str:
    lines = [f"{results.get('machine', 'unknown machine')}."]
    says = results["versions"].get("asgi shardserve", {}).get("says", "")
    lines += [f"{says}.", ""] if says else [""]
    for name, rounds in results["workloads"].items():
        if rounds:
            dates = sorted({one["date"][:10] for one in rounds})
            commits = " ".join(dict.fromkeys(one["commit"] for one in rounds))
            seconds = "/".join(f"{one:g}" for one in sorted({one["seconds"] for one in rounds}))
            when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
            lasted = f" of {seconds} s" if name in BY_NAME else ""
            lines.append(f"- {title_of(name)}: {len(rounds)} rounds{lasted}, {when}, commit {commits}{_others(rounds)}")
    return "\n".join(lines)


def _others(rounds: list[dict[str, Any]]) -> str:
    """What other processes, and the machine's host, took of the server's CPU meanwhile."""
    shares = [one["others"] for each in rounds for one in each["figures"].values() if "others" in one]
    if not shares:
        return ""
    return (
        f"; others took {100 * statistics.median(shares):.0f} % of the server's CPU, at most {100 * max(shares):.0f} %"
    )


def title_of(name: str) -> str:
    """What a workload, or a part of the footprint, is called."""
    return BY_NAME[name].title if name in BY_NAME else TITLES[name]


def _not_measured(results: Results) -> list[str]:
    """Who could not be had, or had no figure in a round, and why."""
    rows = [f"- {key}: {why}" for key, why in sorted(results["skipped"].items())]
    found: dict[tuple[str, str], list[str]] = {}
    for name, rounds in results["workloads"].items():
        for key in sorted({key for one in rounds for key in one["figures"]}):
            if why := faults(results, name, key)[1]:
                found.setdefault((key, why), []).append(title_of(name))
    rows += [f"- {key}: {why} ({'; '.join(titles)})" for (key, why), titles in found.items()]
    return ["### Not measured, or not in every round\n\n" + "\n".join(rows)] if rows else []


def label(results: Results, one: Contender) -> str:
    """A contender's name, bold where it is ours, with the version of its package."""
    made_of = results["versions"].get(one.key, {})
    package = one.package.removesuffix("-fast")
    name = f"{one.interface.upper()}: {one.name}" if one.interface != "limit" else f"limit: {one.name}"
    name = f"{name} {made_of.get(package, '')}" if one.package != "gcc" and one.interface != "limit" else name
    return f"**{name.strip()}**" if one.name == "shardserve" else name.strip()


def throughput(results: Results, names: list[str]) -> str:
    """Requests per CPU second: the median of the rounds, their spread, and how many times as much shardserve's is."""
    lines = ["| requests per CPU second | " + " | ".join(BY_NAME[name].title for name in names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    notes: dict[str, list[str]] = {}
    for one in CONTENDERS:
        cells = [_cell(results, name, one, notes) for name in names]
        if any(cell not in ("", "failed") for cell in cells):
            lines.append(f"| {label(results, one)} | " + " | ".join(cell or "-" for cell in cells) + " |")
    return (
        "\n".join(lines)
        + ("\n" if notes else "")
        + "".join(f"\n- {why}: {', '.join(titles)}" for why, titles in notes.items())
    )


def _cell(results: Results, workload: str, one: Contender, notes: dict[str, list[str]]) -> str:
    found = values(results, workload, one.key, "per_cpu_second")
    errors, why = faults(results, workload, one.key)
    title = BY_NAME[workload].title
    if errors:
        notes.setdefault(f"{one.key}, requests failed or answered wrongly in all rounds", []).append(
            f"{title}: {errors:,}"
        )
    if not found:
        return "failed" if why else ""
    middle = statistics.median(found)
    text = number(middle) + (f" ({number(min(found))}-{number(max(found))})" if len(found) > 1 else "")
    ours = times(results, workload, f"{one.interface} shardserve", one.key, "per_cpu_second")
    if ours and one.name != "shardserve":
        text += f", **{ours:.2f}x**"
    return text + (" (!)" if errors else "")


def _latencies(results: Results) -> list[str]:
    parts = []
    for name, title in (("rate", "Latency at a fixed rate"), ("plain", "Latency as fast as it goes, 64 connections")):
        if not results["workloads"].get(name):
            continue
        lines = ["| ms | median | 90 % | 99 % (spread) | requests a second |", "|---|---|---|---|---|"]
        for one in CONTENDERS:
            ninety_ninth = values(results, name, one.key, "p99")
            if not ninety_ninth:
                continue
            cells = [f"{median(results, name, one.key, each):.2f}" for each in ("p50", "p90", "p99")]
            if len(ninety_ninth) > 1:
                cells[2] += f" ({min(ninety_ninth):.2f}-{max(ninety_ninth):.2f})"
            cells.append(number(median(results, name, one.key, "per_second") or 0))
            lines.append(f"| {label(results, one)} | " + " | ".join(cells) + " |")
        rate = results.get("rate")
        about = f"\n\nh2load, {rate:,.0f} requests a second in all." if name == "rate" and rate else ""
        parts.append(f"### {title}{about}\n\n" + "\n".join(lines))
    return parts


def _footprint(results: Results) -> list[str]:
    parts = []
    rows = list(CONTENDERS)
    rows += [preloading(one) for one in CONTENDERS if one.preload]
    for app, title in (("hello", "hello world"), ("django", "Django")):
        cells = {one.key: _memory_cells(results, f"memory-{app}", one) for one in rows}
        if any(cells.values()):
            lines = ["| PSS in MB | workers | a worker: idle | after load | all processes: idle | after load |"]
            lines.append("|---|---|---|---|---|---|")
            lines += [f"| {label(results, one)} | {cells[one.key]} |" for one in rows if cells[one.key]]
            parts.append(f"### Memory, {title}\n\n" + "\n".join(lines))
    names = [name for name in ("start-hello", "start-django", "help") if results["workloads"].get(name)]
    if names:
        lines = ["| seconds | " + " | ".join(TITLES[name] for name in names) + " |", "|---|" + "---|" * len(names)]
        for one in CONTENDERS:
            texts = [_start_cell(results, name, one) for name in names]
            if any(texts):
                lines.append(f"| {label(results, one)} | " + " | ".join(text or "-" for text in texts) + " |")
        parts.append("### Start, one worker, from the command to the first answer\n\n" + "\n".join(lines))
    return parts


def _memory_cells(results: Results, name: str, one: Contender) -> str:
    workers = median(results, name, one.key, "workers")
    if workers is None:
        return ""
    kinds = ("idle", "loaded", "idle_total", "loaded_total")
    return " | ".join(
        [f"{workers:.0f}", *(f"{(median(results, name, one.key, kind) or 0) / 1e6:.1f}" for kind in kinds)]
    )


def _start_cell(results: Results, name: str, one: Contender) -> str:
    seconds, cpu = (median(results, name, one.key, kind) for kind in ("seconds", "cpu"))
    if cpu is None:
        return ""
    return f"{cpu:.2f}" if seconds is None else f"{seconds:.2f} ({cpu:.2f} of CPU)"

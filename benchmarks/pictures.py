"""Bars as SVG, of what results.json has: plain text, shown by any browser and by GitHub."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from contenders import CONTENDERS
from results import median
from tables import number
from workloads import BY_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from contenders import Contender
    from results import Results

OURS, OTHERS = ("#0b6e4f", "#5fb58f"), ("#5b6b7b", "#aab6c2")  # the first and the second bar of each
WIDTH, LEFT, BAR, GAP, TOP = 860, 210, 15, 11, 62  # pixels
PICTURES = {
    "bench-asgi.svg": ("ASGI", "asgi", ("plain", "headers")),
    "bench-wsgi.svg": ("WSGI", "wsgi", ("plain", "headers")),
    "bench-frameworks-asgi.svg": ("ASGI, frameworks", "asgi", ("fastapi", "django")),
    "bench-frameworks-wsgi.svg": ("WSGI, frameworks", "wsgi", ("flask", "django")),
}


def draw_all(results: Results, folder: Path) -> None:
    """Write the pictures for which there are results."""
    for name, (title, interface, workloads) in PICTURES.items():
        svg = bars(results, title, interface, workloads)
        if svg:
            (folder / name).write_text(svg)


def bars(results: Results, title: str, interface: str, workloads: tuple[str, ...]) -> str:
    """A group of bars for each server, one bar for each workload, the fastest server first."""
    rows: list[tuple[Contender, list[float]]] = []
    for one in CONTENDERS:
        if one.interface == interface and not one.variant:
            found = [median(results, name, one.key, "per_cpu_second") or 0 for name in workloads]
            if any(found):
                rows.append((one, found))
    if not rows:
        return ""
    rows.sort(key=lambda row: -row[1][0])
    most = max(max(found) for _, found in rows)
    height = TOP + len(rows) * (len(workloads) * BAR + GAP) + 12
    upper, lower = (escape(BY_NAME[name].title) for name in workloads)
    legend = f"upper bar: {upper}, lower bar: {lower}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"',
        ' font-family="sans-serif" font-size="13" role="img">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="16" y="26" font-size="17" font-weight="bold">{escape(title)}: requests per CPU second</text>',
        f'<text x="16" y="46" fill="#444">one worker; medians; {legend}</text>',
    ]
    y = TOP
    for one, found in rows:
        ours = one.name.startswith("shardserve")
        colours, weight = (OURS, "bold") if ours else (OTHERS, "normal")
        middle = y + len(found) * BAR / 2 + 4.5
        lines.append(
            f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end" font-weight="{weight}">{escape(one.name)}</text>'
        )
        for value, colour in zip(found, colours, strict=False):
            width = (WIDTH - LEFT - 70) * value / most
            lines.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>')
            text = number(value) if value else "failed"
            lines.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + 11}" font-size="12">{text}</text>')
            y += BAR
        y += GAP
    return "\n".join([*lines, "</svg>"]) + "\n"

"""docs/settings.md says what the table of options says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shardserve.config.reference import render
from shardserve.config.settings import OPTIONS

if TYPE_CHECKING:
    from shardserve.config.option import Option

PAGE = Path(__file__).parents[2] / "docs/settings.md"


def test_the_page_is_in_step() -> None:
    assert PAGE.read_text() == render(), "run: python -m shardserve.config.reference > docs/settings.md"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_told_in_full(option: Option) -> None:
    row = next(line for line in render().splitlines() if line.startswith(f"| `{option.name}`"))
    told = row.replace("\\|", "|")
    for part in (*option.flags, option.variable, option.names.env, option.kind.show(option.default), option.what):
        assert part in told


def test_every_row_has_as_many_cells_as_the_heading() -> None:
    rows = [line.replace("\\|", "") for line in render().splitlines() if line.startswith("| `")]
    assert len(rows) == len(OPTIONS)
    assert {row.count("|") for row in rows} == {5}


def test_the_module_prints_the_page() -> None:
    command = [sys.executable, "-m", "shardserve.config.reference"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PAGE.parents[1])
    assert printed.stdout == render()

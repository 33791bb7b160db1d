"""docs/settings.md, made from the options: nothing about a single option may be written here.

`python -m shardserve.config.reference > docs/settings.md` brings the page up to date; a test keeps it so.
"""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING

from shardserve.config.settings import OPTIONS

if TYPE_CHECKING:
    from shardserve.config.option import Option

HEAD = """\
# Settings

<!-- Made by `python -m shardserve.config.reference > docs/settings.md`; edit shardserve/config/settings.py instead. -->

Every setting has one name and can be given in four ways. Where several give it, the strongest wins:

| Strength | Source | Example |
| --- | --- | --- |
| 1, weakest | the default | |
| 2 | variables that platforms set | `WEB_CONCURRENCY=4` |
| 3 | the configuration file | `workers = 4` |
| 4 | `SHARDSERVE_*` variables | `SHARDSERVE_WORKERS=4` |
| 5, strongest | the command line | `--workers 4` |

`shardserve --print-config` shows each value and its source; `shardserve --check-config APP` validates all of them and
imports the application.

The configuration file is TOML: the one that `-c` names, else the one in `SHARDSERVE_CONFIG`, else `shardserve.toml`,
else `pyproject.toml` if it has a table `[tool.shardserve]`, both in the current directory. Its keys are the names
below, at the top level or in that table; `-` and `_` mean the same in them. Unknown keys and unknown `SHARDSERVE_*`
variables are errors.

- A list is a TOML list or a text with commas; on the command line its flag may also be repeated.
- A length of time is a number of seconds, or a text with a unit: `"500ms"`, `"30s"`, `"2m"`, `"1h"`.
- A switch is `true` or `false` in a file (variables also take `1`, `0`, `yes`, `no`, `on`, `off`), and `--name` or
  `--no-name` on the command line.
- An empty text takes back an optional value that a weaker source gave.
"""

COLUMNS = "| Name, default | Command line | Variable | What |\n| --- | --- | --- | --- |\n"


def render() -> str:
    """The whole page, as Markdown."""
    sections = (
        f"\n## {group}\n\n{COLUMNS}{''.join(map(_row, options))}"
        for group, options in groupby(OPTIONS, key=lambda option: option.group)
    )
    return HEAD + "".join(sections)


def _row(option: Option) -> str:
    names = option.names
    flags = "<br>".join(_code(flag) for flag in option.flags)
    variables = "<br>".join(_code(variable) for variable in (option.variable, names.env) if variable)
    values = f" `{_cell(option.kind.metavar)}`" if option.kind.metavar not in ("", option.flag) else ""
    default = _code(option.kind.show(option.default))
    what = _cell(option.what) + _elsewhere(option)
    return f"| {_code(option.name)}<br>{default} | {flags}{values} | {variables} | {what} |\n"


def _elsewhere(option: Option) -> str:
    """What other servers call it, for those who come from them."""
    servers = (("gunicorn", option.names.gunicorn), ("uvicorn", option.names.uvicorn))
    known = "; ".join(f"{server}: {', '.join(map(_code, names))}" for server, names in servers if names)
    return f" ({known})" if known else ""


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render())

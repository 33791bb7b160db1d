"""Where values come from, and which wins: the one place that reads the environment and the configuration file.

Weakest first: defaults, the variables platforms set (PORT, WEB_CONCURRENCY, FORWARDED_ALLOW_IPS), the file,
SHARDSERVE_* variables, the command line. Every source yields `Given` values, later ones replace earlier ones, and only
the winners are parsed. What an option is, and what its values mean, is said in `settings` and `kinds`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from shardserve import build
from shardserve.config.elsewhere import advice_for_key
from shardserve.config.settings import OPTIONS, Config
from shardserve.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from shardserve.config.option import Option

PREFIX = "SHARDSERVE_"
FILE_VARIABLE = "SHARDSERVE_CONFIG"
_NO_SETTINGS = (FILE_VARIABLE, build.PURE, build.REQUIRE)
COMMAND_LINE = "command line"
DEFAULT = "default"

_BY_NAME = {option.name: option for option in OPTIONS}
# Names of gunicorn and uvicorn are no keys here, but whoever uses one should be told ours.
_FOREIGN = {
    name: option
    for option in OPTIONS
    for name in (
        *(alias.removeprefix("--").replace("-", "_") for alias in option.names.aliases),
        *option.names.gunicorn,
        *option.names.uvicorn,
    )
}
# Kubernetes describes every service to every pod in such variables, also a service called shardserve-something.
_SERVICE_LINK = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration, and for each of its options where the value came from."""

    config: Config
    origins: dict[str, str]


@dataclass(frozen=True, slots=True)
class Given:
    """A value as some source has it, not yet parsed."""

    option: Option
    raw: object
    origin: str


def resolve(
    cli: Mapping[str, object], *, environ: Mapping[str, str], config_file: str | None, directory: Path
) -> Resolved:
    """The configuration that all sources together make.

    `cli` maps option names to text or switches, None where the command line has none. `config_file` is the file the
    command line names; without it SHARDSERVE_CONFIG, then ./shardserve.toml, then ./pyproject.toml are looked for, all
    relative to `directory`. Reads that file and has no other effect, so it can be called again at any time.
    Raises ConfigError for unknown names, values that cannot be, and files that cannot be read.
    """
    winners: dict[str, Given] = {}
    sources = chain(
        _platform(environ),
        _file(config_file, environ, directory),
        _variables(environ),
        (Given(_BY_NAME[name], raw, COMMAND_LINE) for name, raw in cli.items() if raw is not None),
    )
    for given in sources:
        winners[given.option.name] = given
    values = {name: _value(given) for name, given in winners.items()}
    origins = {name: winners[name].origin if name in winners else DEFAULT for name in _BY_NAME}
    return Resolved(_config(values), origins)


def from_options(options: Mapping[str, object]) -> Config:
    """The configuration of `shardserve.run(app, **options)`: values of Python or text over the defaults.

    Reads neither the environment nor a file. Raises ConfigError for unknown names and values that cannot be.
    """
    values: dict[str, object] = {}
    for name, raw in options.items():
        option = _BY_NAME.get(name)
        if option is None:
            raise ConfigError(f"run(): there is no option {name!r}; {_nearest(name, lambda near: near.name)}")
        if raw is None and option.default is None:
            continue
        try:
            values[name] = option.kind.parse(raw)
        except ValueError as error:
            raise ConfigError(f"run(): {name}: {error}") from None
    return _config(values)


def _config(values: Mapping[str, Any]) -> Config:
    return Config(**values)


def _value(given: Given) -> object:
    option = given.option
    try:
        return option.kind.parse(_address(str(given.raw)) if given.origin == "PORT" else given.raw)
    except ValueError as error:
        the = "the " if given.origin == COMMAND_LINE else ""
        raise ConfigError(f"{option.flag}: {error} (from {the}{given.origin})") from None


def _address(port: str) -> str:
    """The address PORT=N means: platforms that set it route to the container's outer address."""
    if not re.fullmatch(r"\s*\d{1,5}\s*", port, re.ASCII) or int(port) > 65535:
        raise ValueError(f"{port!r} is not a port number")
    return f"0.0.0.0:{int(port)}"


def _platform(environ: Mapping[str, str]) -> Iterator[Given]:
    for option in OPTIONS:
        raw = environ.get(option.names.env) if option.names.env else None
        # A platform's template often leaves PORT= empty, which means nothing; an empty list of trusted peers does.
        if raw or (raw == "" and option.name == "forwarded_allow_ips"):
            yield Given(option, raw, option.names.env)


def _variables(environ: Mapping[str, str]) -> Iterator[Given]:
    by_variable = {option.variable: option for option in OPTIONS}
    for variable, raw in environ.items():
        if variable in by_variable:
            yield Given(by_variable[variable], raw, variable)
        elif variable.startswith(PREFIX) and variable not in _NO_SETTINGS and not _service_link(variable, raw):
            near = _nearest(variable.removeprefix(PREFIX), lambda near: near.variable)
            raise ConfigError(f"{variable}: there is no such setting; {near}")


def _service_link(variable: str, raw: str) -> bool:
    name = variable.removeprefix(PREFIX)
    return bool(_SERVICE_LINK.fullmatch(name)) or (name.endswith("PORT") and bool(_SERVICE_URL.match(raw)))


def _file(config_file: str | None, environ: Mapping[str, str], directory: Path) -> Iterator[Given]:
    found = _table(config_file, environ, directory)
    if found is None:
        return
    origin, table = found
    seen: dict[str, str] = {}
    for key, raw in table.items():
        name = key.replace("-", "_")
        if name not in _BY_NAME:
            advice = advice_for_key(name) or _nearest(name, lambda near: near.name)
            raise ConfigError(f"{origin}: there is no setting {key!r}; {advice}")
        if name in seen:
            raise ConfigError(f"{origin}: {seen[name]!r} and {key!r} are the same setting; keep one")
        seen[name] = key
        yield Given(_BY_NAME[name], raw, origin)


def _table(
    config_file: str | None, environ: Mapping[str, str], directory: Path
) -> tuple[str, Mapping[str, object]] | None:
    """The name of the configuration file and its settings, None if there is no file."""
    named = config_file or environ.get(FILE_VARIABLE)
    if named:
        table = _settings(directory / named, named)
        if table is None:
            raise ConfigError(f"{named}: has no [tool.shardserve] table; add one, or name another file")
        return named, table
    for name in ("shardserve.toml", "pyproject.toml"):
        if (directory / name).is_file():
            table = _settings(directory / name, name)
            if table is not None:
                return name, table
    return None


def _settings(path: Path, named: str) -> Mapping[str, object] | None:
    """The settings in the file at `path`; None if it is a pyproject.toml that has none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{named}: cannot be read: {error.strerror}; check the path given to --config") from None
    import tomllib

    try:
        content = tomllib.loads(data.decode())
    except tomllib.TOMLDecodeError as error:  # its text ends in "(at line 3, column 7)"
        hint = "; a configuration is TOML, not Python (docs/deploying.md)" if path.suffix == ".py" else ""
        raise ConfigError(f"{named}: is not valid TOML: {error}{hint}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{named}: is not valid TOML: a byte that is not UTF-8 (at line {line})") from None
    if path.name != "pyproject.toml":
        return content
    tool = content.get("tool")
    table = tool.get("shardserve") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise ConfigError(f"{named}: tool.shardserve is not a table; write [tool.shardserve]")
    return table


def _nearest(name: str, spell: Callable[[Option], str]) -> str:
    """Advice for somebody who used `name`: the option most likely meant, spelt as the source at hand spells it."""
    import difflib

    known = _BY_NAME | _FOREIGN
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, 1)
    return f"did you mean {spell(known[near[0]])}?" if near else "`shardserve --help` lists all"

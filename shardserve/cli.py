"""The `shardserve` command: from arguments to a configuration, then to whoever runs it.

The flags follow from `config.settings.OPTIONS`; only what is no setting (--config, --version, uvicorn's spellings of
--bind and so on) is written here. Values stay text until `config.sources` parses them, so that their origin is known.
Nothing that serves may be imported at the top: `shardserve --help` is to be fast.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from shardserve.config.elsewhere import ELSEWHERE
from shardserve.config.kinds import Switch, TextList
from shardserve.config.settings import OPTIONS, SOCKETS, Config
from shardserve.config.sources import Resolved, resolve
from shardserve.errors import EXIT_CONFIG, EXIT_OK, AppError, ConfigError, ShardserveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shardserve.config.option import Option

EXIT_INTERRUPTED = 130  # a shell's code for Ctrl-C; only before there is a server to stop
COMMAND = "Command"

LIBRARIES = ("uvloop", "httptools", "h11")


def main(argv: list[str] | None = None) -> int:
    """Run the command with `argv` (sys.argv[1:] if None) and return its exit code (see `shardserve.errors`)."""
    try:
        return int(command().main(argv, prog_name="shardserve", standalone_mode=False))
    except click.NoSuchOption as error:
        _show_unknown(error)
        return EXIT_CONFIG
    except click.ClickException as error:
        error.show()
        return EXIT_CONFIG
    except click.Abort:
        return EXIT_INTERRUPTED
    except ShardserveError as error:
        if isinstance(error, AppError) and error.trace:
            click.echo(error.trace.rstrip("\n"), err=True)
        click.echo(f"Error: {error}", err=True)
        return error.exit_code


def _show_unknown(error: click.NoSuchOption) -> None:
    advice = ELSEWHERE.get(error.option_name)
    if advice is None:
        error.show()
    else:
        click.echo(f"Error: {error.option_name} is an option of other servers: {advice}.", err=True)


def command() -> click.Command:
    """The click command, with every option of the settings table."""
    parameters = [_parameter(option) for option in OPTIONS]
    return _GroupedCommand(
        "shardserve",
        params=[*parameters, *_bind_spellings(), *_command_flags()],
        callback=_run,
        help="Serve the WSGI or ASGI application APP (module:attr), one SO_REUSEPORT listener per worker.",
        epilog="Each setting can also be given as SHARDSERVE_NAME or in shardserve.toml.",
    )


class _GroupedOption(click.Option):
    """A flag that knows under which heading of the help text it stands."""

    def __init__(self, declarations: list[str], *, group: str, **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        self.group = group


class _GroupedCommand(click.Command):
    """A command whose help text has a section for each group of options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group, those of the command itself last."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        groups = [getattr(option, "group", COMMAND) for option in options]  # click's own --help has no group
        order = list(dict.fromkeys(groups))
        ranked = sorted(zip(groups, options, strict=True), key=lambda pair: order.index(pair[0]))
        for group, pairs in groupby(ranked, key=lambda pair: pair[0]):
            records = [record for _, option in pairs if (record := option.get_help_record(ctx)) is not None]
            with formatter.section(group):
                formatter.write_dl(records)


def _parameter(option: Option) -> click.Parameter:
    if option.name == "app":
        return click.Argument([option.name], required=False, metavar="APP")
    shown = option.kind.show(option.default)
    attributes: dict[str, Any] = {"group": option.group, "help": f"{option.what}  [default: {shown}]", "default": None}
    if isinstance(option.kind, Switch):
        pairs = [f"{flag}/--no-{flag[2:]}" if flag.startswith("--") else flag for flag in option.flags]
        return _GroupedOption([*pairs, option.name], **attributes)
    repeatable = isinstance(option.kind, TextList)
    return _GroupedOption(
        [*option.flags, option.name], metavar=option.kind.metavar, type=str, multiple=repeatable, **attributes
    )


def _bind_spellings() -> Iterator[click.Parameter]:
    text = "uvicorn's spelling of --bind"
    flag = partial(_GroupedOption, group=SOCKETS, default=None)
    yield flag(["--host"], metavar="HOST", help=f"{text}: the host; the port is 8000 unless --port says otherwise.")
    yield flag(["--port"], type=click.IntRange(0, 65535), metavar="PORT", help=f"{text}: the port, on 127.0.0.1.")
    yield flag(["--uds"], metavar="PATH", help=f"{text} unix:PATH.")
    yield flag(["--fd"], type=click.IntRange(0), metavar="N", help=f"{text} fd://N.")


def _command_flags() -> Iterator[click.Parameter]:
    flag = partial(_GroupedOption, group=COMMAND)
    yield flag(["-c", "--config", "config_file"], metavar="PATH", default=None, help="Configuration file, TOML.")
    yield flag(["--check-config"], is_flag=True, help="Validate the settings, import the application, and exit.")
    yield flag(["--print-config"], is_flag=True, help="Print each setting with its source, and exit.")
    yield flag(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Print the versions of shardserve and what it runs on, and exit.",
    )


def _run(*, config_file: str | None, check_config: bool, print_config: bool, **given: Any) -> int:
    """Do what the parsed command line asks for, and return the exit code."""
    spelled = _bind_from_spellings(**{name: given.pop(name) for name in ("host", "port", "uds", "fd")})
    # Several texts of one flag become one, which the kind splits again: lists have one way in.
    # One empty text is a value (trust nobody), no text at all is none.
    texts = {name: _joined(value) if isinstance(value, tuple) else value for name, value in given.items()}
    if spelled is not None:
        if texts["bind"] is not None:
            raise click.UsageError("--host, --port, --uds and --fd are other spellings of --bind; use only --bind.")
        texts["bind"] = [spelled]  # a list: the path of --uds may hold a comma
    # A reload must find the files that the start found, wherever --chdir has led since.
    read = partial(resolve, texts, environ=dict(os.environ), config_file=config_file, directory=_here())
    resolved = read()
    if print_config:
        click.echo(_table(resolved))
        return EXIT_OK
    if resolved.config.app is None:
        raise ConfigError(
            "no application; name it, as in `shardserve myapp:app`, or set app in a file or SHARDSERVE_APP"
        )
    return _check(resolved.config) if check_config else _serve(resolved.config, lambda: read().config)


def _joined(texts: tuple[str, ...]) -> str | None:
    return ",".join(texts) if texts else None


def _here() -> Path:
    from pathlib import Path

    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the current directory has been deleted; change to one that exists") from None


def _bind_from_spellings(host: str | None, port: int | None, uds: str | None, fd: int | None) -> str | None:
    """The --bind that uvicorn's flags mean, None without any."""
    if sum((host is not None or port is not None, uds is not None, fd is not None)) > 1:
        raise click.UsageError("--host with --port, --uds and --fd exclude each other; use --bind for each address.")
    if uds is not None:
        return f"unix:{uds}"
    if fd is not None:
        return f"fd://{fd}"
    if host is None and port is None:
        return None
    host = "127.0.0.1" if host is None else host
    return f"{f'[{host}]' if ':' in host else host}:{8000 if port is None else port}"


def _table(resolved: Resolved) -> str:
    """Name, value and source of each setting, in columns."""
    rows = [
        (option.name, option.kind.show(getattr(resolved.config, option.name)), resolved.origins[option.name])
        for option in OPTIONS
    ]
    name_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{name:<{name_width}}  {value:<{value_width}}  {origin}" for name, value, origin in rows)


def _check(config: Config) -> int:
    """Validate the addresses, and import the application as a worker would: load() enters --chdir first."""
    from shardserve.gateway.loader import load
    from shardserve.net.address import parse_address

    for address in config.bind:
        parse_address(address)
    app = load(config)
    click.echo(f"configuration and application OK ({app.interface}: {app.name})")
    return EXIT_OK


def _serve(config: Config, reread: Callable[[], Config]) -> int:
    from shardserve.supervisor.serve import serve

    return serve(config, reread)


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    import platform

    from shardserve import __version__
    from shardserve.build import describe
    from shardserve.config.versions import installed_version

    running_on = [f"{platform.python_implementation()} {platform.python_version()}"]
    for library in LIBRARIES:
        found = installed_version(library)
        running_on.append(f"{library} {found}" if found else f"no {library}")
    click.echo(f"shardserve {__version__} ({describe()}; {', '.join(running_on)})")
    ctx.exit()

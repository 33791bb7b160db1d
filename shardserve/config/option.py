"""What one option is: its name, default, kind, description and spellings. The options themselves are in `settings`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from shardserve.config.kinds import Kind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Names:
    """What an option is called besides `--its-name`, `its_name` and SHARDSERVE_ITS_NAME."""

    short: str = ""  # "-w"
    aliases: tuple[str, ...] = ()  # further long flags: spellings of gunicorn and uvicorn
    env: str = ""  # a variable platforms set, weaker than the configuration file
    gunicorn: tuple[str, ...] = ()  # gunicorn's setting names, where they are not ours
    uvicorn: tuple[str, ...] = ()  # uvicorn's option names, where they are not ours


@dataclass(frozen=True, slots=True)
class Option:
    """One line of the table: all there is to know about an option."""

    name: str
    default: Any
    what: str
    kind: Kind[Any]
    group: str
    names: Names

    @property
    def flag(self) -> str:
        """The primary spelling on the command line; the application is an argument, not a flag."""
        return "APP" if self.name == "app" else "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """All spellings on the command line, the short one first."""
        return tuple(flag for flag in (self.names.short, self.flag, *self.names.aliases) if flag)

    @property
    def variable(self) -> str:
        """The environment variable of our own."""
        return f"SHARDSERVE_{self.name.upper()}"


_NO_NAMES = Names()


def option(default: T, what: str, *, kind: Kind[T], group: str, names: Names = _NO_NAMES) -> T:
    """A field of `Config`. `what` is one sentence or two, with units; `kind` reads its values."""
    metadata = {"what": what, "kind": kind, "group": group, "names": names}
    return field(default=default, metadata=metadata)

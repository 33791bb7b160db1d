"""The kinds of value an option may have: how each is read from text, TOML or Python, and how it is shown.

A kind knows nothing of options, sources or other kinds' values: `parse` gets one raw value and either returns the
value or raises ValueError with a reason that makes sense after "--name: ". Checks over several options live in
`settings.Config`.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

NOTHING = "none"  # how an option without a value is shown

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_DURATION = re.compile(r"(-?\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h)?", re.ASCII)
_SIZE = re.compile(r"(\d+)\s*([KMG])i?B?", re.ASCII | re.IGNORECASE)
_BYTES_IN = {"K": 1024, "M": 1024**2, "G": 1024**3}
_SECONDS_IN = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Kind(ABC, Generic[T]):
    """One kind of value. `metavar` stands for it in the help text.

    Plain classes, since every command pays for their making: as dataclasses they took 8 ms.
    """

    metavar = ""

    def __init__(self, metavar: str = "") -> None:
        """`metavar` only where it is not the kind's own."""
        if metavar:
            self.metavar = metavar

    @abstractmethod
    def parse(self, raw: object) -> T:
        """The value meant by `raw`: text, or a value of TOML or Python. Raises ValueError with a plain reason."""

    def show(self, value: T) -> str:
        """`value` as it is printed by --print-config and in the reference."""
        return NOTHING if value is None else str(value)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{raw!r} is not text")
    if "\0" in raw:
        raise ValueError("a NUL character cannot be part of a value")
    return raw


def _whole(raw: object) -> int | None:
    """The whole number in `raw`, None if it is none. A bool is an int to Python, but never meant as one here."""
    if isinstance(raw, str):
        return int(raw) if re.fullmatch(r"\s*[+-]?\d+\s*", raw, re.ASCII) else None
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else None


class Text(Kind[str]):
    """Any text, also an empty one."""

    metavar = "TEXT"

    def parse(self, raw: object) -> str:
        """The text itself."""
        return _text(raw)

    def show(self, value: str) -> str:
        """The text; quotes where nothing would be seen."""
        return value or '""'


class OptionalText(Kind[str | None]):
    """Text such as a path; an empty text means no value, so that a later source can take an earlier one back."""

    metavar = "PATH"

    def parse(self, raw: object) -> str | None:
        """The text, None if it is empty."""
        return _text(raw) or None


class Account(OptionalText):
    """A user or group: a name, or a number kept as text. Whether it exists is known where it is used."""

    def parse(self, raw: object) -> str | None:
        """The name or number as text."""
        number = _whole(raw)
        if number is not None and number < 0:
            raise ValueError(f"{raw!r} is below 0")
        return str(number) if number is not None else super().parse(raw)


class RootPath(Text):
    """The URL path an application is mounted under: empty, or beginning with "/" and not ending with one."""

    def parse(self, raw: object) -> str:
        """The path without a trailing slash."""
        path = _text(raw)
        if path and not path.startswith("/"):
            raise ValueError(f'{path!r} does not begin with "/"')
        return path.rstrip("/")


class Whole(Kind[int]):
    """A whole number not below `minimum`."""

    metavar = "N"

    def __init__(self, minimum: int = 0) -> None:
        super().__init__()
        self.minimum = minimum

    def parse(self, raw: object) -> int:
        """The number."""
        number = _whole(raw)
        if number is None:
            raise ValueError(f"{raw!r} is not a whole number")
        if number < self.minimum:
            raise ValueError(f"{number} is below {self.minimum}")
        return number


class Size(Kind[int]):
    """A number of bytes, not negative; text may end in K, M or G (powers of 1024)."""

    metavar = "BYTES"

    def parse(self, raw: object) -> int:
        """The number of bytes."""
        number = _whole(raw)
        if number is None and isinstance(raw, str) and (match := _SIZE.fullmatch(raw.strip())):
            number = int(match[1]) * _BYTES_IN[match[2].upper()]
        if number is None:
            raise ValueError(f"{raw!r} is not a size such as 1000000, 512M or 2G")
        if number < 0:
            raise ValueError(f"{raw!r} is below 0")
        return number


class Workers(Kind["int | Literal['auto']"]):
    """A number of processes, or "auto"."""

    metavar = "N|auto"

    def parse(self, raw: object) -> int | Literal["auto"]:
        """The number, or "auto"."""
        if isinstance(raw, str) and raw.strip().lower() == "auto":
            return "auto"
        number = _whole(raw)
        if number is None:
            raise ValueError(f'{raw!r} is neither a whole number nor "auto"')
        if number < 0:
            raise ValueError(f"{number} is below 0")
        return number


class Seconds(Kind[float]):
    """A length of time, not negative, kept in seconds. A bare number is seconds; text may end in ms, s, m or h."""

    metavar = "SECONDS"

    def parse(self, raw: object) -> float:
        """The time in seconds."""
        seconds = math.nan
        if isinstance(raw, str) and (match := _DURATION.fullmatch(raw.strip())):
            seconds = float(match[1]) * _SECONDS_IN[match[2] or "s"]
        elif isinstance(raw, int | float) and not isinstance(raw, bool):
            seconds = float(raw)
        if not math.isfinite(seconds):
            raise ValueError(f"{raw!r} is not a length of time such as 30, 2.5, 30s or 2m")
        if seconds < 0:
            raise ValueError(f"{raw!r} is below 0")
        return seconds

    def show(self, value: float) -> str:
        """Seconds with their unit, readable by `parse`."""
        return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


class Switch(Kind[bool]):
    """On or off."""

    def parse(self, raw: object) -> bool:
        """True or False."""
        word = str(raw).strip().lower()
        if isinstance(raw, str | bool | int):
            if word in _TRUE:
                return True
            if word in _FALSE:
                return False
        raise ValueError(f"{raw!r} is neither true nor false")

    def show(self, value: bool) -> str:
        """As TOML spells it."""
        return "true" if value else "false"


class Choice(Kind[T]):
    """One of a few words, in any case. `synonyms` maps other servers' words to ours."""

    def __init__(self, choices: Sequence[T], synonyms: Mapping[str, T] | None = None) -> None:
        super().__init__("|".join(map(str, choices)))
        self.choices = choices
        self.synonyms = synonyms or {}

    def parse(self, raw: object) -> T:
        """The word chosen."""
        word = raw.strip().lower() if isinstance(raw, str) else raw
        if word in self.choices:
            return cast("T", word)
        if isinstance(word, str) and word in self.synonyms:
            return self.synonyms[word]
        raise ValueError(f"{raw!r} is not one of {', '.join(map(str, self.choices))}")


class TextList(Kind[tuple[str, ...]]):
    """Several texts: one text is split at commas, the items of a list are taken as they are."""

    metavar = "TEXT"

    def parse(self, raw: object) -> tuple[str, ...]:
        """The texts, without blanks around them and without empty ones."""
        if not isinstance(raw, str | list | tuple):
            raise ValueError(f"{raw!r} is neither text nor a list of texts")
        items = raw.split(",") if isinstance(raw, str) else raw
        return tuple(text for item in items if (text := _text(item).strip()))

    def show(self, value: tuple[str, ...]) -> str:
        """The texts with commas between them."""
        return ",".join(value) or NOTHING


class Networks(TextList):
    """IP addresses and CIDR networks, or "*" for all."""

    metavar = "ADDRESSES"

    def parse(self, raw: object) -> tuple[str, ...]:
        """The addresses and networks as text, each known to be valid."""
        import ipaddress

        items = super().parse(raw)
        for item in items:
            if item != "*":
                # Strict: bits set beyond the prefix are a slip of the pen, and in a list of who is trusted it matters.
                ipaddress.ip_network(item)
        return items


class Umask(Kind[int | None]):
    """A file mode mask: octal text, or a number (which TOML and Python write as 0o027)."""

    metavar = "OCTAL"

    def parse(self, raw: object) -> int | None:
        """The mask, None if the text is empty."""
        if raw == "":
            return None
        mask = _whole(raw) if not isinstance(raw, str) else None
        if isinstance(raw, str) and re.fullmatch(r"(0o)?[0-7]+", raw.strip(), re.ASCII):
            mask = int(raw, 8)
        if mask is None or not 0 <= mask <= 0o777:
            raise ValueError(f'{raw!r} is not an octal mask such as "027", from 0 to 777')
        return mask

    def show(self, value: int | None) -> str:
        """Octal, readable by `parse`."""
        return NOTHING if value is None else f"0o{value:03o}"

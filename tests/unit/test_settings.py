"""The table of options and the kinds of value: what is read, what is refused and in which words, what is shown."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import pytest

from shardserve.config.kinds import (
    Account,
    Choice,
    Kind,
    Networks,
    OptionalText,
    RootPath,
    Seconds,
    Switch,
    Text,
    TextList,
    Umask,
    Whole,
    Workers,
)
from shardserve.config.settings import OPTIONS, Config
from shardserve.errors import ConfigError

if TYPE_CHECKING:
    from shardserve.config.option import Option

ON_OFF = Choice[str](("on", "off"), {"yes": "on"})


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Text(), "", ""),
        (OptionalText(), "/run/x.pid", "/run/x.pid"),
        (OptionalText(), "", None),
        (Account(), "www-data", "www-data"),
        (Account(), 33, "33"),
        (Account(), "33", "33"),
        (Account(), "", None),
        (RootPath(), "/api/", "/api"),
        (RootPath(), "/", ""),
        (RootPath(), "", ""),
        (Whole(), "7", 7),
        (Whole(), " 7 ", 7),
        (Whole(), 0, 0),
        (Workers(), "auto", "auto"),
        (Workers(), "AUTO", "auto"),
        (Workers(), "4", 4),
        (Workers(), 0, 0),
        (Seconds(), "30", 30.0),
        (Seconds(), "2.5", 2.5),
        (Seconds(), ".5", 0.5),
        (Seconds(), "30s", 30.0),
        (Seconds(), "2m", 120.0),
        (Seconds(), "1h", 3600.0),
        (Seconds(), "250ms", 0.25),
        (Seconds(), 0, 0.0),
        (Seconds(), 1.5, 1.5),
        (Switch(), True, True),
        (Switch(), "yes", True),
        (Switch(), "On", True),
        (Switch(), "1", True),
        (Switch(), "0", False),
        (Switch(), "off", False),
        (Switch(), 0, False),
        (ON_OFF, "ON", "on"),
        (ON_OFF, "yes", "on"),
        (TextList(), "a, b,,c", ("a", "b", "c")),
        (TextList(), ["a,b", "c"], ("a,b", "c")),
        (TextList(), ("a",), ("a",)),
        (TextList(), "", ()),
        (Networks(), "10.0.0.0/8, ::1,*", ("10.0.0.0/8", "::1", "*")),
        (Umask(), "027", 0o27),
        (Umask(), "0o027", 0o27),
        (Umask(), 0o27, 0o27),
        (Umask(), "0", 0),
        (Umask(), "", None),
    ],
)
def test_reads(kind: Kind[object], raw: object, value: object) -> None:
    assert kind.parse(raw) == value
    assert type(kind.parse(raw)) is type(value)


@pytest.mark.parametrize(
    ("kind", "raw", "reason"),
    [
        (Text(), 3, "3 is not text"),
        (Text(), "a\0b", "a NUL character cannot be part of a value"),
        (Account(), -1, "-1 is below 0"),
        (RootPath(), "api", "'api' does not begin with \"/\""),
        (Whole(), "x", "'x' is not a whole number"),
        (Whole(), "1.5", "'1.5' is not a whole number"),
        (Whole(), "1_000", "'1_000' is not a whole number"),
        (Whole(), "", "'' is not a whole number"),
        (Whole(), True, "True is not a whole number"),
        (Whole(), 4.0, "4.0 is not a whole number"),
        (Whole(1), "0", "0 is below 1"),
        (Workers(), "x", "'x' is neither a whole number nor \"auto\""),
        (Workers(), -1, "-1 is below 0"),
        (Seconds(), "soon", "'soon' is not a length of time such as 30, 2.5, 30s or 2m"),
        (Seconds(), "inf", "'inf' is not a length of time such as 30, 2.5, 30s or 2m"),
        (Seconds(), float("nan"), "nan is not a length of time such as 30, 2.5, 30s or 2m"),
        (Seconds(), True, "True is not a length of time such as 30, 2.5, 30s or 2m"),
        (Seconds(), "-1", "'-1' is below 0"),
        (Seconds(), -1, "-1 is below 0"),
        (Switch(), "perhaps", "'perhaps' is neither true nor false"),
        (Switch(), 2, "2 is neither true nor false"),
        (Switch(), None, "None is neither true nor false"),
        (ON_OFF, "maybe", "'maybe' is not one of on, off"),
        (ON_OFF, True, "True is not one of on, off"),
        (TextList(), 3, "3 is neither text nor a list of texts"),
        (TextList(), ["a", 3], "3 is not text"),
        (Networks(), "10.0.0.1/8", "10.0.0.1/8 has host bits set"),
        (Networks(), "proxy", "'proxy' does not appear to be an IPv4 or IPv6 network"),
        (Umask(), "088", "'088' is not an octal mask such as \"027\", from 0 to 777"),
        (Umask(), 0o1000, '512 is not an octal mask such as "027", from 0 to 777'),
        (Umask(), True, 'True is not an octal mask such as "027", from 0 to 777'),
    ],
)
def test_refuses(kind: Kind[object], raw: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        kind.parse(raw)


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (Text(), "", '""'),
        (OptionalText(), None, "none"),
        (Whole(), 3, "3"),
        (Seconds(), 75.0, "75s"),
        (Seconds(), 100.0, "100s"),
        (Seconds(), 0.25, "0.25s"),
        (Seconds(), 0.0, "0s"),
        (Switch(), False, "false"),
        (TextList(), (), "none"),
        (TextList(), ("a", "b"), "a,b"),
        (Umask(), None, "none"),
        (Umask(), 0o27, "0o027"),
    ],
)
def test_shows(kind: Kind[object], value: object, shown: str) -> None:
    assert kind.show(value) == shown


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_the_table_is_consistent(option: Option) -> None:
    if option.default is not None:
        assert option.kind.parse(option.default) == option.default
    if option.kind.show(option.default) not in ("none", '""'):
        assert option.kind.parse(option.kind.show(option.default)) == option.default
    assert option.what.endswith(".")
    assert option.flag == "APP" or option.flag.startswith("--")


def test_no_spelling_means_two_options() -> None:
    for spellings in (
        [flag for option in OPTIONS for flag in option.flags],
        [variable for option in OPTIONS for variable in (option.variable, option.names.env) if variable],
    ):
        assert [spelling for spelling, count in Counter(spellings).items() if count > 1] == []


def test_groups_are_not_interleaved() -> None:
    groups = [option.group for option in OPTIONS]
    assert groups == sorted(groups, key=list(dict.fromkeys(groups)).index)


def test_config_is_complete_by_default_and_frozen() -> None:
    config = Config()
    assert (config.bind, config.workers, config.threads, config.keep_alive) == (("127.0.0.1:8000",), "auto", 1, 75.0)
    with pytest.raises(FrozenInstanceError):
        config.workers = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bind": ()}, "--bind: no address is left"),
        ({"bind": ("[::]:1", "unix:x", "[::]:1")}, r"--bind: \[::\]:1 is given twice"),
        ({"workers": 0, "user": "www"}, "--user: only workers drop to it"),
        ({"workers": 0, "group": "www"}, "--group: only workers drop to it"),
    ],
)
def test_contradictions_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config(**values)

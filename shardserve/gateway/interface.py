"""Telling ASGI from WSGI by looking at an application object, and making ASGI 3 of ASGI 2. Nothing is imported here."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Literal, cast

from shardserve.errors import AppNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

Interface = Literal["asgi", "wsgi"]
Detected = Literal["asgi", "asgi2", "wsgi"]


def as_asgi3(app: Callable[..., Any]) -> Callable[..., Any]:
    """Make a single callable of an ASGI 2 application: one that is called with the scope, its result with the rest."""

    async def single(scope: Any, receive: Any, send: Any) -> None:
        await app(scope)(receive, send)

    return single


def detect_interface(app: object, wanted: str, name: str = "") -> Detected:
    """Say whether `app` is to be called as ASGI 3, ASGI 2 or WSGI; `wanted` is 'auto', or settles it.

    `name` is what messages call the application. Raises AppNotFound when the object is no application, or when it
    does not tell which of the two it is.
    """
    name = name or str(getattr(app, "__qualname__", type(app).__qualname__))
    if not callable(app):
        raise AppNotFound(f"{name!r} is {describe_kind(app)}, which cannot be called")
    target = _without_partials(app)
    if wanted in ("auto", "asgi") and inspect.isclass(target) and _is_asgi2(target, _positionals(app)):
        return "asgi2"
    if wanted in ("asgi", "asgi2", "wsgi"):
        return cast("Detected", wanted)
    if _is_async(target):
        return "asgi"
    count = _positionals(app)
    if inspect.isclass(target):
        _refuse_class_of_apps(target, name)
    elif count is None:
        # A wrapper that takes *args. What it wraps is looked at only now: an adapter made with functools.wraps may
        # show the signature of the other interface.
        if _is_async(inspect.unwrap(cast("Callable[..., object]", target)), unwrap=True):
            return "asgi"
        count = _positionals(app, follow_wrapped=True)
    if count == 3:
        return "asgi"
    if count == 2:
        return "wsgi"
    raise AppNotFound(f"cannot tell whether {name!r} is ASGI or WSGI: {_why_unclear(count)}")


def describe_kind(value: object) -> str:
    """What an object is, for a sentence: "a str", "an int", "None"."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _without_partials(app: object) -> object:
    while isinstance(app, functools.partial):
        app = app.func
    return app


def _is_async(app: object, *, unwrap: bool = False) -> bool:
    """Whether calling `app` makes a coroutine. A class does not count: to call it is to make an instance."""
    if inspect.iscoroutinefunction(app):
        return True
    call = None if inspect.isclass(app) else _call_of(type(app))
    return inspect.iscoroutinefunction(inspect.unwrap(call) if unwrap and callable(call) else call)


def _call_of(cls: type) -> object:
    """The `__call__` that instances of `cls` have, or None; getattr would find the one of the metaclass."""
    return next((vars(base)["__call__"] for base in cls.__mro__ if "__call__" in vars(base)), None)


def _positionals(app: Callable[..., object], *, follow_wrapped: bool = False) -> int | None:
    """How many positional arguments a call needs; None with *args or where there is no signature to read."""
    try:
        parameters = inspect.signature(app, follow_wrapped=follow_wrapped).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _is_asgi2(cls: type, count: int | None) -> bool:
    """Whether instances are made of one argument, and to call one makes a coroutine."""
    return count == 1 and inspect.iscoroutinefunction(_call_of(cls))


def _refuse_class_of_apps(cls: type, name: str) -> None:
    """A class is an application if its instances are the response (iterable or awaitable), not if they are apps."""
    if _call_of(cls) is not None and not hasattr(cls, "__iter__") and not hasattr(cls, "__await__"):
        raise AppNotFound(f"{name!r} is a class whose instances are applications; name an instance, or {name + '()'!r}")


def _why_unclear(count: int | None) -> str:
    way_out = "pass --interface asgi or wsgi"
    if count is None:
        return f"its signature does not say; {way_out}"
    if count == 0:
        return f"it takes no arguments; if it is a factory pass --factory, else {way_out}"
    if count == 1:
        return "it needs 1 argument; if it is ASGI 2 pass --interface asgi2"
    return f"it needs {count} arguments; {way_out}"

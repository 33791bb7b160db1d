"""Turns the APP of the command line into a callable and says whether it speaks ASGI or WSGI.

Rule: whatever the user's code does while it is found, imported or made, leaves this module as an AppError or an
AppNotFound of one line. Only KeyboardInterrupt passes. Nothing here evaluates text as code: arguments are literals.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from shardserve.errors import AppError, AppNotFound, ConfigError
from shardserve.gateway.interface import Interface, as_asgi3, describe_kind, detect_interface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shardserve.config.settings import Config

_ABSENT = object()
_DEFAULT_ATTRIBUTES = ("app", "application")
_LONGEST_CAUSE = 300

_STDLIB = Path(os.__file__).parent
# What can stand between us and the first frame of the application, and tells its author nothing.
_MACHINERY = tuple(
    f"{folder}{os.sep}" for folder in (Path(__file__).parent.parent, _STDLIB / "asyncio", _STDLIB / "concurrent")
)


@dataclass(frozen=True, slots=True)
class LoadedApp:
    """An application ready to be served: the callable, how to call it, and the name it was asked for by."""

    app: Callable[..., Any]
    interface: Interface
    name: str


@dataclass(frozen=True, slots=True)
class _Target:
    """APP taken apart. `attribute` is empty for a bare module; `call` holds the arguments of `factory(...)`."""

    name: str
    module: str
    attribute: tuple[str, ...] = ()
    call: tuple[list[Any], dict[str, Any]] | None = None


def load(config: Config) -> LoadedApp:
    """Import what `config.app` names, call it if it is a factory, and detect its interface.

    Raises ConfigError (no APP, bad --chdir), AppNotFound (nothing there that can be served) or AppError (the
    application raised; its `trace` shows the frames of the application only).
    """
    prepare_path(config)
    if not config.app:
        raise ConfigError("APP: no application was named; name one as module:attr, such as myapp:app")
    target = _parse(config.app)
    app = _attribute(target, _import_module(target, [*_absolute(config.pythonpath), str(Path.cwd())]))
    if target.call is not None or config.factory:
        app = _make(target, app)
    return prepare(app, config.interface, target.name)


def prepare(app: object, wanted: str, name: str) -> LoadedApp:
    """Make an object ready to be served as an application; see detect_interface. Raises AppNotFound."""
    detected = detect_interface(app, wanted, name)
    call = cast("Callable[..., Any]", app)
    return LoadedApp(as_asgi3(call), "asgi", name) if detected == "asgi2" else LoadedApp(call, detected, name)


def prepare_path(config: Config) -> None:
    """Enter `config.chdir`, and make the current directory and then `config.pythonpath` importable, the latter first.

    Entries of `pythonpath` that are relative are taken from the directory entered. Raises ConfigError.
    """
    if config.chdir:
        try:
            os.chdir(config.chdir)
        except OSError as error:
            raise ConfigError(f"--chdir: cannot enter {config.chdir!r}: {error.strerror}") from None
    try:
        current = str(Path.cwd())
    except FileNotFoundError:
        raise ConfigError("--chdir: the current directory has been deleted; name one that exists") from None
    if current not in sys.path:
        sys.path.insert(0, current)
    extra = _absolute(config.pythonpath)
    # In place, since others may hold the list; without duplicates, so that a second call changes nothing.
    sys.path[:] = [*extra, *(entry for entry in sys.path if entry not in extra)]


def user_traceback(error: BaseException) -> str:
    """Format `error` as Python would, without the frames of shardserve and importlib that lead to the application.

    Causes, contexts and grouped exceptions are kept. Where no frame of an application is left (a fault of ours), the
    frames of shardserve stay: they are all there is.
    """
    top = traceback.TracebackException.from_exception(error, compact=True)
    pending: list[traceback.TracebackException | None] = [top]
    while pending:
        part = pending.pop()
        if part is None:
            continue
        shown = [frame for frame in part.stack if not _is_import_frame(frame.filename)]
        theirs = (i for i, frame in enumerate(shown) if not frame.filename.startswith(_MACHINERY))
        part.stack[:] = shown[next(theirs, 0) :]
        pending += [part.__cause__, part.__context__, *(part.exceptions or ())]
    return "".join(top.format())


def _is_import_frame(file: str) -> bool:
    return file in (__file__, importlib.__file__) or file.startswith("<frozen importlib")


# --- reading APP


def _parse(name: str) -> _Target:
    module, colon, rest = (part.strip() for part in name.partition(":"))
    if "/" in module or module.endswith(".py"):
        raise AppNotFound(f"{name!r} names a file; {_module_hint(module, colon + rest)}")
    if not all(module.split(".")) or (colon and not rest):
        raise AppNotFound(f"{name!r} is not the name of an application; use module:attr, such as myapp:app")
    if not colon:
        return _Target(name, module)
    try:
        node = ast.parse(rest, mode="eval").body
    except (SyntaxError, ValueError):
        node = None
    attribute = _dotted(node.func if isinstance(node, ast.Call) else node)
    if not attribute:
        raise AppNotFound(f"{rest!r} in {name!r} is neither an attribute nor a call; use module:attr or module:attr()")
    return _Target(name, module, attribute, _literals(node, name) if isinstance(node, ast.Call) else None)


def _dotted(node: ast.AST | None) -> tuple[str, ...]:
    """The parts of `a.b.c`, or nothing if the expression is anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else ()


def _literals(call: ast.Call, name: str) -> tuple[list[Any], dict[str, Any]]:
    try:
        arguments = [ast.literal_eval(value) for value in call.args]
        # `**mapping` has no name and is no literal either: literal_eval would accept the mapping, so refuse it here.
        if any(keyword.arg is None for keyword in call.keywords):
            raise ValueError
        keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, TypeError):
        raise AppNotFound(f"the arguments in {name!r} must be literals: text, numbers, True, None, lists") from None
    return arguments, keywords


def _module_hint(file: str, rest: str) -> str:
    """What to write in place of the path `file`: the climb ends at the first folder that is not a package."""
    path = Path(file)
    folder, parts = path.parent, [path.name.removesuffix(".py")]
    while folder.name and (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    where = "" if Path.cwd() / folder == Path.cwd() else f" with --pythonpath {folder}"
    return f"use the module name: {'.'.join(parts)}{rest}{where}"


# --- running the user's code


@contextlib.contextmanager
def _user_code(name: str, when: str) -> Iterator[None]:
    """Turn whatever the application raises in the block, SystemExit included, into an AppError."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        cause = _one_line(error)
        message = f"application {name!r} raised {type(error).__name__} {when}" + (f": {cause}" if cause else "")
        raise AppError(message, user_traceback(error)) from error


def _one_line(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # the application's own __str__, which must not hide that it raised
        text = "(its text cannot be shown)"
    if isinstance(error, SyntaxError) and error.filename:
        text = f"{error.msg} ({error.filename}, line {error.lineno})"  # str() leaves out the folder
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_CAUSE else f"{text[: _LONGEST_CAUSE - 3]}..."


def _import_module(target: _Target, searched: list[str]) -> ModuleType:
    importlib.invalidate_caches()  # a reload may come sooner than a folder's time stamp shows a new file
    with _user_code(target.name, "while it was imported"):
        try:
            return importlib.import_module(target.module)
        except ModuleNotFoundError as error:
            named = error.name and f"{target.module}.".startswith(f"{error.name}.")
            # Raised by the import system itself, not by an import statement the application has run?
            files = (frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))
            if not named or not all(map(_is_import_frame, files)):
                raise
            missing = str(error.name)
    raise AppNotFound(_missing_module(missing, searched, target))


def _attribute(target: _Target, module: ModuleType) -> object:
    """The object APP names; for a bare module the first of the attributes it may go by."""
    owner: object = module
    found: object = module
    done: list[str] = []
    with _user_code(target.name, "while it was imported"):  # a module's __getattr__ may import
        if not target.attribute:
            found = next((getattr(module, name) for name in _DEFAULT_ATTRIBUTES if hasattr(module, name)), _ABSENT)
        for name in target.attribute:
            owner, found = found, getattr(found, name, _ABSENT)
            if found is _ABSENT:
                break
            done.append(name)
    if found is _ABSENT:
        label = repr(f"{target.module}:{'.'.join(done)}") if done else f"module {target.module!r}"
        wanted = target.attribute[len(done) :][:1] or _DEFAULT_ATTRIBUTES
        raise AppNotFound(_missing_attribute(label, owner, wanted))
    if not callable(found):
        hint = f"; did you mean {found.__name__!r}?" if isinstance(found, ModuleType) else ""
        raise AppNotFound(f"{target.name!r} is {describe_kind(found)}, which cannot be called{hint}")
    return found


def _make(target: _Target, factory: object) -> object:
    arguments, keywords = target.call or ([], {})
    with _user_code(target.name, "in its factory"):
        app = cast("Callable[..., object]", factory)(*arguments, **keywords)
    if inspect.iscoroutine(app):
        app.close()  # else Python warns that it was never awaited
    if inspect.iscoroutine(app) or (inspect.isawaitable(app) and not callable(app)):
        raise AppNotFound(f"factory {target.name!r} is asynchronous; async factories are not supported")
    if not callable(app):
        raise AppNotFound(f"factory {target.name!r} returned {describe_kind(app)}, which cannot be called")
    return app


# --- saying what is not there


def _missing_module(missing: str, searched: list[str], target: _Target) -> str:
    parent_name, _, tail = missing.rpartition(".")
    parent = sys.modules.get(parent_name)
    folders = searched if parent is None else list(getattr(parent, "__path__", ()))
    if parent is not None and tail in vars(parent) and missing == target.module:
        nearest: str | None = f"{parent_name}:{tail}"  # a dot where the colon belongs
    else:
        found = _nearest(tail, _modules_in(folders))
        nearest = f"{parent_name}.{found}" if found and parent_name else found
    where = f" in {', '.join(folders)}" if folders else f"; {parent_name!r} is not a package"
    return f"no module {missing!r}{where}{_suggest(nearest)}"


def _missing_attribute(label: str, owner: object, names: tuple[str, ...]) -> str:
    public = [name for name in dir(owner) if not name.startswith("_")]
    callables = [name for name in public if callable(inspect.getattr_static(owner, name, None))]
    matches = (_nearest(name, group) for group in (callables, public) for name in names)
    nearest = next(filter(None, matches), None)
    lacks = f"has no attribute {' or '.join(map(repr, names))}"
    origin = getattr(owner, "__file__", None) if isinstance(owner, ModuleType) else None
    return f"{label} {lacks}{_suggest(nearest)}" + (f" (searched {origin})" if origin else "")


def _modules_in(folders: list[str]) -> set[str]:
    # A folder without __init__.py can be imported too, and pkgutil does not list it.
    bare: set[str] = set()
    with contextlib.suppress(OSError):  # one that the configured user may not read
        bare = {file.parent.name for folder in folders for file in Path(folder).glob("*/*.py")}
    return {name for name in bare if name.isidentifier()}.union(m.name for m in pkgutil.iter_modules(folders))


def _nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, whatever its case; failing that, the shortest that contains it."""
    by_case = {candidate.lower(): candidate for candidate in sorted(candidates)}
    wanted = name.lower()
    close = difflib.get_close_matches(wanted, by_case, n=1)
    close = close or sorted((c for c in by_case if len(wanted) > 2 and wanted in c), key=len)
    return by_case[close[0]] if close else None


def _suggest(nearest: str | None) -> str:
    return f"; did you mean {nearest!r}?" if nearest else ""


def _absolute(entries: Iterable[str]) -> list[str]:
    # Each once, in order. Not resolved: a symbolic link may be what changes at the next deployment.
    return list(dict.fromkeys(str(Path.cwd() / entry) for entry in entries))

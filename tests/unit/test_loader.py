"""gateway/loader.py: real modules are written to tmp_path and imported, and the texts a user would read are checked."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from shardserve.errors import AppError, AppNotFound, ConfigError
from shardserve.gateway.interface import detect_interface
from shardserve.gateway.loader import LoadedApp, load, prepare_path, user_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ASGI = "async def app(scope, receive, send): pass\n"
WSGI = "def app(environ, start_response): return []\n"


def config(app: str | None, **settings: Any) -> Any:
    settings = {"factory": False, "interface": "auto", "chdir": None, "pythonpath": ()} | settings
    if importlib.util.find_spec("shardserve.config.settings") is None:
        return SimpleNamespace(app=app, **settings)
    from shardserve.config.settings import Config

    return Config(app=app, **settings)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """`site("pkg/wsgi.py", source)` writes a file below the current directory, which is tmp_path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(name: str, source: str = "") -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        return file

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in repr(sys.modules[name]):
            del sys.modules[name]


def refused(app: str | None, **settings: Any) -> str:
    """The one line a user reads when APP cannot be found (exit 4)."""
    with pytest.raises(AppNotFound) as caught:
        load(config(app, **settings))
    assert caught.value.exit_code == 4
    assert caught.value.trace == ""
    assert "\n" not in str(caught.value)
    return str(caught.value)


def raised(app: str, **settings: Any) -> tuple[str, str]:
    """Message and traceback when the application raised (exit 3); none of it may show shardserve."""
    with pytest.raises(AppError) as caught:
        load(config(app, **settings))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert "loader.py" not in caught.value.trace
    assert "<frozen importlib" not in caught.value.trace
    assert "importlib/__init__.py" not in caught.value.trace
    return str(caught.value), caught.value.trace


# --- the forms of APP


@pytest.mark.parametrize(
    ("app", "source"),
    [
        ("site1:app", ASGI),
        ("site1", ASGI),
        ("site1", ASGI.replace("app", "application")),
        ("site1", ASGI + "application = 3\n"),
        ("site1:holder.inner.app", "class holder:\n class inner:\n  @staticmethod\n  async def app(s, r, t): pass\n"),
        ("site1:create()", ASGI + "def create(): return app\n"),
        ("site1:create('prod', debug=False, n=[-1, {'a': None}])", ASGI + "def create(env, *, debug, n): return app\n"),
        ("site1:holder.create()", ASGI + "class holder:\n create = staticmethod(lambda: app)\n"),
        ("site1 : app", ASGI),
    ],
)
def test_forms(site: Callable[..., Path], app: str, source: str) -> None:
    site("site1.py", source)
    loaded = load(config(app))
    assert isinstance(loaded, LoadedApp)
    assert (loaded.interface, loaded.name) == ("asgi", app)
    assert callable(loaded.app)


def test_arguments_reach_the_factory(site: Callable[..., Path]) -> None:
    site("site1.py", "def create(*a, **k):\n def app(e, s): return a, k\n return app\n")
    assert load(config("site1:create('prod', 2, debug=False)")).app(0, 0) == (("prod", 2), {"debug": False})
    assert load(config("site1:create", factory=True)).app(0, 0) == ((), {})
    assert load(config("site1:create('once')", factory=True)).app(0, 0) == (("once",), {})


def test_a_module_in_a_package(site: Callable[..., Path]) -> None:
    site("pkg/__init__.py")
    site("pkg/wsgi.py", WSGI)
    assert load(config("pkg.wsgi:app")).interface == "wsgi"


def test_interface_is_not_guessed_when_given(site: Callable[..., Path]) -> None:
    site("site1.py", "def app(*args): pass\n")
    assert load(config("site1", interface="wsgi")).interface == "wsgi"
    assert load(config("site1", interface="asgi")).interface == "asgi"


def test_a_file_written_after_a_first_try_is_found(site: Callable[..., Path]) -> None:
    refused("late1:app")
    site("late1.py", WSGI)
    assert load(config("late1:app")).interface == "wsgi"


def test_no_app_is_a_configuration_error(site: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"^APP: no application was named"):
        load(config(None))


@pytest.mark.parametrize(
    ("app", "hint"),
    [
        ("myapp.py", "use the module name: myapp"),
        ("myapp.py:app", "use the module name: myapp:app"),
        ("./myapp.py:app", "use the module name: myapp:app"),
        ("src/myapp.py:app", "use the module name: myapp:app with --pythonpath src"),
        ("pkg/wsgi.py:app", "use the module name: pkg.wsgi:app"),
        ("pkg/__init__.py:app", "use the module name: pkg:app"),
    ],
)
def test_a_path_gets_the_module_name(site: Callable[..., Path], app: str, hint: str) -> None:
    site("pkg/__init__.py", ASGI)
    assert refused(app) == f"{app!r} names a file; {hint}"


@pytest.mark.parametrize("app", [":app", "myapp:", "a..b:app", ".a:app"])
def test_malformed_names(site: Callable[..., Path], app: str) -> None:
    assert refused(app) == f"{app!r} is not the name of an application; use module:attr, such as myapp:app"


@pytest.mark.parametrize("rest", ["my-app", "f(", "f()()", "x[0]", "'app'", "f().app", "a:b"])
def test_malformed_attributes(site: Callable[..., Path], rest: str) -> None:
    site("site1.py", ASGI)
    assert refused(f"site1:{rest}").startswith(f"{rest!r} in ")


@pytest.mark.parametrize("arguments", ["open('x')", "*[1]", "**{'a': 1}", "{[]: 1}", "a=b", "1+1"])
def test_arguments_are_never_evaluated(site: Callable[..., Path], arguments: str) -> None:
    site("site1.py", "def f(*a, **k): raise SystemError\n")
    assert refused(f"site1:f({arguments})").endswith("must be literals: text, numbers, True, None, lists")


# --- what is not there (exit 4)


def test_missing_module(site: Callable[..., Path], tmp_path: Path) -> None:
    site("myapp.py", ASGI)
    site("lib/other/plain.py")
    assert refused("myap:app") == f"no module 'myap' in {tmp_path}; did you mean 'myapp'?"
    assert refused("MyApp") == f"no module 'MyApp' in {tmp_path}; did you mean 'myapp'?"
    assert refused("qqqq") == f"no module 'qqqq' in {tmp_path}"
    assert refused("othr.x", pythonpath=("lib",)) == (
        f"no module 'othr' in {tmp_path}/lib, {tmp_path}; did you mean 'other'?"
    )


def test_missing_module_of_a_package(site: Callable[..., Path], tmp_path: Path) -> None:
    site("mysite/__init__.py")
    site("mysite/wsgi.py", WSGI)
    assert refused("mysite.wsgy:app") == f"no module 'mysite.wsgy' in {tmp_path}/mysite; did you mean 'mysite.wsgi'?"
    assert refused("mysit.wsgi:app") == f"no module 'mysit' in {tmp_path}; did you mean 'mysite'?"


def test_a_dot_where_the_colon_belongs(site: Callable[..., Path]) -> None:
    site("myapp.py", ASGI)
    assert refused("myapp.app") == "no module 'myapp.app'; 'myapp' is not a package; did you mean 'myapp:app'?"
    assert refused("myapp.zzz") == "no module 'myapp.zzz'; 'myapp' is not a package"


def test_missing_attribute(site: Callable[..., Path]) -> None:
    file = site("myapp.py", ASGI + "aq = 1\nclass site: handler = print\nmain = site()\n_appp = app\n")
    assert refused("myapp:ap") == f"module 'myapp' has no attribute 'ap'; did you mean 'app'? (searched {file})"
    assert refused("myapp:qqqq") == f"module 'myapp' has no attribute 'qqqq' (searched {file})"
    assert refused("myapp:main.handle") == "'myapp:main' has no attribute 'handle'; did you mean 'handler'?"
    assert refused("myapp:app.x.y") == "'myapp:app' has no attribute 'x'"


def test_bare_module_without_an_app(site: Callable[..., Path]) -> None:
    file = site("myapp.py", "def create_app(): pass\n")
    assert refused("myapp") == (
        f"module 'myapp' has no attribute 'app' or 'application'; did you mean 'create_app'? (searched {file})"
    )


def test_not_callable(site: Callable[..., Path]) -> None:
    site("myapp.py", "import os.path\nVERSION = '1'\nCOUNT = 1\napp = None\n")
    assert refused("myapp:VERSION") == "'myapp:VERSION' is a str, which cannot be called"
    assert refused("myapp:COUNT") == "'myapp:COUNT' is an int, which cannot be called"
    assert refused("myapp") == "'myapp' is None, which cannot be called"
    assert refused("myapp:VERSION", factory=True) == "'myapp:VERSION' is a str, which cannot be called"


def test_a_submodule_named_as_attribute(site: Callable[..., Path]) -> None:
    site("pkg/__init__.py", "import pkg.wsgi\n")
    site("pkg/wsgi.py", WSGI)
    assert refused("pkg:wsgi") == "'pkg:wsgi' is a module, which cannot be called; did you mean 'pkg.wsgi'?"


def test_factory_results_that_cannot_be_called(site: Callable[..., Path]) -> None:
    site("myapp.py", "def none(): pass\ndef table(): return {}\nasync def late(): pass\n")
    assert refused("myapp:none()") == "factory 'myapp:none()' returned None, which cannot be called"
    assert refused("myapp:table", factory=True) == "factory 'myapp:table' returned a dict, which cannot be called"
    assert refused("myapp:late", factory=True) == (
        "factory 'myapp:late' is asynchronous; async factories are not supported"
    )


def test_an_awaitable_that_is_no_coroutine(site: Callable[..., Path]) -> None:
    site("myapp.py", "class Later:\n def __await__(self): yield\n")
    assert "async factories are not supported" in refused("myapp:Later()")


# --- what raised (exit 3)


def test_the_apps_own_import_is_missing(site: Callable[..., Path]) -> None:
    file = site("myapp.py", "import nothing_of_the_kind\n")
    message, trace = raised("myapp:app")
    assert message == (
        "application 'myapp:app' raised ModuleNotFoundError while it was imported: "
        "No module named 'nothing_of_the_kind'"
    )
    assert trace.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{file}", line 1, in <module>',
        "    import nothing_of_the_kind",
        "ModuleNotFoundError: No module named 'nothing_of_the_kind'",
    ]


def test_a_package_whose_own_import_of_the_named_module_fails(site: Callable[..., Path]) -> None:
    """The name matches what was asked for, yet the fault lies in the package's code, and its line is what helps."""
    site("pkg/__init__.py", "from . import good\nimport pkg.wsgi\n")
    site("pkg/good.py")
    message, trace = raised("pkg.wsgi:app")
    assert "No module named 'pkg.wsgi'" in message
    assert "import pkg.wsgi" in trace


def test_frames_between_the_users_modules_are_dropped(site: Callable[..., Path]) -> None:
    site("myapp.py", "import importlib\nimportlib.import_module('helper1')\n")
    site("helper1.py", "try:\n  1 / 0\nexcept ZeroDivisionError as e:\n  raise ValueError('two\\nlines') from e\n")
    message, trace = raised("myapp")
    assert message == "application 'myapp' raised ValueError while it was imported: two lines"
    assert [line.split('"')[1].rpartition("/")[2] for line in trace.splitlines() if line.startswith("  File")] == [
        "helper1.py",
        "myapp.py",
        "helper1.py",
    ]
    assert "ZeroDivisionError" in trace
    assert "direct cause" in trace


def test_system_exit_is_an_error_of_the_app(site: Callable[..., Path]) -> None:
    site("myapp.py", "import sys\nsys.exit()\n")
    assert raised("myapp")[0] == "application 'myapp' raised SystemExit while it was imported"
    site("myapp2.py", "def create(): raise SystemExit('no database')\n")
    assert raised("myapp2:create()")[0] == (
        "application 'myapp2:create()' raised SystemExit in its factory: no database"
    )


def test_syntax_error_shows_its_place(site: Callable[..., Path]) -> None:
    file = site("myapp.py", "x = 1\ndef app(:\n")
    message, trace = raised("myapp")
    assert message == (f"application 'myapp' raised SyntaxError while it was imported: invalid syntax ({file}, line 2)")
    assert f'File "{file}", line 2' in trace
    assert "def app(:" in trace


def test_keyboard_interrupt_passes(site: Callable[..., Path]) -> None:
    site("myapp.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load(config("myapp"))


def test_factory_called_with_the_wrong_arguments(site: Callable[..., Path]) -> None:
    site("myapp.py", "def create(env): pass\n")
    message, trace = raised("myapp:create()")
    assert message.startswith("application 'myapp:create()' raised TypeError in its factory: create() missing 1")
    assert trace.endswith("'env'\n")


def test_a_modules_getattr_that_raises(site: Callable[..., Path]) -> None:
    site("myapp.py", "def __getattr__(name):\n  if name == 'app': raise RuntimeError('lazy')\n  raise AttributeError\n")
    assert raised("myapp:app")[0] == "application 'myapp:app' raised RuntimeError while it was imported: lazy"


def test_long_and_unprintable_causes(site: Callable[..., Path]) -> None:
    site("long1.py", "raise ValueError('x' * 5000)\n")
    assert len(raised("long1")[0]) < 400
    site("mute1.py", "class Mute(Exception):\n  def __str__(self): raise KeyError\nraise Mute\n")
    assert raised("mute1")[0].endswith("raised Mute while it was imported: (its text cannot be shown)")


def test_user_traceback_of_a_group(site: Callable[..., Path]) -> None:
    file = site("myapp.py", "def go():\n  raise ExceptionGroup('both', [ValueError('a'), KeyError('b')])\ngo()\n")
    trace = raised("myapp")[1]
    assert f'File "{file}", line 2, in go' in trace
    assert "ValueError: a" in trace
    assert "KeyError: 'b'" in trace


def test_user_traceback_drops_only_leading_frames_of_ours(site: Callable[..., Path]) -> None:
    """Frames of shardserve below the app stay: they tell which call of the app was refused."""
    import shardserve.errors

    ours = str(shardserve.errors.__file__).replace("errors.py", "gateway/made_up.py")
    names: dict[str, Any] = {}
    gateway = "def serve(app):\n  app(send)\ndef send():\n  raise RuntimeError('twice')\n"
    exec(compile(gateway, ours, "exec"), names)
    exec(compile("def app(send):\n  send()\n", "/srv/app.py", "exec"), names)
    with pytest.raises(RuntimeError) as caught:
        names["serve"](names["app"])
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # as caught inside the gateway: without the frame of this test
    files = [line.split('"')[1] for line in user_traceback(error).splitlines() if line.startswith("  File")]
    assert files == ["/srv/app.py", ours]


def test_user_traceback_keeps_our_frames_when_there_are_no_others() -> None:
    import shardserve.errors

    ours = str(shardserve.errors.__file__).replace("errors.py", "gateway/made_up.py")
    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile("1 / 0", ours, "exec"))
    assert caught.value.__traceback__ is not None
    caught.value.__traceback__ = caught.value.__traceback__.tb_next
    assert ours in user_traceback(caught.value)


def test_user_traceback_without_frames() -> None:
    assert user_traceback(ValueError("x")).endswith("ValueError: x\n")


# --- the path


def test_prepare_path_order(site: Callable[..., Path], tmp_path: Path) -> None:
    site("a/x.py")
    site("b/x.py")
    settings = config("x", pythonpath=("a", str(tmp_path / "b"), "a"))
    prepare_path(settings)
    first = sys.path[:]
    assert first[:3] == [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path)]
    prepare_path(settings)
    assert sys.path == first


def test_current_directory_keeps_its_place(site: Callable[..., Path], tmp_path: Path) -> None:
    sys.path.append(str(tmp_path))
    before = sys.path[:]
    prepare_path(config("x"))
    assert sys.path == before


def test_chdir(site: Callable[..., Path], tmp_path: Path) -> None:
    site("deep/inner1.py", WSGI)
    assert load(config("inner1:app", chdir=str(tmp_path / "deep"))).interface == "wsgi"
    assert os.getcwd() == str(tmp_path / "deep")


def test_chdir_that_does_not_exist(site: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(config("x", chdir="/nowhere/at/all"))
    assert str(caught.value) == "--chdir: cannot enter '/nowhere/at/all': No such file or directory"


def test_a_current_directory_that_is_gone(site: Callable[..., Path], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match=r"^--chdir: the current directory has been deleted"):
        load(config("x"))


# --- ASGI or WSGI


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


def plain_wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@functools.wraps(asgi)
def wsgi_over_asgi(environ: Any, start_response: Any) -> Any: ...


@functools.wraps(wsgi)
async def asgi_over_wsgi(scope: Any, receive: Any, send: Any) -> None: ...


class AsyncCall:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...

    def sync_method(self, environ: Any, start_response: Any) -> Any: ...


class AsyncAnything:
    async def __call__(self, *args: Any) -> None: ...


class SyncCall:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Any: ...


class WsgiCall:
    def __call__(self, environ: Any, start_response: Any, extra: int = 0) -> Any: ...


class WrappedCall:
    __call__ = plain_wrapper(AsyncAnything.__call__)


class WsgiResponse:
    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Any: ...


class AsgiResponse:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any: ...


def with_setting(setting: Any, environ: Any, start_response: Any) -> Any: ...


@pytest.mark.parametrize(
    ("app", "interface"),
    [
        (asgi, "asgi"),
        (wsgi, "wsgi"),
        (lambda scope, receive, send: None, "asgi"),
        (plain_wrapper(asgi), "asgi"),
        (plain_wrapper(wsgi), "wsgi"),
        (plain_wrapper(plain_wrapper(asgi)), "asgi"),
        (wsgi_over_asgi, "wsgi"),
        (asgi_over_wsgi, "asgi"),
        (AsyncCall(), "asgi"),
        (AsyncCall().method, "asgi"),
        (AsyncCall().sync_method, "wsgi"),
        (AsyncAnything(), "asgi"),
        (SyncCall(), "asgi"),
        (WsgiCall(), "wsgi"),
        (WrappedCall(), "asgi"),
        (plain_wrapper(WsgiCall()), "wsgi"),
        (plain_wrapper(AsyncAnything()), "asgi"),
        (WsgiResponse, "wsgi"),
        (AsgiResponse, "asgi"),
        (functools.partial(with_setting, 1), "wsgi"),
        (functools.partial(with_setting, setting=1), None),  # leaves only keywords after it
        (functools.partial(asgi), "asgi"),
        (functools.partial(functools.partial(AsyncAnything())), "asgi"),
        (functools.partial(plain_wrapper(asgi)), "asgi"),
        (functools.partial(SyncCall()), "asgi"),
    ],
)
def test_detect(app: object, interface: str | None) -> None:
    if interface is None:
        with pytest.raises(AppNotFound):
            detect_interface(app, "auto")
    else:
        assert detect_interface(app, "auto") == interface
    assert detect_interface(app, "wsgi") == "wsgi"
    assert detect_interface(app, "asgi") == "asgi"


def unclear(*args: Any) -> None: ...


@pytest.mark.parametrize(
    ("app", "why"),
    [
        (unclear, "its signature does not say; pass --interface asgi or wsgi"),
        (lambda: None, "it takes no arguments; if it is a factory pass --factory, else pass --interface asgi or wsgi"),
        (lambda a: None, "it needs 1 argument; if it is ASGI 2 pass --interface asgi2"),
        (lambda a, b, c, d: None, "it needs 4 arguments; pass --interface asgi or wsgi"),
        (max, "its signature does not say"),
    ],
)
def test_unclear(app: Any, why: str) -> None:
    with pytest.raises(AppNotFound) as caught:
        detect_interface(app, "auto")
    assert f"cannot tell whether {app.__qualname__!r} is ASGI or WSGI: {why}" in str(caught.value)
    assert caught.value.exit_code == 4


class Asgi2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize("wanted", ["auto", "asgi", "asgi2"])
@pytest.mark.parametrize("app", [Asgi2, functools.partial(Asgi2)])
def test_asgi2_is_told_by_a_class_whose_instances_of_one_argument_are_called(app: object, wanted: str) -> None:
    assert detect_interface(app, wanted, "m:app") == "asgi2"
    assert detect_interface(app, "wsgi", "m:app") == "wsgi"


def test_a_class_of_applications_is_refused() -> None:
    with pytest.raises(AppNotFound) as caught:
        detect_interface(AsyncCall, "auto", "m:AsyncCall")
    assert str(caught.value) == (
        "'m:AsyncCall' is a class whose instances are applications; name an instance, or 'm:AsyncCall()'"
    )


def test_an_object_that_cannot_be_called() -> None:
    with pytest.raises(AppNotFound, match="'int' is an int, which cannot be called"):
        detect_interface(3, "auto")


# --- frameworks


def test_flask() -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask(__name__)
    assert detect_interface(app, "auto") == "wsgi"
    assert detect_interface(app.wsgi_app, "auto") == "wsgi"
    with pytest.raises(AppNotFound, match="class whose instances"):
        detect_interface(flask.Flask, "auto")


def test_flask_factory(site: Callable[..., Path]) -> None:
    pytest.importorskip("flask")
    site("site1.py", "import flask\ndef create_app(): return flask.Flask(__name__)\n")
    assert load(config("site1:create_app()")).interface == "wsgi"
    assert "if it is a factory pass --factory" in refused("site1:create_app")


@pytest.mark.filterwarnings("ignore")  # the frameworks' own deprecations are not ours to fail on
def test_fastapi_and_starlette() -> None:
    fastapi = pytest.importorskip("fastapi")
    from starlette.applications import Starlette
    from starlette.middleware.cors import CORSMiddleware

    for app in (fastapi.FastAPI(), Starlette(), CORSMiddleware(Starlette())):
        assert detect_interface(app, "auto") == "asgi"
    with pytest.raises(AppNotFound, match="class whose instances"):
        detect_interface(fastapi.FastAPI, "auto")


def test_django() -> None:
    pytest.importorskip("django")
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    if not settings.configured:
        settings.configure()
    assert detect_interface(get_wsgi_application(), "auto") == "wsgi"
    assert detect_interface(get_asgi_application(), "auto") == "asgi"

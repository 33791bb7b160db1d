"""The command line: what each spelling means, what is said, and with which exit code. The server is a stand-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import shardserve
from shardserve import cli
from shardserve.config.elsewhere import ELSEWHERE
from shardserve.config.settings import OPTIONS, Config
from shardserve.config.sources import PREFIX
from shardserve.errors import AppError, AppNotFound, BindError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]
ASGI_APP = "async def app(scope, receive, send):\n    pass\n"


class Server:
    """Stands where the supervisor and the in-process server do: keeps what it was asked to serve."""

    def __init__(self) -> None:
        self.config = Config()
        self.app: object = None
        self.reread: Callable[[], Config] = Config
        self.outcome: int | Exception = 0

    def serve(self, config: Config, reread: Callable[[], Config]) -> int:
        self.config, self.reread = config, reread
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def serve_here(self, config: Config, app: object | None = None) -> int:
        self.config, self.app = config, app
        return 17


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    server = Server()
    for name in ("supervisor.serve", "worker.inprocess"):
        module: Any = ModuleType(f"shardserve.{name}")
        module.serve, module.serve_here = server.serve, server.serve_here
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    platform = {option.names.env for option in OPTIONS}
    for variable in [name for name in os.environ if name in platform or name.startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    return server


def shardserve_process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shardserve", *arguments]
    environ = {"PYTHONPATH": str(REPOSITORY), "PATH": ""}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environ, timeout=30)


class TestSpellings:
    @pytest.mark.parametrize(
        ("arguments", "field", "value"),
        [
            ("-w 3", "workers", 3),
            ("--workers=auto", "workers", "auto"),
            ("-b [::]:80 --bind unix:/x", "bind", ("[::]:80", "unix:/x")),
            ("-b a:1,b:2 -b c:3", "bind", ("a:1", "b:2", "c:3")),
            ("--host ::", "bind", ("[::]:8000",)),
            ("--port 80", "bind", ("127.0.0.1:80",)),
            ("--host 0.0.0.0 --port 0", "bind", ("0.0.0.0:0",)),
            ("--uds /run/a,b.sock", "bind", ("unix:/run/a,b.sock",)),
            ("--fd 3", "bind", ("fd://3",)),
            ("--app-dir src --pythonpath a,b", "pythonpath", ("src", "a", "b")),
            ("--factory", "factory", True),
            ("--no-factory", "factory", False),
            ("--interface asgi3", "interface", "asgi"),
            ("--asgi-lifespan off", "lifespan", "off"),
            ("--asgi-loop asyncio", "loop", "asyncio"),
            ("--http-parser python", "http", "h11"),
            ("--http fast", "http", "httptools"),
            ("--keepalive 5", "keep_alive", 5.0),
            ("--timeout-keep-alive 5", "keep_alive", 5.0),
            ("--timeout-graceful-shutdown 2m", "graceful_timeout", 120.0),
            ("--boot-timeout 0", "boot_timeout", 0.0),
            ("--loglevel DEBUG", "log_level", "debug"),
            ("--pid x", "pidfile", "x"),
            ("-p x", "pidfile", "x"),
            ("-u www -g 33 -m 027", "umask", 0o27),
            ("--root-path /api/", "root_path", "/api"),
            ("--forwarded-allow-ips=", "forwarded_allow_ips", ()),
        ],
    )
    def test_means(self, server: Server, arguments: str, field: str, value: object) -> None:
        assert cli.main([*arguments.split(), "myapp:app"]) == 0
        assert getattr(server.config, field) == value
        assert server.config.app == "myapp:app"

    @pytest.mark.parametrize("flag", ["-k", "--daemon", "--proxy-headers", "--ssl-keyfile"])
    def test_an_option_of_other_servers_is_answered_with_what_to_do(
        self, server: Server, capsys: pytest.CaptureFixture[str], flag: str
    ) -> None:
        assert cli.main([flag, "myapp:app"]) == 2
        assert capsys.readouterr().err == f"Error: {flag} is an option of other servers: {ELSEWHERE[flag]}.\n"

    def test_no_advice_is_given_on_an_option_that_is_here(self) -> None:
        known = {flag for parameter in cli.command().params for flag in (*parameter.opts, *parameter.secondary_opts)}
        assert not known & set(ELSEWHERE)

    @pytest.mark.parametrize(
        "arguments", ["--host x -b y:1", "--uds x --fd 1", "--port 1 --uds x", "--port 70000", "--fd x"]
    )
    def test_spellings_of_bind_that_do_not_go_together(self, server: Server, arguments: str) -> None:
        assert cli.main([*arguments.split(), "myapp:app"]) == 2


class TestServing:
    def test_the_exit_code_is_the_servers(self, server: Server) -> None:
        server.outcome = 3
        assert cli.main(["myapp:app"]) == 3

    def test_a_reload_reads_the_same_sources_again(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "mine.toml").write_text("threads = 2\nbacklog = 7")
        assert cli.main(["-c", "mine.toml", "--threads", "5", "myapp:app"]) == 0
        assert (server.config.threads, server.config.backlog) == (5, 7)
        (tmp_path / "mine.toml").write_text("threads = 3\nbacklog = 8")
        monkeypatch.chdir("/")
        assert (server.reread().threads, server.reread().backlog) == (5, 8)
        (tmp_path / "mine.toml").write_text("threads =")
        with pytest.raises(ConfigError, match=r"mine\.toml"):
            server.reread()

    def test_the_application_may_come_from_the_file(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "shardserve.toml").write_text('app = "filed:app"')
        assert cli.main([]) == 0
        assert server.config.app == "filed:app"

    @pytest.mark.parametrize(
        ("error", "code", "text"),
        [
            (ConfigError("--x: wrong"), 2, "Error: --x: wrong\n"),
            (AppError("it raised", "Traceback\n  boom\n"), 3, "Traceback\n  boom\nError: it raised\n"),
            (AppNotFound("no module 'x'"), 4, "Error: no module 'x'\n"),
            (BindError("taken"), 5, "Error: taken\n"),
        ],
    )
    def test_errors_are_said_and_counted(
        self, server: Server, capsys: pytest.CaptureFixture[str], error: Exception, code: int, text: str
    ) -> None:
        server.outcome = error
        assert cli.main(["myapp:app"]) == code
        assert capsys.readouterr().err == text

    def test_an_interrupt_before_there_is_a_server(self, server: Server) -> None:
        def interrupted(config: Config, reread: Callable[[], Config]) -> int:
            raise KeyboardInterrupt

        sys.modules["shardserve.supervisor.serve"].serve = interrupted  # type: ignore[attr-defined]
        assert cli.main(["myapp:app"]) == 130


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ([], "Error: no application; name it, as in `shardserve myapp:app`"),
            (["--check-config"], "Error: no application"),
            (["--wokers", "3", "m"], "--workers"),
            (["--workers", "x", "m"], "--workers: 'x' is neither a whole number nor \"auto\" (from the command line)"),
            (["m", "n"], "unexpected extra argument"),
            (["-c", "gone.toml", "m"], "gone.toml: cannot be read"),
        ],
    )
    def test_wrong_options_end_with_2(
        self, server: Server, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
    ) -> None:
        assert cli.main(arguments) == 2
        captured = capsys.readouterr()
        assert text in captured.err
        assert captured.out == ""

    def test_a_directory_that_is_gone(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert cli.main(["myapp:app"]) == 2


class TestPrintConfig:
    def test_every_option_with_value_and_source(
        self, server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "shardserve.toml").write_text("backlog = 5")
        monkeypatch.setenv("PORT", "5000")
        monkeypatch.setenv("SHARDSERVE_KEEP_ALIVE", "2m")
        assert cli.main(["--print-config", "-w", "2"]) == 0
        lines = capsys.readouterr().out.splitlines()
        cells = [re.split(r" {2,}", line) for line in lines]
        rows = {name: [value, source] for name, value, source in cells}
        assert list(rows) == [option.name for option in OPTIONS]
        assert rows["workers"] == ["2", "command line"]
        assert rows["keep_alive"] == ["120s", "SHARDSERVE_KEEP_ALIVE"]
        assert rows["backlog"] == ["5", "shardserve.toml"]
        assert rows["bind"] == ["0.0.0.0:5000", "PORT"]
        assert rows["app"] == ["none", "default"]
        assert len({line.rindex(source) for line, (_, _, source) in zip(lines, cells, strict=True)}) == 1


class TestCheckConfig:
    def test_imports_the_application(self, tmp_path: Path) -> None:
        (tmp_path / "myapp.py").write_text(ASGI_APP)
        done = shardserve_process("--check-config", "myapp:app", cwd=tmp_path)
        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout == "configuration and application OK (asgi: myapp:app)\n"

    def test_in_another_directory(self, tmp_path: Path) -> None:
        (tmp_path / "src").mkdir()
        (tmp_path / "src/myapp.py").write_text(ASGI_APP)
        for arguments in (["--chdir", "src"], ["--pythonpath", "src"]):
            assert shardserve_process("--check-config", *arguments, "myapp", cwd=tmp_path).returncode == 0

    @pytest.mark.parametrize(
        ("arguments", "code", "text"),
        [
            (["broken:app"], 3, "ZeroDivisionError"),
            (["missing:app"], 4, "missing"),
            (["-b", "what?/", "broken:app"], 2, "--bind"),
            (["--chdir", "nowhere", "broken:app"], 2, "--chdir"),
        ],
    )
    def test_says_what_is_wrong(self, tmp_path: Path, arguments: list[str], code: int, text: str) -> None:
        (tmp_path / "broken.py").write_text("1 / 0\n")
        done = shardserve_process("--check-config", *arguments, cwd=tmp_path)
        assert done.returncode == code
        assert text in done.stderr


class TestHelp:
    def test_shows_every_spelling_in_its_group(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--help"]) == 0
        text = capsys.readouterr().out
        for option in OPTIONS:
            assert f"\n{option.group}:\n" in text
            for flag in option.flags:
                assert flag in text
        words = " ".join(text.split())
        assert words.count("uvicorn's spelling of --bind") == 4
        assert "the supervisor keeps its uid" in words

    @pytest.mark.parametrize("flag", ["--help", "--version"])
    def test_imports_nothing_that_serves(self, flag: str) -> None:
        serving = {"asyncio", "uvloop", "httptools", "h11", "ssl", "socket", "logging", "ctypes"}
        seldom = {"difflib", "email", "importlib.metadata", "multiprocessing", "tomllib"}
        code = (
            f"import sys, shardserve.cli; shardserve.cli.main(['{flag}']);"
            f"print(sorted({serving | seldom} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--version"]) == 0
        version = capsys.readouterr().out
        assert version.startswith(f"shardserve {shardserve.__version__} (")
        for library in cli.LIBRARIES:
            assert f"{library} " in version

    def test_version_where_a_library_is_missing(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cli, "LIBRARIES", ("not-installed",))
        assert cli.main(["--version"]) == 0
        assert "no not-installed)" in capsys.readouterr().out


class TestRun:
    def test_an_object_is_served_here(self, server: Server) -> None:
        app = object()
        assert shardserve.run(app, keep_alive=3) == 17
        assert server.app is app
        assert (server.config.app, server.config.workers, server.config.keep_alive) == (None, 0, 3.0)

    def test_a_name_is_served_here_too_unless_workers_are_asked_for(self, server: Server) -> None:
        assert shardserve.run("m:a") == 17
        assert (server.config.app, server.app) == ("m:a", None)
        server.outcome = 5
        assert shardserve.run("m:a", workers=2) == 5
        assert server.config.workers == 2
        assert server.reread() == server.config

    def test_an_object_cannot_be_shared_out(self, server: Server) -> None:
        with pytest.raises(ConfigError, match="served with 0 workers"):
            shardserve.run(object(), workers=2)

    def test_unknown_options(self, server: Server) -> None:
        with pytest.raises(ConfigError, match="did you mean workers"):
            shardserve.run("m:a", wokers=2)

    def test_no_other_attributes(self) -> None:
        with pytest.raises(AttributeError, match="nothing_here"):
            _ = shardserve.nothing_here

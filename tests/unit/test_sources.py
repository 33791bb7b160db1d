"""Which source wins, where values are said to come from, and what is said about wrong ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shardserve.config.settings import OPTIONS, Config
from shardserve.config.sources import Resolved, from_options, resolve
from shardserve.errors import EXIT_CONFIG, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def settle(
    folder: Path,
    cli: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    config_file: str | None = None,
) -> Resolved:
    return resolve(cli or {}, environ=environ or {}, config_file=config_file, directory=folder)


def refusal(folder: Path, **sources: object) -> str:
    with pytest.raises(ConfigError) as caught:
        settle(folder, **sources)  # type: ignore[arg-type]
    assert caught.value.exit_code == EXIT_CONFIG
    return str(caught.value)


def test_nothing_given_is_the_defaults(folder: Path) -> None:
    resolved = settle(folder, {"workers": None})
    assert resolved.config == Config()
    assert resolved.origins == {option.name: "default" for option in OPTIONS}


def test_each_source_beats_the_weaker_ones(folder: Path) -> None:
    environ = {"WEB_CONCURRENCY": "2"}
    assert (settle(folder).config.workers, settle(folder).origins["workers"]) == ("auto", "default")

    resolved = settle(folder, environ=environ)
    assert (resolved.config.workers, resolved.origins["workers"]) == (2, "WEB_CONCURRENCY")

    (folder / "shardserve.toml").write_text("workers = 3")
    resolved = settle(folder, environ=environ)
    assert (resolved.config.workers, resolved.origins["workers"]) == (3, "shardserve.toml")

    environ["SHARDSERVE_WORKERS"] = "4"
    resolved = settle(folder, environ=environ)
    assert (resolved.config.workers, resolved.origins["workers"]) == (4, "SHARDSERVE_WORKERS")

    resolved = settle(folder, {"workers": "5"}, environ)
    assert (resolved.config.workers, resolved.origins["workers"]) == (5, "command line")


def test_every_option_can_be_set_by_its_variable_and_its_key(folder: Path) -> None:
    texts = {
        option.name: option.kind.show(option.default)
        for option in OPTIONS
        if option.kind.show(option.default) not in ("none", '""')
    }
    by_variable = settle(folder, environ={f"SHARDSERVE_{name.upper()}": text for name, text in texts.items()})
    (folder / "shardserve.toml").write_text("\n".join(f"{name} = '{text}'" for name, text in texts.items()))
    assert by_variable.config == settle(folder).config == Config()
    assert {name for name, origin in by_variable.origins.items() if origin != "default"} == texts.keys()


class TestPlatformVariables:
    def test_port_listens_on_all_addresses(self, folder: Path) -> None:
        resolved = settle(folder, environ={"PORT": "5000"})
        assert resolved.config.bind == ("0.0.0.0:5000",)
        assert resolved.origins["bind"] == "PORT"

    @pytest.mark.parametrize("port", ["http", "70000", "-1", "80,81"])
    def test_a_port_that_is_none(self, folder: Path, port: str) -> None:
        assert refusal(folder, environ={"PORT": port}) == f"--bind: {port!r} is not a port number (from PORT)"

    def test_a_value_that_loses_is_not_judged(self, folder: Path) -> None:
        assert settle(folder, {"bind": "[::]:1"}, {"PORT": "http"}).config.bind == ("[::]:1",)

    def test_empty_ones_mean_nothing(self, folder: Path) -> None:
        assert settle(folder, environ={"PORT": "", "WEB_CONCURRENCY": ""}).config == Config()

    def test_an_empty_list_of_proxies_trusts_nobody(self, folder: Path) -> None:
        assert settle(folder, environ={"FORWARDED_ALLOW_IPS": ""}).config.forwarded_allow_ips == ()
        assert settle(folder, environ={"FORWARDED_ALLOW_IPS": "*"}).config.forwarded_allow_ips == ("*",)


class TestFile:
    def test_keys_with_dashes_and_native_values(self, folder: Path) -> None:
        (folder / "shardserve.toml").write_text(
            'bind = ["[::]:80", "unix:/run/a,b"]\nkeep-alive = 5\nboot_timeout = "2m"\nfactory = true\numask = 0o027\n'
        )
        config = settle(folder).config
        assert config.bind == ("[::]:80", "unix:/run/a,b")
        assert (config.keep_alive, config.boot_timeout, config.factory, config.umask) == (5.0, 120.0, True, 0o27)

    def test_pyproject_only_with_its_table(self, folder: Path) -> None:
        (folder / "pyproject.toml").write_text('[project]\nname = "x"\n')
        assert settle(folder).config == Config()
        (folder / "pyproject.toml").write_text("[tool.shardserve]\nthreads = 3\n")
        assert settle(folder).origins["threads"] == "pyproject.toml"
        (folder / "shardserve.toml").write_text("threads = 4")
        assert settle(folder).config.threads == 4

    def test_the_named_file_wins_and_is_the_only_one(self, folder: Path) -> None:
        (folder / "shardserve.toml").write_text("threads = 2\nbacklog = 9")
        (folder / "mine.toml").write_text("threads = 3")
        (folder / "theirs.toml").write_text("threads = 4")
        by_variable = settle(folder, environ={"SHARDSERVE_CONFIG": "theirs.toml"})
        assert (by_variable.config.threads, by_variable.config.backlog) == (4, 2048)
        by_flag = settle(folder, environ={"SHARDSERVE_CONFIG": "theirs.toml"}, config_file="mine.toml")
        assert (by_flag.config.threads, by_flag.origins["threads"]) == (3, "mine.toml")

    def test_a_file_that_is_read_again_is_read_anew(self, folder: Path) -> None:
        (folder / "shardserve.toml").write_text("threads = 2")
        assert settle(folder).config.threads == 2
        (folder / "shardserve.toml").write_text("threads = 3")
        assert settle(folder).config.threads == 3

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("wokers = 3", "x.toml: there is no setting 'wokers'; did you mean workers?"),
            ("keep-aliv = 3", "x.toml: there is no setting 'keep-aliv'; did you mean keep_alive?"),
            ("timeout_keep_alive = 3", "x.toml: there is no setting 'timeout_keep_alive'; did you mean keep_alive?"),
            ("port = 80", "x.toml: there is no setting 'port'; did you mean bind?"),
            (
                "proc_name = 'x'",
                "x.toml: there is no setting 'proc_name'; nothing sets the process's title; leave it out",
            ),
            ("[qqqqq]", "x.toml: there is no setting 'qqqqq'; `shardserve --help` lists all"),
            ("root-path = ''\nroot_path = ''", "x.toml: 'root-path' and 'root_path' are the same setting; keep one"),
            ("workers = 'x'", "--workers: 'x' is neither a whole number nor \"auto\" (from x.toml)"),
            ("bind = 80", "--bind: 80 is neither text nor a list of texts (from x.toml)"),
        ],
    )
    def test_what_is_wrong_is_named(self, folder: Path, text: str, message: str) -> None:
        (folder / "x.toml").write_text(text)
        assert refusal(folder, config_file="x.toml") == message

    def test_a_python_file_is_told_from_bad_toml(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("import os\nworkers = os.cpu_count()\n")
        assert "is TOML, not Python" in refusal(folder, config_file="gunicorn.conf.py")

    def test_bad_toml_names_file_and_line(self, folder: Path) -> None:
        (folder / "x.toml").write_bytes(b"workers = 1\nthreads = = 2\n")
        message = refusal(folder, config_file="x.toml")
        assert message.startswith("x.toml: is not valid TOML: ")
        assert "at line 2" in message
        (folder / "x.toml").write_bytes(b"workers = 1\n\n# caf\xe9\n")
        assert refusal(folder, config_file="x.toml") == (
            "x.toml: is not valid TOML: a byte that is not UTF-8 (at line 3)"
        )

    def test_a_named_file_has_to_be_there_and_hold_settings(self, folder: Path) -> None:
        assert refusal(folder, config_file="gone.toml") == (
            "gone.toml: cannot be read: No such file or directory; check the path given to --config"
        )
        (folder / "pyproject.toml").write_text("tool.shardserve = 3")
        assert "is not a table" in refusal(folder)
        (folder / "pyproject.toml").write_text("")
        assert refusal(folder, config_file="pyproject.toml") == (
            "pyproject.toml: has no [tool.shardserve] table; add one, or name another file"
        )


class TestVariables:
    @pytest.mark.parametrize(
        ("name", "advice"),
        [
            ("SHARDSERVE_WOKERS", "did you mean SHARDSERVE_WORKERS?"),
            ("SHARDSERVE_HOST", "did you mean SHARDSERVE_BIND?"),
            ("SHARDSERVE_ZZZ", "`shardserve --help` lists all"),
        ],
    )
    def test_unknown_ones_are_refused(self, folder: Path, name: str, advice: str) -> None:
        assert refusal(folder, environ={name: "1"}) == f"{name}: there is no such setting; {advice}"

    def test_wrong_values_name_the_variable(self, folder: Path) -> None:
        assert refusal(folder, environ={"SHARDSERVE_WORKERS": "x"}) == (
            "--workers: 'x' is neither a whole number nor \"auto\" (from SHARDSERVE_WORKERS)"
        )

    def test_an_empty_one_takes_back_what_the_file_gave(self, folder: Path) -> None:
        (folder / "shardserve.toml").write_text('user = "www"\nforwarded_allow_ips = ["::1"]')
        config = settle(folder, environ={"SHARDSERVE_USER": "", "SHARDSERVE_FORWARDED_ALLOW_IPS": ""}).config
        assert (config.user, config.forwarded_allow_ips) == (None, ())

    def test_kubernetes_service_links_are_not_ours(self, folder: Path) -> None:
        environ = {
            "SHARDSERVE_SERVICE_HOST": "10.0.0.1",
            "SHARDSERVE_SERVICE_PORT": "80",
            "SHARDSERVE_SERVICE_PORT_HTTP": "80",
            "SHARDSERVE_PORT": "tcp://10.0.0.1:80",
            "SHARDSERVE_PORT_80_TCP": "tcp://10.0.0.1:80",
            "SHARDSERVE_PORT_80_TCP_ADDR": "10.0.0.1",
            "SHARDSERVE_DEMO_SERVICE_HOST": "10.0.0.2",
            "SHARDSERVE_DEMO_PORT": "tcp://10.0.0.2:80",
        }
        assert settle(folder, environ=environ).config == Config()
        assert "did you mean SHARDSERVE_BIND?" in refusal(folder, environ={"SHARDSERVE_PORT": "80"})


def test_wrong_values_on_the_command_line(folder: Path) -> None:
    assert refusal(folder, cli={"keep_alive": "long"}) == (
        "--keep-alive: 'long' is not a length of time such as 30, 2.5, 30s or 2m (from the command line)"
    )


def test_contradictions_between_sources_are_found(folder: Path) -> None:
    (folder / "shardserve.toml").write_text('user = "www"')
    assert "--workers 0 has none" in refusal(folder, cli={"workers": "0"})


class TestFromOptions:
    def test_takes_python_values_and_text(self) -> None:
        config = from_options({"app": "m:a", "workers": 2, "bind": ("[::]:1",), "keep_alive": "2m", "umask": None})
        assert config == Config(app="m:a", workers=2, bind=("[::]:1",), keep_alive=120.0)

    def test_reads_nothing_else(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "shardserve.toml").write_text("workers = 7")
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SHARDSERVE_THREADS", "7")
        monkeypatch.setenv("PORT", "7")
        assert from_options({}) == Config()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"wokers": 1}, "run(): there is no option 'wokers'; did you mean workers?"),
            ({"host": "::"}, "run(): there is no option 'host'; did you mean bind?"),
            ({"workers": "x"}, "run(): workers: 'x' is neither a whole number nor \"auto\""),
            ({"workers": None}, 'run(): workers: None is neither a whole number nor "auto"'),
        ],
    )
    def test_what_is_wrong_is_named(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            from_options(options)
        assert str(caught.value) == message

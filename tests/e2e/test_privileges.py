"""--user, --group and --umask: workers drop to them, the supervisor stays what it was."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import stat
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.proc import status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server

    Serve = Callable[..., Server]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

# As a login shell of root would start it; a container has no supplementary groups to begin with.
START_WITH_GROUPS = """
import os, runpy
os.setgroups([0, 4])
runpy.run_module("shardserve", run_name="__main__")
"""


def ids(pid: int, what: str) -> set[int]:
    """Real, effective, saved and file-system "Uid" or "Gid" of a process."""
    return set(map(int, status(pid)[what].split()))


def test_workers_run_as_the_user_and_the_supervisor_stays_root(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2", "--user", "nobody")
    nobody = pwd.getpwnam("nobody")
    for reload in (False, True):
        if reload:
            server.signal(signal.SIGHUP)
            server.wait_for("reload complete")
        assert ids(server.pid, "Uid") == {0}
        for pid in server.workers():
            assert ids(pid, "Uid") == {nobody.pw_uid}
            assert ids(pid, "Gid") == {nobody.pw_gid}
            assert set(map(int, status(pid)["Groups"].split())) <= {nobody.pw_gid}
    assert server.get_json()["generation"] == 2


def test_the_group_may_be_another(serve: Serve) -> None:
    group = grp.getgrnam("daemon")
    server = serve("probe:asgi", "--workers", "1", "--user", "nobody", "--group", "daemon")
    (pid,) = server.workers()
    assert ids(pid, "Gid") == {group.gr_gid}
    assert 0 not in map(int, status(pid)["Groups"].split())


@pytest.mark.parametrize("options", [("--user", "54321", "--group", "54321"), ("--group", "daemon")])
def test_a_worker_that_drops_keeps_no_group_of_root(serve: Serve, options: tuple[str, ...]) -> None:
    server = serve("probe:asgi", "--workers", "1", *options, launcher=("-c", START_WITH_GROUPS))
    (pid,) = server.workers()
    assert 0 not in ids(pid, "Gid")
    assert 0 not in map(int, status(pid)["Groups"].split())


def test_the_umask_is_the_workers(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2", "--umask", "027")
    assert {status(pid)["Umask"] for pid in server.workers()} == {"0027"}


def test_a_unix_socket_belongs_to_the_user_and_obeys_the_umask(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = serve("probe:asgi", "--workers", "1", "--user", "nobody", "--umask", "007", bind=f"unix:{path}")
    found = path.stat()
    nobody = pwd.getpwnam("nobody")
    assert (found.st_uid, found.st_gid) == (nobody.pw_uid, nobody.pw_gid)
    assert stat.S_IMODE(found.st_mode) == 0o770
    with Load(str(path), clients=1, requests=1) as load:
        assert load.finish().ok == 1
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    assert not path.exists()


def test_ports_below_1024_are_bound_before_the_drop(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "1", "--user", "nobody", bind="127.0.0.83:83")
    assert "listening on http://127.0.0.83:83" in server.log


def test_a_user_without_an_account_needs_a_group(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "1", "--user", "54321", ready=False)
    assert server.exit_code() == 2
    assert "54321 has no account to take a group from; give --group as well" in server.log

"""`--preload`: one process imports the application, workers are forked from it and share its memory."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.load import Load
from support.proc import SEQPACKET, alive, eventually, own_listener, status, tcp_listeners, unix_sockets
from support.site import SERVES, Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    Serve = Callable[..., Server]

SAYS = "import os\nos.write(1, b'importing\\n')\n"
BROKEN = "raise RuntimeError('version 2 is broken')\n"
SLOW = "import time\ntime.sleep(60)\n"
# 50 MB of objects, each of which the garbage collector knows.
LARGE = "data = [[number] for number in range(500_000)]\n"


def template(server: Server, generation: int = 1) -> int:
    """The pid of the template of a generation, once it is ready."""
    return int(server.wait_for(f"template \\d+ of generation {generation} is ready").split("template ")[1].split()[0])


def serving(server: Server) -> list[int]:
    """The workers that have become ready and are alive."""
    return [pid for pid in map(int, re.findall(r"worker (\d+) serves", server.log)) if alive(pid)]


def memory(pid: int, what: str) -> int:
    """A line of /proc/PID/smaps_rollup, in octets."""
    found = re.search(rf"^{what}: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def test_workers_share_what_the_application_has_imported(site: Site) -> None:
    collects = SERVES.replace('if scope["type"]', 'import gc; gc.collect()\n        if scope["type"]')
    site.write(LARGE, collects)
    server = site.serve("app:app", "--workers", "4", "--preload")
    with Load(server.port, clients=8, requests=200) as load:
        assert len(load.finish().pids) == 4
    workers = serving(server)
    resident = min(memory(pid, "Rss") for pid in workers)
    shared = sum(memory(pid, "Pss") for pid in (template(server), *workers))
    assert resident > 50_000_000
    assert shared < 2 * resident, [memory(pid, "Pss") for pid in workers]


def test_a_reload_takes_new_code_and_a_broken_one_changes_nothing(site: Site) -> None:
    site.write(SAYS, SERVES)
    server = site.serve("app:app", "--workers", "3", "--preload")
    first, before = template(server), serving(server)
    with Load(server.port, clients=16) as load:
        load.wait_for(100)
        site.write(BROKEN)
        server.signal(signal.SIGHUP)
        server.wait_for("generation 1 goes on serving")
        assert "reload failed: generation 2 did not start on shard 0" in server.log
        assert "RuntimeError: version 2 is broken" in server.log
        assert server.log.count("Traceback") == 1, server.log
        load.wait_for(100)
        assert serving(server) == before
        assert alive(first)

        site.write(SERVES.replace('"pid"', '"new": "code", "pid"'))
        server.signal(signal.SIGHUP)
        server.wait_for("reload complete: generation 3 serves")
        load.wait_for(100)
        tally = load.stop()
    assert not tally.lost, tally
    assert server.get_json()["new"] == "code"
    assert server.log.count("importing") == 1
    eventually("the old generation is gone", lambda: not any(map(alive, [first, *before])))
    assert alive(template(server, 3))


def test_a_worker_that_dies_is_forked_again_without_an_import(site: Site) -> None:
    site.write(SAYS, SERVES)
    server = site.serve("app:app", "--workers", "2", "--preload")
    site.write(BROKEN)
    os.kill(serving(server)[0], signal.SIGKILL)
    server.wait_for("serves .ready", count=3)
    assert len(serving(server)) == 2, server.log
    assert server.log.count("importing") == 1
    assert server.get_json()["generation"] == 1


def test_a_worker_may_serve_before_its_template_has_said_its_pid(site: Site) -> None:
    held = """
        import os, time

        template = os.getpid()

        def hold():
            while os.getpid() == template and not os.path.exists("go"):
                time.sleep(0.01)

        os.register_at_fork(after_in_parent=hold)
        """
    site.write(held, SERVES)
    server = site.serve("app:app", "--workers", "1", "--preload", ready=False)
    server.port = int(server.wait_for("listening on").partition("127.0.0.1:")[2].split()[0])
    answer = server.get_json()  # it serves, so it has said that it is ready
    site.write("", name="go")
    server.ready()
    assert serving(server) == [answer["pid"]], server.log


def test_a_template_that_dies_is_made_again_when_it_is_needed(site: Site) -> None:
    site.write(SAYS, SERVES)
    server = site.serve("app:app", "--workers", "2", "--preload")
    before = serving(server)
    os.kill(template(server), signal.SIGKILL)
    server.wait_for("template .* died .SIGKILL.; the next worker's start makes a new one")
    assert serving(server) == before
    server.signal(signal.SIGTTIN)
    server.wait_for("serves .ready", count=3)
    assert server.log.count("importing") == 2
    server.signal(signal.SIGTTOU)
    eventually("there are two workers again", lambda: len(serving(server)) == 2)
    assert server.get_json()["generation"] == 1


def test_a_template_that_is_killed_while_it_imports_is_tried_again(site: Site) -> None:
    site.write(SERVES)
    server = site.serve("app:app", "--workers", "1", "--preload")
    site.write(SAYS, SLOW)
    server.signal(signal.SIGHUP)
    server.wait_for("importing")
    os.kill(max(server.workers()), signal.SIGKILL)
    server.wait_for("reload failed: generation 2 .* its template died .SIGKILL.")
    site.write(SERVES)
    server.signal(signal.SIGHUP)
    server.wait_for("reload complete: generation 3 serves")


def test_recycling_under_load_loses_nothing(serve: Serve) -> None:
    server = serve("probe:wsgi", "--workers", "2", "--preload", "--max-requests", "100")
    with Load(server.port, clients=16, requests=6000) as load:
        server.wait_for(r"has begun \d+ requests \(--max-requests\) and is replaced", count=2)
        tally = load.finish()
    assert tally.ok == 6000, tally
    assert len(tally.pids) > 2
    assert "died" not in server.log


@pytest.mark.parametrize("source", [SERVES, SLOW], ids=["serving", "importing"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_leaves_nothing_behind(site: Site, source: str, number: signal.Signals) -> None:
    site.write(SAYS, source)
    server = site.serve("app:app", "--workers", "2", "--preload", ready=source == SERVES)
    server.wait_for("importing")
    server.signal(number)
    assert server.exit_code(5) == (0 if number == signal.SIGTERM else -number)
    eventually("all processes have ended", lambda: not server.workers_left(), 5)


@pytest.mark.parametrize(
    ("app", "source", "code", "said"),
    [
        ("app:app", BROKEN, 3, "RuntimeError: version 2 is broken"),
        ("app:nothing", SERVES, 4, "has no attribute 'nothing'"),
        ("app:app", SLOW, 3, "not ready within the boot timeout of 1 s"),
    ],
)
def test_an_application_that_cannot_be_imported_ends_the_start(
    site: Site, app: str, source: str, code: int, said: str
) -> None:
    site.write(source)
    server = site.serve(app, "--workers", "2", "--preload", "--boot-timeout", "1", ready=False)
    assert server.exit_code(10) == code
    assert said in server.log
    assert server.log.count("Error:") <= 2


def test_what_the_import_starts_and_registers(site: Site) -> None:
    """Threads are named, what is forked has no listener, hooks run in the workers."""
    site.write(
        """
        import multiprocessing, os, threading, time

        threading.Thread(target=time.sleep, args=(60,), name="from the import", daemon=True).start()
        forked = []
        os.register_at_fork(after_in_child=lambda: forked.append(os.getpid()))
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
        child.start()
        print("child", child.pid, flush=True)
        """,
        SERVES.replace('"pid": os.getpid()', '"pid": os.getpid(), "forked": forked[-1]'),
    )
    server = site.serve("app:app", "--workers", "2", "--preload")
    assert "started threads while it was imported, which workers do not have: from the import" in server.log
    answer = server.get_json()
    assert answer["forked"] == answer["pid"]
    child = int(server.wait_for(r"^child \d+$").split()[1])
    for pid in (child, template(server)):
        assert not tcp_listeners(pid, server.port)
        assert len(unix_sockets(pid, SEQPACKET)) == (pid != child)
    assert len({own_listener(pid, server.port) for pid in serving(server)}) == 2
    os.kill(serving(server)[0], signal.SIGTERM)
    server.wait_for("serves .ready", count=3)
    eventually("two workers are left", lambda: len(serving(server)) == 2)
    assert alive(child)
    server.signal(signal.SIGHUP)
    eventually("the child has ended", lambda: not alive(child))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_application_is_imported_without_the_privileges(serve: Serve, tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own are for root alone
    folder.chmod(0o755)
    site = Site(folder, serve)
    site.write("import os\nos.write(1, b'importing as %d\\n' % os.getuid())\n", SERVES)
    log = tmp_path / "access.log"
    server = site.serve("app:app", "--workers", "2", "--preload", "--user", "nobody", "--access-logfile", str(log))
    nobody = pwd.getpwnam("nobody").pw_uid
    assert f"importing as {nobody}" in server.log
    for pid in (template(server), *serving(server)):
        assert set(map(int, status(pid)["Uid"].split())) == {nobody}
    server.get_json()
    eventually("the request is in the access log", lambda: "GET / " in log.read_text())
    shutil.rmtree(folder)


def test_what_a_worker_leaves_behind_is_collected(site: Site) -> None:
    site.write(
        """
        import os

        def leave():
            if os.fork() == 0:
                if os.fork() == 0:
                    os._exit(0)
                os._exit(0)
            os.wait()
        """,
        SERVES.replace('if scope["type"]', 'leave()\n        if scope["type"]'),
    )
    server = site.serve("app:app", "--workers", "1", "--preload", "--lifespan", "off")
    for _ in range(5):
        server.get_json()
    expected = {template(server), *serving(server)}
    eventually("nothing waits to be collected", lambda: set(server.workers()) == expected)


def test_a_changed_file_is_served_with_reload(site: Site) -> None:
    pytest.importorskip("watchfiles", reason="--reload needs it: pip install 'shardserve[reload]'")
    site.write(SERVES)
    server = site.serve("app:app", "--workers", "1", "--preload", "--reload")
    while "changed: " not in server.log:  # the watcher may still be starting
        site.write(SERVES.replace('"pid"', '"new": "code", "pid"'))
        server.pause()
    server.wait_for(r"reload complete: generation \d")
    assert server.get_json()["new"] == "code"


def test_without_workers_it_means_nothing(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "0", "--preload")
    assert "--preload is for workers" in server.log
    assert server.get_json()["pid"] == server.pid

"""A worker as a process of its own: from the fork to its exit code. Everything process-wide about a worker is here."""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import grp
import os
import pwd
import resource
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from shardserve.errors import EXIT_OK, AppError, ConfigError, ShardserveError
from shardserve.gateway.loader import load
from shardserve.logs import log
from shardserve.net.listener import Listener
from shardserve.worker.channel import Channel, failure
from shardserve.worker.forks import Forks
from shardserve.worker.loop import new_loop
from shardserve.worker.orphan import die_with, let_go_with
from shardserve.worker.stacks import show_tasks_on_signal
from shardserve.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.config.settings import Config
    from shardserve.gateway.loader import LoadedApp
    from shardserve.worker.listening import Listening
    from shardserve.worker.place import Place

# Signals that may reach a whole process group. A worker is commanded over its channel instead, so that Ctrl-C or a
# service manager's stop is one stop: these do nothing, and TERM asks the supervisor for a replacement.
_GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_OPEN_FILES_MAX = 1 << 20
_SUPERVISOR_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH)


def run_worker(config: Config, place: Place, channel: Channel, parent: int, loaded: LoadedApp | None = None) -> int:
    """Be a worker process, whose parent is the process `parent`; returns its exit code.

    What went wrong at boot is also said on the channel. `loaded` is the application where a template has imported it,
    without the privileges, and has forked this process.
    """
    take_signals()
    try:
        if loaded is None:
            drop_privileges(config)
        die_with(parent)
        loop = new_loop(config.loop)
        forks = Forks(place, channel)
        asyncio.set_event_loop(loop)  # for applications that ask for the loop while they are imported
        loaded = loaded or load(config)
        ignore_group_signals()  # again: the application may have taken them over
        show_tasks_on_signal(loop)
        worker = Worker(config, place, loaded, loop, channel.send)
        forks.worker = worker
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            let_go = partial(worker.listening.let_go, forks.null)
            runner.run(_live(worker, channel, lambda: let_go_with(parent, let_go, config.graceful_timeout)))
    except ShardserveError as error:
        trace = error.trace if isinstance(error, AppError) else ""
        channel.send(failure(str(error), trace, error.exit_code))
        return error.exit_code
    return EXIT_OK


def take_signals() -> None:
    """Set the handlers of a process that the supervisor commands over a channel, be it a worker or a template."""
    ignore_group_signals()
    for number in _SUPERVISOR_SIGNALS:
        signal.signal(number, _ignore)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.stderr is not None:  # closed when the process began
        faulthandler.enable()  # a crash in C, and the SIGABRT of a hang, leave the stacks of all threads in the log


def ignore_group_signals() -> None:
    """Have the signals that may reach the whole process group do nothing."""
    for number in _GROUP_SIGNALS:
        # A function, not SIG_IGN: that would be inherited by what the application starts.
        signal.signal(number, _ignore)


def drop_privileges(config: Config) -> None:
    """Become the configured user and group, with their supplementary groups, and set the umask. Raises ConfigError."""
    if config.umask is not None:
        os.umask(config.umask)
    uid, gid, name = find_owner(config)
    try:
        if gid != -1:
            # Root's supplementary groups must not stay: they may open what the user may not.
            if os.geteuid() == 0 and name:
                os.initgroups(name, gid)
            elif os.geteuid() == 0:
                os.setgroups([gid])
            os.setgid(gid)
        if uid != -1:
            os.setuid(uid)
    except PermissionError:
        raise ConfigError("--user, --group: only root can change to another user or group") from None


def find_owner(config: Config) -> tuple[int, int, str]:
    """The configured (uid, gid, user name); -1 and "" where not configured. Raises ConfigError for unknown names."""
    uid, gid, name = -1, -1, ""
    try:
        if config.user is not None:
            user = pwd.getpwuid(int(config.user)) if config.user.isdecimal() else pwd.getpwnam(config.user)
            uid, gid, name = user.pw_uid, user.pw_gid, user.pw_name
    except KeyError:
        if not (config.user or "").isdecimal():
            raise ConfigError(f"--user: there is no user {config.user!r}") from None
        uid = int(config.user or "")
    try:
        if config.group is not None:
            gid = int(config.group) if config.group.isdecimal() else grp.getgrnam(config.group).gr_gid
    except KeyError:
        raise ConfigError(f"--group: there is no group {config.group!r}") from None
    if uid != -1 and gid == -1:
        raise ConfigError(f"--user: {config.user} has no account to take a group from; give --group as well")
    return uid, gid, name


def write_pidfile(path: str | None) -> None:
    """Write this process's id to a file, if one is wanted; a failure is logged."""
    if path:
        try:
            Path(path).write_text(f"{os.getpid()}\n")
        except OSError as error:
            log.error("cannot write the pid file %s: %s", path, error.strerror)


def remove_pidfile(path: str | None) -> None:
    """Remove the pid file, if there is one."""
    if path:
        Path(path).unlink(missing_ok=True)


def raise_open_file_limit() -> None:
    """Raise the soft limit on open files to the hard one: each connection is a descriptor (getrlimit(2)).

    Not above a million: an unlimited hard limit makes programs that close "all" descriptors spin.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, _OPEN_FILES_MAX) if hard != resource.RLIM_INFINITY else _OPEN_FILES_MAX
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _live(worker: Worker, channel: Channel, outlive: Callable[[], None]) -> None:
    """Serve and obey; `outlive` has the end of the supervisor be survived, once there is something to finish."""
    loop = asyncio.get_running_loop()

    def obey() -> None:
        messages = channel.receive()
        if messages is None:
            loop.remove_reader(channel.fileno())
            log.warning("the supervisor is gone; this worker answers what it has accepted and leaves")
            worker.leave("stop")
            return
        for message in messages:
            command = message["command"]
            if "cut" in message:
                _refuse(message, channel)
            elif command in ("adopt", "inherit", "listen", "meet"):
                _take_sockets(message, worker.listening)
            elif command == "part":
                worker.listening.part(message["inodes"])
            elif command == "close":
                worker.service.close_all()
            elif command == "log":
                worker.log_to(message["descriptors"][0])
            elif command == "release":
                worker.listening.release(message["shard"])
            else:
                worker.leave(command)

    loop.add_reader(channel.fileno(), obey)
    loop.add_signal_handler(signal.SIGTERM, channel.send, {"retire": "got SIGTERM"})
    if not await worker.start():
        return
    outlive()
    channel.send({"ready": True, "interface": worker.interface})
    await worker.serve_until_left()


def _take_sockets(message: dict[str, Any], listening: Listening) -> None:
    """Obey a command that comes with sockets."""
    command, sockets = message["command"], [socket.socket(fileno=one) for one in message["descriptors"]]
    if command == "adopt":
        listening.adopt(message["shard"], sockets)
    elif command == "inherit":
        listening.inherit(sockets)
    elif command == "listen":
        listening.add([Listener(sock, sharded) for sock, sharded in zip(sockets, message["sharded"], strict=True)])
    else:
        listening.meet(message["shard"], sockets[0])


def _refuse(message: dict[str, Any], channel: Channel) -> None:
    """A message whose descriptors this process has no room for."""
    log.error("cannot obey the supervisor (%s): no descriptor left; raise the open-file limit", message["command"])
    if message["command"] == "adopt":
        channel.send({"refused": message["shard"]})


def _ignore(number: int, frame: object) -> None:
    """Handle a signal by doing nothing."""


def end_process(code: int) -> NoReturn:
    """Leave a forked process: run the application's own atexit functions, but unwind nothing of the parent's."""
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 the public way, sys.exit, would run through the supervisor's own frames
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # it was closed when the process began
                stream.flush()
    finally:
        os._exit(code)

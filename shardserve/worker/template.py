"""A template: the process of `--preload` that has imported the application, and forks the workers of its generation.

It serves nobody, has no loop and no listener. What it forks becomes a child of the supervisor (docs/decisions/0015).
"""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shardserve.errors import EXIT_OK, AppError, ShardserveError
from shardserve.gateway.loader import load
from shardserve.logs import log
from shardserve.worker.channel import Channel, failure
from shardserve.worker.forks import Forks
from shardserve.worker.orphan import die_with, let_go_with
from shardserve.worker.place import unpack
from shardserve.worker.process import drop_privileges, end_process, ignore_group_signals, run_worker, take_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.config.settings import Config
    from shardserve.gateway.loader import LoadedApp
    from shardserve.worker.place import Shared


def run_template(config: Config, shared: Shared, channel: Channel, supervisor: int) -> int:
    """Be a template, just forked by the process `supervisor`, until the channel ends; returns the exit code.

    What went wrong at the import is also said on the channel.
    """
    take_signals()
    try:
        drop_privileges(config)
        die_with(supervisor)
        Forks(None, channel)
        loaded = load(config)
    except ShardserveError as error:
        trace = error.trace if isinstance(error, AppError) else ""
        channel.send(failure(str(error), trace, error.exit_code))
        return error.exit_code
    ignore_group_signals()  # again: the application may have taken them over
    _warn_of_threads()
    let_go_with(supervisor, _leave_at_the_end_of_the_channel, 0)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.flush()  # or each worker would write what has not been written yet
    gc.collect()
    gc.freeze()
    channel.send({"ready": True})
    while True:
        select.select((channel,), (), ())
        request = channel.take()
        if request is None:
            return EXIT_OK
        channel.send(_answer(request, config, shared, loaded, channel, supervisor))


def _answer(
    request: dict[str, Any], config: Config, shared: Shared, loaded: LoadedApp, own: Channel, supervisor: int
) -> dict[str, Any]:
    """Fork the worker that is asked for; returns what to tell the supervisor."""
    channel = Channel(socket.socket(fileno=request["descriptors"][0]))

    def run() -> int:
        own.close()  # a blank one by now: forks.py
        if (processes := sys.modules.get("multiprocessing.process")) is not None:
            processes._children.clear()  # noqa: SLF001 or this process would end and wait for the template's children
        message = channel.take()
        return run_worker(config, unpack(message, shared), channel, supervisor, loaded) if message is not None else 1

    try:
        return {"forked": _fork(run), "number": request["fork"]}
    except OSError as error:
        return {"forked": 0, "number": request["fork"], "error": error.strerror or str(error)}
    finally:
        channel.close()


def _fork(run: Callable[[], int]) -> int:
    """Fork a process that becomes the nearest subreaper's child before it runs; returns its pid. Raises OSError."""
    template = os.getpid()
    reading, writing = os.pipe()
    try:
        between = os.fork()
        if between == 0:
            try:
                die_with(template)  # should a hook of the application's get stuck
                os.close(reading)
                _fork_and_end(run, writing)
            finally:
                os._exit(1)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    number = int(os.read(reading, 32) or 0)
    os.close(reading)
    with suppress(ChildProcessError):  # the application ignores SIGCHLD
        os.waitpid(between, 0)
    if number <= 0:
        raise OSError(-number, os.strerror(-number) if number else "the process between has been killed")
    return number


def _fork_and_end(run: Callable[[], int], writing: int) -> None:
    """In the process between: fork the worker, write its pid (or the negative error number), end."""
    ended = os.pidfd_open(os.getpid())
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or errno.EAGAIN)
    if pid == 0:
        code = 1
        try:
            os.close(writing)
            # The kernel gives a process its new parent before its old one has ended (kernel/exit.c, exit_notify).
            select.select((ended,), (), ())
            os.close(ended)
            code = run()
        except BaseException:  # the last frame of the process: whatever comes here ends it, and is shown
            traceback.print_exc()
        finally:
            end_process(code)
    os.write(writing, b"%d" % pid)
    os._exit(0)


def _warn_of_threads() -> None:
    """Name the threads that the import has started: no worker has them (fork(2))."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:
        log.warning(
            "--preload: the application has started threads while it was imported, which workers do not have: %s",
            ", ".join(others),
        )


def _leave_at_the_end_of_the_channel() -> None:
    """Called when the supervisor has been killed: the channel's end says so too, and is waited for."""

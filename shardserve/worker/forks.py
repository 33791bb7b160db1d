"""What the application forks: its children hold neither listeners nor clients' sockets nor the supervisor's channel.

Close-on-exec does not reach a plain fork (multiprocessing's, os.fork): a child that lives on would keep a listener in
its group with nobody accepting, and a client's stream open after the worker has closed it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from shardserve.net.closing import blank

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shardserve.worker.channel import Channel
    from shardserve.worker.place import Place
    from shardserve.worker.worker import Worker


class Forks:
    """From its making on, a child that this process forks through Python loses what is the worker's alone.

    `worker` is set once there is one; `null` is a descriptor of /dev/null. For processes that are workers: a hook
    cannot be taken back, and runs on whatever thread forks (os.register_at_fork).
    """

    def __init__(self, place: Place | None, channel: Channel) -> None:
        """`place` is None for a template, which has nothing but its channel."""
        self.worker: Worker | None = None
        self._place = place
        self._channel = channel
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # now: a child may find no descriptor free
        self._is_child = False
        self._mask = threading.local()  # of signals, before the fork of a thread
        os.register_at_fork(before=self._hold, after_in_parent=self._note, after_in_child=self._strip)

    def _hold(self) -> None:
        # A signal to a child that has not come to _strip would go to the worker instead.
        self._mask.old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _note(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask.old)
        if self.worker is not None:
            self.worker.service.forked = True

    def _descriptors(self) -> Iterator[int]:
        yield self._channel.fileno()
        if self.worker is not None:
            yield from self.worker.listening.descriptors()
        elif self._place is not None:
            yield from (listener.socket.fileno() for listener in self._place.listeners)
            if (siblings := self._place.siblings) is not None:
                yield from (end.fileno() for end in (siblings.reading, *siblings.writing))

    def _strip(self) -> None:
        if not self._is_child:  # in a child's child the numbers may mean something else by now
            self._is_child = True
            self._let_go()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask.old)

    def _let_go(self) -> None:
        for descriptor in set(self._descriptors()):
            blank(descriptor, self.null)
        # The loop's wake-up pipe is shared: a signal to the child would be taken for one to the worker. And TERM has
        # to end the child, as multiprocessing's terminate() means it to.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def has_children() -> bool:
    """Whether this process has children now, however they were made: C code forks without Python's hooks."""
    if sys.platform != "linux":
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True

"""What a worker's tasks wait for, in the log: asked for by the supervisor before it aborts a worker that hangs.

faulthandler shows threads, and so only the task that runs. This is Python, and works only while byte code runs.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import traceback
from typing import TYPE_CHECKING, Any

from shardserve.logs import log

if TYPE_CHECKING:
    from types import FrameType

SHOW_TASKS = signal.SIGURG  # ignored by default, and of no use to those who do not send urgent data
_TASKS_MAX = 50
_FRAMES_MAX = 12  # of each task, the innermost
_DEPTH_MAX = 200  # awaitables that are followed to find them


def show_tasks_on_signal(loop: asyncio.AbstractEventLoop) -> None:
    """From now on SHOW_TASKS logs the stacks of the loop's tasks. Call it on the main thread."""

    def handle(_: int, frame: FrameType | None) -> None:
        try:
            _show_tasks(loop, frame)
        except Exception:  # it must not come out of whatever code it has interrupted
            log.exception("cannot show the tasks")

    signal.signal(SHOW_TASKS, handle)


def _show_tasks(loop: asyncio.AbstractEventLoop, frame: FrameType | None) -> None:
    running = asyncio.current_task(loop)
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task is not running)
    log.error("its loop has %d tasks%s", len(tasks), f", {_TASKS_MAX} are shown" if len(tasks) > _TASKS_MAX else "")
    for task in tasks[:_TASKS_MAX]:
        frames = list(traceback.extract_stack(frame)) if task is running else _awaited(task.get_coro())
        what = "runs" if task is running else "waits"
        log.error("task %s %s:\n%s", task.get_name(), what, "".join(traceback.format_list(frames[-_FRAMES_MAX:])))


def _awaited(awaitable: Any) -> list[traceback.FrameSummary]:
    """The frames of a suspended coroutine, and of the coroutines and generators that it awaits, outermost first."""
    frames: list[traceback.FrameSummary] = []
    for _ in range(_DEPTH_MAX):
        if awaitable is None:
            break
        for prefix, link in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            if hasattr(awaitable, f"{prefix}_frame"):
                frame = getattr(awaitable, f"{prefix}_frame")
                if frame is not None:  # it has not ended
                    code = frame.f_code
                    frames.append(traceback.FrameSummary(code.co_filename, frame.f_lineno, code.co_name))
                awaitable = getattr(awaitable, f"{prefix}_{link}")
                break
        else:  # what `async for` awaits does not name its generator, nor what a compiled coroutine awaits its coroutine
            followed = (
                one for one in gc.get_referents(awaitable) if hasattr(one, "ag_frame") or hasattr(one, "cr_frame")
            )
            awaitable = next(followed, None)
    return frames

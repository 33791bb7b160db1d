"""The lifespan protocol: what counts as unsupported, what fails the boot, and how the application is shut down."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest

from shardserve.errors import EXIT_APP, AppError
from shardserve.gateway.lifespan import Lifespan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MODES = ("auto", "on", "off")


class Recorder:
    """A well-behaved application that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.scope: dict[str, Any] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        while True:
            event = (await receive())["type"]
            self.events.append(event)
            if event == "lifespan.startup":
                scope["state"]["ready"] = True
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return


def live(app: Any, mode: str, state: dict[str, Any] | None = None, timeout: float = 5.0) -> list[dict[str, Any]]:
    """Start and shut down; return what the loop had to complain about."""
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        lifespan = Lifespan(app, mode, {} if state is None else state)
        await lifespan.startup()
        await lifespan.shutdown(timeout)

    try:
        asyncio.run(main())
    finally:
        gc.collect()
    return complaints


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_an_application_is_started_and_shut_down_once_and_fills_the_state(mode: str) -> None:
    app, state = Recorder(), {"from": "server"}
    assert live(app, mode, state) == []
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]
    assert state == {"from": "server", "ready": True}
    assert app.scope["type"] == "lifespan"
    assert app.scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert app.scope["state"] is state


def test_off_does_not_call_the_application() -> None:
    app = Recorder()
    assert live(app, "off") == []
    assert app.events == []
    assert app.scope == {}


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("unknown scope type")


async def ignore(scope: Any, receive: Any, send: Any) -> None:
    return


async def wait_then_refuse(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0)
    assert scope["type"] == "http"


async def exit_at_once(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


async def fail_after_asking(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise ValueError("no database")


async def leave_after_asking(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def say_failed(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def say_failed_and_raise(scope: Any, receive: Any, send: Any) -> None:
    await say_failed(scope, receive, send)
    raise ValueError("no database")


async def say_failed_without_reason(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed"})


async def answer_wrongly(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200})


@pytest.mark.parametrize("app", [refuse, ignore, wait_then_refuse, exit_at_once])
def test_in_auto_an_application_that_refuses_before_it_asks_is_taken_not_to_support_it(app: Any) -> None:
    assert live(app, "auto") == []


@pytest.mark.parametrize("app", [refuse, ignore, wait_then_refuse, exit_at_once])
def test_with_on_the_same_is_a_failed_boot(app: Any) -> None:
    with pytest.raises(AppError, match="--lifespan off") as caught:
        live(app, "on")
    assert caught.value.exit_code == EXIT_APP


@pytest.mark.parametrize("mode", ["auto", "on"])
@pytest.mark.parametrize(
    ("app", "words"),
    [
        (fail_after_asking, r"raised ValueError: no database"),
        (leave_after_asking, r"returned before its startup was complete"),
        (say_failed, r"startup failed: no database"),
        (say_failed_and_raise, r"startup failed: no database"),
        (say_failed_without_reason, r"startup failed: no reason given"),
        (answer_wrongly, r"http\.response\.start"),
    ],
)
def test_an_error_after_the_first_receive_fails_the_boot_in_either_mode(app: Any, words: str, mode: str) -> None:
    with pytest.raises(AppError, match=words):
        live(app, mode)


def test_the_error_comes_with_the_traceback_of_the_applications_code() -> None:
    with pytest.raises(AppError) as caught:
        live(fail_after_asking, "auto")
    assert "in fail_after_asking" in caught.value.trace
    assert "shardserve/gateway" not in caught.value.trace


@pytest.mark.parametrize("app", [fail_after_asking, say_failed, say_failed_and_raise, leave_after_asking])
def test_a_failed_boot_is_told_once_and_not_again_by_the_loop(app: Any) -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        lifespan = Lifespan(app, "auto", {})
        with pytest.raises(AppError):
            await lifespan.startup()
        del lifespan
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()

    asyncio.run(main())
    gc.collect()
    assert complaints == []


# Shutdown


def scripted(at_shutdown: Callable[[Any, Any], Awaitable[None]]) -> Any:
    """An application that starts, and then does something else at shutdown."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await at_shutdown(receive, send)

    return app


async def shut_down_failed(receive: Any, send: Any) -> None:
    await send({"type": "lifespan.shutdown.failed", "message": "still busy"})


async def shut_down_raising(receive: Any, send: Any) -> None:
    raise ValueError("still busy")


async def shut_down_never(receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


async def shut_down_stubbornly(receive: Any, send: Any) -> None:
    await send({"type": "lifespan.shutdown.complete"})
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("at_shutdown", "timeout", "words"),
    [
        (shut_down_failed, 10.0, "shutdown failed: still busy"),
        (shut_down_raising, 10.0, "ValueError: still busy"),
        (shut_down_never, 0.01, "more than 0.01 s and was cancelled"),
        (shut_down_stubbornly, 0.01, "more than 0.01 s and was cancelled"),
    ],
)
def test_what_goes_wrong_at_shutdown_is_logged_and_holds_nothing_up(
    at_shutdown: Any, timeout: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert live(scripted(at_shutdown), "auto", timeout=timeout) == []
    assert words in caplog.text


def test_an_application_that_returns_after_its_startup_is_not_asked_to_shut_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    assert live(app, "on") == []
    assert caplog.text == ""


def test_an_application_that_fails_after_its_startup_is_logged_at_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ValueError("fell over")

    assert live(app, "on") == []
    assert "ValueError: fell over" in caplog.text


def test_shutdown_without_support_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert live(refuse, "auto") == []
    assert caplog.text == ""


def test_an_application_may_start_without_asking() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    assert live(app, "auto") == []

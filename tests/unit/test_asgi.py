"""What an ASGI application is given, and how `receive` and `send` behave (asgiref, HTTP connection scope)."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from support.wire import NEXT, Driver, Puppet, body, hello, request, start

from shardserve.errors import ClientDisconnected


def scope_of(parser: str, octets: bytes, **settings: Any) -> dict[str, Any]:
    puppet = Puppet()
    with Driver.asgi(puppet, parser, **settings) as wire:
        wire.feed(octets)
        scope: dict[str, Any] = puppet.call.scope
        return scope


def test_the_scope_is_that_of_the_specification(parser: str) -> None:
    octets = request(b"/a%20b/%C3%A9?c=%20d", b"X-A: b", b"x-a: c", method=b"PUT")
    assert scope_of(parser, octets) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "PUT",
        "scheme": "http",
        "path": "/a b/é",
        "raw_path": b"/a%20b/%C3%A9",
        "query_string": b"c=%20d",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"x-a", b"b"), (b"x-a", b"c")],
        "client": ("127.0.0.1", 50123),
        "server": ("127.0.0.1", 8000),
        "state": {},
        "extensions": {
            "http.response.pathsend": {},
            "http.response.zerocopysend": {},
            "http.response.trailers": {},
            "http.response.early_hint": {},
            "test": {},
        },
    }


@pytest.mark.parametrize(("version", "said"), [(b"1.0", "1.0"), (b"1.1", "1.1"), (b"1.5", "1.1")])
def test_the_scope_has_the_version_that_is_spoken(parser: str, version: bytes, said: str) -> None:
    assert scope_of(parser, request(version=version))["http_version"] == said


@pytest.mark.parametrize(
    ("target", "path", "raw", "query"),
    [
        (b"/%zz%", "/%zz%", b"/%zz%", b""),
        (b"/%ff", "/\ufffd", b"/%ff", b""),
        (b"/%2F%2e", "//.", b"/%2F%2e", b""),
        (b"//a/../b", "//a/../b", b"//a/../b", b""),
        (b"/a?b?c", "/a", b"/a", b"b?c"),
        (b"http://b/c?d", "/c", b"/c", b"d"),
        (b"http://b", "/", b"/", b""),
    ],
)
def test_the_path_is_decoded_and_the_raw_path_is_not(
    parser: str, target: bytes, path: str, raw: bytes, query: bytes
) -> None:
    scope = scope_of(parser, request(target))
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw, query)


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"/a", "/app/a"), (b"/app/a", "/app/a"), (b"/app", "/app"), (b"/apples", "/app/apples"), (b"/", "/app/")],
)
def test_the_path_begins_with_the_root_path(parser: str, target: bytes, path: str) -> None:
    scope = scope_of(parser, request(target), root_path="/app")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/app", path, target)


def test_the_asterisk_of_options_is_no_path_below_the_root_path(parser: str) -> None:
    assert scope_of(parser, request(b"*", method=b"OPTIONS"))["path"] == "*"
    assert scope_of(parser, request(b"*", method=b"OPTIONS"), root_path="/app")["path"] == "*"


def test_a_unix_peer_has_no_address_and_the_server_is_its_path(parser: str) -> None:
    scope = scope_of(parser, request(), peer="", server="/run/a.sock")
    assert (scope["client"], scope["server"]) == (None, ("/run/a.sock", None))


def test_an_ipv6_address_is_a_host_and_a_port(parser: str) -> None:
    scope = scope_of(parser, request(), peer=("::1", 5, 0, 0), server=("::1", 6, 0, 0))
    assert (scope["client"], scope["server"]) == (("::1", 5), ("::1", 6))


def test_a_trusted_proxy_says_who_the_client_is(parser: str) -> None:
    octets = request(b"/", b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https")
    trusted = scope_of(parser, octets, proxies=("127.0.0.1",))
    assert (trusted["client"], trusted["scheme"]) == (("1.2.3.4", 0), "https")
    stranger = scope_of(parser, octets, proxies=("10.0.0.1",))
    assert (stranger["client"], stranger["scheme"]) == (("127.0.0.1", 50123), "http")


def test_each_request_has_a_copy_of_the_lifespans_state(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        shared: list[int] = []
        wire.gateway.state["shared"] = shared
        wire.feed(request())
        puppet.call.scope["state"]["own"] = 1
        puppet.call.scope["state"]["shared"].append(1)
        wire.connect()
        wire.feed(request())
        assert puppet.call.scope["state"] == {"shared": [1]}
        assert wire.gateway.state == {"shared": [1]}


def test_headers_extensions_and_scope_are_each_requests_own(parser: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "mine" not in scope
        del scope["extensions"]["http.response.pathsend"]  # as middleware does that changes bodies
        assert len(scope["headers"]) == 1
        scope["mine"] = True
        scope["headers"].append((b"mine", b"1"))
        await hello(scope, receive, send)

    with Driver.asgi(app, parser) as wire:
        wire.feed(request() * 2)
        assert wire.statuses() == [200, 200]


# receive


def test_receive_waits_for_the_end_after_the_body_and_then_reports_the_disconnect(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        call = puppet.call
        first, waiting = wire.run(call.receive(), call.receive())
        assert first.result() == {"type": "http.request", "body": b"", "more_body": False}
        assert not waiting.done()
        wire.run(call.send(start()), call.send(body(b"ok")))
        assert waiting.result() == {"type": "http.disconnect"}
        (again,) = wire.run(call.receive())
        assert again.result() == {"type": "http.disconnect"}


@pytest.mark.parametrize("which", range(3))
def test_several_tasks_may_wait_in_receive_and_one_of_them_be_cancelled(parser: str, which: int) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 3", method=b"POST"))
        tasks = wire.run(*(puppet.call.receive() for _ in range(3)))
        cancelled = tasks.pop(which)
        wire.do(cancelled.cancel)
        assert cancelled.cancelled()
        assert not any(task.done() for task in tasks)
        wire.feed(b"a")
        assert [task.done() for task in tasks].count(True) == 1
        wire.feed(b"bc")
        assert sorted(task.result()["body"] for task in tasks) == [b"a", b"bc"]


def test_the_body_may_be_read_after_the_answer_has_begun(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 2", method=b"POST", data=b"a"))
        call = puppet.call
        wire.run(call.send(start()), call.send(body(b"x", more=True)))
        (task,) = wire.run(call.receive())
        assert task.result()["body"] == b"a"
        wire.feed(b"b")
        (task,) = wire.run(call.receive())
        assert task.result() == {"type": "http.request", "body": b"b", "more_body": False}
        wire.run(call.send(body()))
        assert wire.answer().body == b"x"
        assert not wire.closed


def test_a_body_that_nobody_reads_after_the_answer_is_not_kept(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request(b"/", b"Content-Length: 2", method=b"POST"))
        call = puppet.call
        wire.run(call.send(start()), call.send(body()))
        wire.feed(b"ab")
        (task,) = wire.run(call.receive())
        assert task.result() == {"type": "http.disconnect"}
        wire.feed(NEXT)
        assert len(puppet.calls) == 2


# send


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"a")],
        [start(), start()],
        [start(), body(), body()],
        [start(), body(b"a", more=True), start()],
        [{"type": "http.response.nonsense"}],
        [{"type": "websocket.accept"}],
        [start(), body(), {"type": "http.disconnect"}],
    ],
)
def test_a_message_out_of_turn_raises_and_the_client_is_still_answered(
    parser: str, messages: list[dict[str, Any]]
) -> None:
    errors: list[Exception] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages[:-1]:
            await send(message)
        try:
            await send(messages[-1])
        except RuntimeError as error:
            errors.append(error)
            raise

    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        assert len(errors) == 1
        assert len(wire.answers()) == 1


def test_an_incomplete_start_message_is_answered_500(parser: str) -> None:
    for message in ({"type": "http.response.start"}, {"type": "http.response.start", "status": 200, "headers": None}):
        puppet = Puppet()
        with Driver.asgi(puppet, parser) as wire:
            wire.feed(request())
            tasks = wire.run(puppet.call.send(message), puppet.call.send(body()))
            error = next(task.exception() for task in tasks if task.exception() is not None)
            wire.do(puppet.call.returns.set_exception, error)
            assert wire.statuses() == [500]


def test_sending_to_a_client_that_is_gone_raises_an_oserror(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        wire.reset()
        for message in (start(), body()):
            (task,) = wire.run(puppet.call.send(message))
            assert isinstance(task.exception(), ClientDisconnected)
            assert isinstance(task.exception(), OSError)


# The task


def test_a_cancelled_application_gives_a_500_and_its_task_is_cancelled(parser: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        assert wire.statuses() == [500]
        assert not wire.service.running


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), BaseException("odd")])
def test_no_exception_of_an_application_leaves_its_task(parser: str, error: BaseException) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    with Driver.asgi(app, parser) as wire:
        wire.feed(request() * 2)
        assert wire.statuses() == [500, 500]


def test_a_timeout_in_the_application_ends_its_waiting(parser: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            async with asyncio.timeout(0):
                await receive()
        except TimeoutError:
            await send(start())
            await send(body(b"timed out"))

    with Driver.asgi(app, parser) as wire:
        wire.feed(request()).until(lambda: wire.output)
        assert wire.answer().body == b"timed out"


def test_a_synchronous_callable_is_a_failure_and_not_the_end(parser: str) -> None:
    def app(scope: Any, receive: Any, send: Any) -> None:
        """Not a coroutine function."""

    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        assert wire.statuses() == [500]


def test_application_code_that_outlives_its_response_counts_as_running(parser: str) -> None:
    puppet = Puppet()
    with Driver.asgi(puppet, parser) as wire:
        wire.feed(request())
        call = puppet.call
        wire.run(call.send(start()), call.send(body()))
        assert len(wire.service.running) == 1
        wire.do(call.returns.set_result, None)
        assert not wire.service.running


def test_receive_and_send_that_are_kept_keep_no_task(parser: str) -> None:
    """Frameworks make cycles of their requests, with these in them: the task stayed until a collection."""
    kept: list[Any] = []

    def tasks() -> list[Any]:
        return [one for one in gc.get_referents(kept[0].__self__) if isinstance(one, asyncio.Future)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept.append(receive)
        await asyncio.sleep(0)
        assert tasks()
        await hello(scope, receive, send)

    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        wire.finish()
        assert wire.answer().status == 200
        assert not tasks()


def test_who_waits_in_receive_is_told_when_the_application_returns_without_a_response(parser: str) -> None:
    told: list[Any] = []
    others: list[asyncio.Task[None]] = []

    async def listen(receive: Any) -> None:
        told.append(await receive())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        others.append(asyncio.create_task(listen(receive)))
        await asyncio.sleep(0)

    with Driver.asgi(app, parser) as wire:
        wire.feed(request())
        assert wire.answer().status == 500
        wire.until(lambda: bool(told))
    assert told == [{"type": "http.disconnect"}]

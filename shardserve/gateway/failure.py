"""When the application fails in a request: a logged traceback of its own code, and a 500 or a cut response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardserve.errors import ClientDisconnected
from shardserve.gateway.loader import user_traceback
from shardserve.logs import log, printable

if TYPE_CHECKING:
    from shardserve.http.exchange import Exchange

_BODY = b"Internal Server Error\n"
_HEADERS = ((b"content-type", b"text/plain; charset=utf-8"),)


def answer_failure(exchange: Exchange, error: BaseException, sent: bool, *, quiet: bool = False) -> None:
    """Log `error` and end the response: with 500, or by cutting it where `sent` says that its head has left.

    `quiet` keeps the error out of the log. Runs on the loop.
    """
    if not quiet:
        log_failure(exchange, error)
    if exchange.gone:
        return
    if sent:
        exchange.wire.abort(exchange)
    else:
        exchange.wire.respond(exchange, 500, _HEADERS, _BODY, False)


def is_disconnect(error: BaseException | None) -> bool:
    """Whether an error comes from writing to a client that has left, also where a framework made its own of it."""
    while error is not None:
        if isinstance(error, ClientDisconnected):
            return True
        if isinstance(error, BaseExceptionGroup):
            return all(is_disconnect(inner) for inner in error.exceptions)
        error = error.__cause__ or error.__context__
    return False


def log_failure(exchange: Exchange, error: BaseException) -> None:
    """Log an error of the application with the request that met it. Runs on any thread."""
    request = exchange.request
    path = printable(request.path.decode("latin-1"))
    trace = user_traceback(error).rstrip() if error.__traceback__ is not None else str(error)
    log.error("%s %s: the application failed\n%s", request.method, path, trace)

"""Every exception shardserve raises, and every exit code: nothing else lives here, and this module imports nothing.

Exception
├── ShardserveError           ends the command with `exit_code` and its text, in one or two lines
│   ├── ConfigError           2  an option, environment variable or file is wrong
│   ├── AppError              3  the application raised (import, factory, lifespan) or missed the boot timeout
│   │   └── AppNotFound       4  module or attribute missing, or not an application
│   └── BindError             5  an address is taken or cannot be bound
├── ProtocolError             a request we refuse; answered with `status`, never logged as a fault of ours
├── FrameError                octets of a WebSocket client that break the rules; it is closed with `code`
└── ConnectionError, an OSError
    └── ClientDisconnected    the client has gone; raised to the application by ASGI `send()` (spec 2.4) and WSGI bodies
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_CONFIG = 2
EXIT_APP = 3
EXIT_APP_NOT_FOUND = 4
EXIT_BIND = 5


class ShardserveError(Exception):
    """A fault the user can mend: its text names the thing, the cause and the way out."""

    exit_code = 1


class ConfigError(ShardserveError):
    """A setting is wrong; the text begins with the setting and where its value came from."""

    exit_code = EXIT_CONFIG


class AppError(ShardserveError):
    """The application failed to load or to start. `trace` is the traceback of the user's own code, or ''."""

    exit_code = EXIT_APP

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


class AppNotFound(AppError):
    """What APP names does not exist or cannot be called."""

    exit_code = EXIT_APP_NOT_FOUND


class BindError(ShardserveError):
    """An address cannot be listened on."""

    exit_code = EXIT_BIND


class ProtocolError(Exception):
    """A request that is refused: `status` is the HTTP status to answer with, `reason` a few plain words.

    `headers` are fields that such an answer has to have, as (name, value).
    """

    def __init__(self, status: int, reason: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class FrameError(Exception):
    """A WebSocket connection that has to be failed (RFC 6455 section 7.1.7): with this close code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ClientDisconnected(ConnectionError):
    """The client left before the response was complete, or before the request body that the application reads was."""

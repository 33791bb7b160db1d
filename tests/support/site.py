"""A directory with an application that a test writes, and may rewrite while it is served."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import Server

# The least application that serves: answers with its process and generation, refuses the lifespan.
SERVES = """
    import json, os

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("http only")
        answer = {"pid": os.getpid(), "generation": scope["extensions"]["shardserve"]["generation"]}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
"""


class Site:
    """`site.write(source)` makes app.py, `site.serve("app:app")` serves it."""

    def __init__(self, folder: Path, serve: Callable[..., Server]) -> None:
        self.folder = folder
        self._serve = serve

    def write(self, *sources: str, name: str = "app.py") -> Path:
        """Make or replace a file: the sources, each dedented, one after another."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(map(textwrap.dedent, sources)))
        return path

    def serve(self, app: str, *options: str, **settings: object) -> Server:
        """Serve with the directory as the current one, as the `serve` fixture does."""
        # No byte code: two versions of one size within a second would share it.
        settings.setdefault("env", {"PYTHONDONTWRITEBYTECODE": "1"})
        return self._serve(app, *options, cwd=self.folder, **settings)

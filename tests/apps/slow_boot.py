"""Takes two seconds to import, but for the first four workers; says who it is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

_boots = Path(os.environ["BOOTS"])
with _boots.open("ab") as _file:
    _file.write(b".")
if _boots.stat().st_size > int(os.environ.get("QUICK", "4")):
    time.sleep(2)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise RuntimeError("http only")
    body = json.dumps({"pid": os.getpid(), "shard": scope["extensions"]["shardserve"]["shard"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

"""Start a server that is started from Python: python c_server.py bjoern|fastwsgi APP PORT"""

from __future__ import annotations

import importlib
import sys


def main(server: str, app: str, port: str) -> None:
    module, _, name = app.partition(":")
    called = getattr(importlib.import_module(module), name)
    importlib.import_module(server).run(called, "127.0.0.1", int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])

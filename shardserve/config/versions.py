"""Which versions are installed, without importlib.metadata: its email parser took 40 ms of each start."""

from __future__ import annotations

import os
import sys


def installed_version(name: str) -> str | None:
    """The version of a distribution, None if there is none.

    It is part of the name of the directory that an installer makes ("Recording installed projects", packaging guide).
    `name` is as that spells it: lower case, underscores.
    """
    for folder in sys.path:
        try:
            entries = os.listdir(folder or ".")
        except OSError:  # a zip file, or nothing
            continue
        for entry in entries:
            stem, suffix = os.path.splitext(entry)
            if suffix in (".dist-info", ".egg-info") and stem.lower().startswith(f"{name}-"):
                return stem.split("-")[1]
    return None

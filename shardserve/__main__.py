"""`python -m shardserve` and the console script: hands over to `cli`, no more."""

from __future__ import annotations

import sys
from typing import NoReturn

from shardserve import cli


def main() -> NoReturn:
    """Run the command and end the process with its exit code."""
    sys.exit(cli.main())


if __name__ == "__main__":
    main()

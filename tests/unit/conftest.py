"""Fixtures for the unit tests."""

from __future__ import annotations

import pytest
from support.wire import PARSERS


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> str:
    """Each parser by its name: what is true of a connection is true over both."""
    return str(request.param)

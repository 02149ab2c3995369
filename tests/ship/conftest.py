"""Fixtures of the shipper's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ship.rig import Driver


@pytest.fixture
def drivers() -> Iterator[list[Driver]]:
    """Sinks to be closed at the end."""
    made: list[Driver] = []
    yield made
    for driver in made:
        driver.sink.close()

"""A collector, and a device with a real agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.collector import Collector, Listener
from tests.e2e.harness import Device

CONFIG = """
[models."*"]
capture = "all"
[batch]
max_age = "1s"
[system]
enabled = false
[ship]
sink = "file"
drain_timeout = "30s"
"""


@pytest.fixture
def collector(short_tmp: Path) -> Iterator[Collector]:
    made = Collector(short_tmp)
    yield made
    made.stop()


@pytest.fixture
def listener(short_tmp: Path) -> Iterator[Listener]:
    made = Listener(short_tmp)
    yield made
    made.close()


@pytest.fixture
def device(short_tmp: Path) -> Iterator[Device]:
    """Not started."""
    with Device(short_tmp, CONFIG) as made:
        yield made

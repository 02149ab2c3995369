"""A device with a real agent that keeps every prediction, and a collector that shows each event as it came."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import edgemon

# Before Keras is imported by any test: its other backends are not installed.
os.environ.setdefault("KERAS_BACKEND", "torch")

from tests.client.collector import Collector
from tests.client.conftest import collector, device  # noqa: F401 (fixtures)


@pytest.fixture
def client(collector: Collector) -> Iterator[edgemon.Client]:  # noqa: F811 (a fixture)
    with edgemon.Client(collector.path) as made:
        yield made


@pytest.fixture
def nobody() -> Iterator[edgemon.Client]:
    """A client whose agent is not there: it takes events, and that is all."""
    made = edgemon.Client("/nowhere/ingest.sock")
    yield made
    made.close()

"""Fixtures of the tests with whole processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Receiver
from tests.servers import Mosquitto


@pytest.fixture
def receiver(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Receiver]:
    """One into SQLite, subscribed to that broker."""
    with Receiver(tmp_path, f"mqtt://127.0.0.1:{mosquitto.port}") as made:
        made.start()
        yield made

"""Fixtures of the ingest socket's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.harness import Harness


@pytest.fixture
def harness(short_tmp: Path) -> Iterator[Harness]:
    made = Harness(short_tmp)
    yield made
    made.close()

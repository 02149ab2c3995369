"""Fixtures of EdgeMonitor's tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitor.helpers import write_config


@pytest.fixture
def config(short_tmp: Path) -> Path:
    return write_config(short_tmp)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert "edgemon-agent" not in {thread.name for thread in threading.enumerate()}

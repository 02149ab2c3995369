"""Fixtures of the spool's tests."""

from __future__ import annotations

import pytest

from tests.spool.memory_fs import MemoryFileSystem


@pytest.fixture
def fs() -> MemoryFileSystem:
    return MemoryFileSystem()

"""Fixtures of the report's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.database import Db


@pytest.fixture
def db(tmp_path: Path) -> Db:
    return Db(tmp_path / "fleet.db")

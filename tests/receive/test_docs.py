"""The queries of docs/receiving.md run, and answer what they say."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from edgemon.receive.sqlite import SqliteStore
from edgemon.records import Row
from tests.receive.batches import gap_rows, incoming, make_batch, state

PAGE = Path(__file__).parents[2] / "docs" / "receiving.md"
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    base: Row = {"t": 0, "model": "fraud", "version": "1"}
    predictions: list[Row] = [
        base | {"id": "a", "output": 0.9, "w": 100.0, "f:amount": 5.0},
        base | {"id": "b", "output": "cat", "w": 1.0, "f:amount": 6.0},
        base | {"id": "b", "label": "cat"},
    ]
    windows: list[Row] = [
        base | {"stream": "f:amount", "n": 10, "mean": 2.0, "min": 1.0, "max": 3.0, "d": 0.1},
        base | {"stream": "truth", "n": 8, "correct": 6},
        base | {"stream": "truth", "n": 2, "correct": 0},
    ]
    drift: Row = base | {
        "type": "drift.started",
        "severity": "alarm",
        "message": "m",
        "data": json.dumps({"d": 1}),
    }
    batches = [
        make_batch(1, predictions),
        make_batch(9, predictions),
        make_batch(1, windows, kind="agg"),
        make_batch(1, [drift, *gap_rows("pred", 2, 4)], kind="event"),
    ]
    store = SqliteStore(str(path))
    store.write([incoming(batch) for batch in batches], [state(False, 1)])
    store.close()
    return path


@pytest.mark.parametrize("sql", QUERIES, ids=lambda sql: " ".join(sql.split())[:60])
def test_a_query_of_the_page_runs(database: Path, sql: str) -> None:
    connection = sqlite3.connect(database)
    try:
        if sqlite3.sqlite_version_info < (3, 38) and "unixepoch()" in sql:
            pytest.skip("unixepoch() needs SQLite 3.38")
        rows = connection.execute(sql).fetchall()
        assert rows or sql.startswith("DELETE")
    finally:
        connection.close()


def test_the_page_says_what_is_lost(database: Path) -> None:
    connection = sqlite3.connect(database)
    gaps = next(sql for sql in QUERIES if "FROM gaps" in sql)
    assert connection.execute(gaps).fetchall() == [("dev-1", "pred", 5, 8, 4)]
    reported = next(sql for sql in QUERIES if "FROM reported_gaps" in sql)
    assert connection.execute(reported).fetchall() == [("dev-1", "pred", "spool_full", 1, 3, 9)]
    connection.close()


def test_the_accuracy_of_the_page_is_that_of_all_windows(database: Path) -> None:
    connection = sqlite3.connect(database)
    accuracy = next(sql for sql in QUERIES if "$.correct" in sql)
    ((model, version, _, truths, share),) = connection.execute(accuracy).fetchall()
    assert (model, version, truths, share) == ("fraud", "1", 10, 0.6)
    connection.close()


def test_the_page_names_every_table_and_view(database: Path) -> None:
    connection = sqlite3.connect(database)
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
    ).fetchall()
    connection.close()
    for (name,) in names:
        assert f"`{name}`" in PAGE.read_text()

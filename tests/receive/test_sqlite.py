"""Rows in SQLite: the tables and what they promise, schema by schema."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgemon.errors import StorageError, UsageError
from edgemon.receive.rows import COLUMNS
from edgemon.receive.sqlite import SqliteStore
from edgemon.receive.store import RefusedError
from edgemon.records import Row
from tests.receive.batches import (
    RECEIVED_NS,
    STREAM,
    WALL_NS,
    gap_rows,
    incoming,
    make_batch,
    state,
)
from tests.receive.stores import query


def test_sqlite_has_a_table_with_every_column_of_the_mapping(tmp_path: Path) -> None:
    SqliteStore(str(tmp_path / "x.db")).close()
    connection = sqlite3.connect(tmp_path / "x.db")
    for table, columns in COLUMNS.items():
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        assert names == ["batch", *columns]
    connection.close()


def test_sqlite_keeps_the_whole_envelope(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "x.db"))
    store.write([incoming(make_batch(5, dropped=7))._replace(skipped=["f:new"])], [])
    store.close()
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.row_factory = sqlite3.Row
    (row,) = map(dict, connection.execute("SELECT * FROM batches"))
    connection.close()
    assert row == {
        "id": 1, "device": "dev-1", "fleet": "default", "stream_id": STREAM.hex(), "kind": "pred", "seq": 5,
        "boot": (b"b" * 16).hex(), "wall_ns": WALL_NS, "mono_ns": 500, "clock_error_ms": 2.5, "dropped": 7, "rows": 3,
        "frame_bytes": 100, "received_ns": RECEIVED_NS, "resource": '{"agent": "0.1.0"}', "skipped": '["f:new"]',
        "shifted_ns": None,
    }  # fmt: skip


def gaps(path: Path) -> list[tuple[str, int, int]]:
    return query(path, "SELECT kind, from_seq, to_seq FROM gaps ORDER BY kind, from_seq")


def test_gaps_are_what_is_neither_here_nor_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    store.write([incoming(make_batch(seq)) for seq in (2, 3, 7, 20)], [])
    assert gaps(path) == [("pred", 1, 1), ("pred", 4, 6), ("pred", 8, 19)]
    # The device says: 4 … 5 and 8 … 19 were dropped. What it does not explain stays.
    events = [gap_rows("pred", 4, 5)[0], gap_rows("pred", 8, 19)[0]]
    store.write([incoming(make_batch(1, events, kind="event"))], [])
    assert gaps(path) == [("pred", 1, 1), ("pred", 6, 6)]
    # A batch that was on its way fills its gap.
    store.write([incoming(make_batch(6)), incoming(make_batch(1))], [])
    assert gaps(path) == []
    reported = query(path, "SELECT kind, from_seq, to_seq FROM reported_gaps")
    assert reported == [("pred", 4, 5), ("pred", 8, 19)]
    store.close()


def test_a_reported_gap_at_the_end_or_with_broken_data_harms_no_query(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    bad: list[Row] = [
        {"t": 0, "type": "gap", "data": "{"},
        {"t": 0, "type": "gap"},
        {"t": 0, "type": "gap", "data": "[]"},
    ]
    events = [*gap_rows("pred", 2, 9), *bad]
    store.write([incoming(make_batch(1)), incoming(make_batch(1, events, kind="event"))], [])
    assert gaps(path) == []
    store.close()


def test_a_will_of_an_older_birth_does_not_undo_a_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    online = "SELECT device, online, birth FROM devices ORDER BY device"

    def after(*states: tuple[bool, int]) -> list[tuple[str, int, int]]:
        store.write([], [state(*one) for one in states])
        return query(path, online)

    assert after((True, 4)) == [("dev-1", 1, 4)]
    assert after((True, 5)) == [("dev-1", 1, 5)]
    assert after((False, 4)) == [("dev-1", 1, 5)], "the late will of connection 4"
    assert after((False, 5)) == [("dev-1", 0, 5)]
    assert after((True, 5)) == [("dev-1", 0, 5)], (
        "the birth of a connection that has ended, delivered again"
    )
    assert after((True, 6), (False, 6), (True, 7)) == [("dev-1", 1, 7)]
    store.close()


def test_a_device_whose_disk_was_wiped_is_known_by_its_new_stream(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    store.write([], [state(True, 50, stream="a" * 32), state(False, 50)])
    store.write([], [state(True, 1, stream="b" * 32)])
    assert query(path, "SELECT device, online, birth FROM devices") == [("dev-1", 1, 1)]
    store.close()


def test_devices_know_when_they_were_last_heard(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    store.write([incoming(make_batch(1, device="dev-2"))], [state(True, 1)])
    assert query(path, "SELECT device, online, last_seen_ns FROM devices ORDER BY device") == [
        ("dev-1", 1, RECEIVED_NS + 1),
        ("dev-2", None, RECEIVED_NS),
    ]
    store.close()


def test_a_batch_that_sqlite_refuses_is_named_and_nothing_of_the_group_is_stored(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    bad = incoming(make_batch(2))
    bad.tables[0].rows[1] = (0, *bad.tables[0].rows[1][1:])  # two rows of one number
    with pytest.raises(RefusedError) as refused:
        store.write([incoming(make_batch(1)), bad, incoming(make_batch(3))], [])
    assert refused.value.index == 1
    assert query(path, "SELECT device, seq, rows FROM batches") == []
    store.write([incoming(make_batch(1))], [])
    store.close()


def test_a_locked_database_is_a_storage_error_and_works_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemon.receive.sqlite._BUSY_TIMEOUT_MS", 20)
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"x\.db: database is locked"):
        store.write([incoming(make_batch(1))], [])
    other.execute("ROLLBACK")
    other.close()
    assert store.write([incoming(make_batch(1))], []).fresh == [True]
    store.close()


def test_a_full_disk_is_a_storage_error_and_works_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    store._connection.execute("PRAGMA max_page_count = 40")
    with pytest.raises(StorageError, match="full"):
        store.write([incoming(make_batch(seq)) for seq in range(1, 2000)], [])
    assert query(path, "SELECT device, seq, rows FROM batches") == []
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert all(store.write([incoming(make_batch(seq)) for seq in range(1, 2000)], []).fresh)
    store.close()


def test_sqlite_opens_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    with pytest.raises(UsageError, match="another program"):
        SqliteStore(str(tmp_path / "other.db"))
    (tmp_path / "text.db").write_text("hello, this is no database, whatever its name may say" * 20)
    with pytest.raises(StorageError, match="not a database"):
        SqliteStore(str(tmp_path / "text.db"))
    with pytest.raises(UsageError, match="no folder"):
        SqliteStore(str(tmp_path / "missing" / "x.db"))


def test_tables_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    SqliteStore(str(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Exception, match=r"version 99.*upgrade"):
        SqliteStore(str(path))


def test_an_older_database_is_migrated_in_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    store.write([incoming(make_batch(1))], [])
    store.close()
    monkeypatch.setattr("edgemon.receive.sqlite.SCHEMA_VERSION", 4)
    steps = {
        2: "ALTER TABLE batches ADD COLUMN a;",
        3: "ALTER TABLE batches ADD COLUMN b;\nDROP TABLE nothing;",
    }
    monkeypatch.setattr("edgemon.receive.sqlite.MIGRATIONS", steps)
    with pytest.raises(StorageError, match="nothing"):
        SqliteStore(str(path))
    assert query(path, "SELECT 1, 2, 3 FROM pragma_table_info('batches') WHERE name = 'a'") == []
    steps[3] = "ALTER TABLE batches ADD COLUMN b;"
    store = SqliteStore(str(path))
    assert store.write([incoming(make_batch(1))], []).fresh == [False]
    store.close()
    assert (
        len(
            query(path, "SELECT 1, 2, 3 FROM pragma_table_info('batches') WHERE name IN ('a', 'b')")
        )
        == 2
    )


def shape(path: Path) -> list[tuple[str, int, int]]:
    columns = query(
        path,
        "SELECT m.name, p.name, p.type FROM sqlite_master AS m, pragma_table_info(m.name) AS p"
        " WHERE m.type IN ('table', 'view') ORDER BY m.name, p.name",
    )
    indexes = query(
        path, "SELECT name, 0, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
    )
    return columns + indexes


def test_a_database_of_the_first_version_becomes_like_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    connection = sqlite3.connect(old)
    connection.executescript((Path(__file__).parent / "schema_v1.sql").read_text())
    connection.execute("PRAGMA application_id = 1701080430")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    for path in (old, new):
        store = SqliteStore(str(path))
        store.write([incoming(make_batch(1))], [])
        store.close()
    assert shape(old) == shape(new)

"""`--to parquet:FOLDER`: types, files that count, and what a crash leaves."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as dataset
import pytest

from edgemon.receive.ledger import Ledger
from edgemon.receive.parquet import MAX_PARTS, SCHEMAS, ParquetStore, parquet_folder
from edgemon.receive.rows import COLUMNS
from edgemon.records import Row
from tests.receive.batches import WALL_NS, gap_rows, incoming, make_batch, make_frame
from tests.receive.processes import edgemon


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    """All rows of a table, as an analyst reads them."""
    rows: list[dict[str, Any]] = (
        dataset.dataset(folder / name, format="parquet").to_table().to_pylist()
    )
    return rows


def store(folder: Path) -> ParquetStore:
    return parquet_folder(str(folder))


def files(folder: Path, name: str) -> list[str]:
    return sorted(path.name[:4] for path in (folder / name).iterdir())


def test_every_column_of_every_table_has_a_type() -> None:
    text = {
        field.name for schema in SCHEMAS.values() for field in schema if field.type == pa.string()
    }
    assert text <= {
        "device", "fleet", "stream_id", "model", "version", "prediction_id", "output_text",
        "features", "extra", "label_text", "stream", "profile", "categories", "name", "type",
        "severity", "message", "data",
    }  # fmt: skip
    assert SCHEMAS.keys() == COLUMNS.keys()


def test_rows_come_back_typed(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"t": 0, "model": "m", "version": "1", "output": [0.25, math.inf, math.nan], "w": 2.0},
        {"t": 1500, "model": "m", "version": "1", "output": "cat", "id": "é", "f:a": 1.5},
        {"t": 2000, "model": "m", "version": "1", "output": 0.5, "latency": 0.01, "f:b": "x"},
    ]
    made = store(tmp_path)
    made.write([incoming(make_batch(7, rows))], [])
    made.close()
    vector, text, number = table(tmp_path, "predictions")
    assert vector["output_vector"][:2] == [0.25, math.inf] and math.isnan(
        vector["output_vector"][2]
    )
    assert vector["time_ns"].timestamp() == WALL_NS / 1e9
    assert vector["time_ns"].tzinfo is not None
    assert (vector["seq"], vector["row"], vector["weight"]) == (7, 0, 2.0)
    assert (text["output_text"], text["prediction_id"]) == ("cat", "é")
    assert text["features"] == '{"a":1.5}' and text["output_vector"] is None
    assert (number["output_number"], number["latency_s"]) == (0.5, 0.01)


def test_windows_have_lists_booleans_and_bytes(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"t": 60_000_000, "dur": 60_000_000, "model": "m", "version": "1", "stream": "output",
         "n": 3, "mean": 0.5, "m2": 0.1, "min": 0.0, "max": 1.0, "sketch": b"\x00\xff",
         "hist": list(range(20)), "d": 0.25, "drifted": 1},
    ]  # fmt: skip
    made = store(tmp_path)
    made.write([incoming(make_batch(1, rows, kind="agg"))], [])
    made.close()
    (window,) = table(tmp_path, "windows")
    assert window["hist"] == list(range(20)) and window["drifted"] is True
    assert window["sketch"] == b"\x00\xff" and window["mean"] == 0.5
    assert window["end_ns"].replace(tzinfo=UTC) - window["start_ns"].replace(tzinfo=UTC) == (
        datetime.fromtimestamp(60, UTC) - datetime.fromtimestamp(0, UTC)
    )


def test_a_run_leaves_one_file_a_table(tmp_path: Path) -> None:
    made = store(tmp_path)
    for seq in range(1, 6):
        made.write([incoming(make_batch(seq))], [])
    made.write([incoming(make_batch(1, gap_rows("pred", 3, 4), kind="event"))], [])
    assert files(tmp_path, "predictions") == ["part"] * 5
    made.close()
    assert files(tmp_path, "predictions") == ["rows"]
    assert sorted({row["seq"] for row in table(tmp_path, "predictions")}) == [1, 2, 3, 4, 5]
    assert [row["type"] for row in table(tmp_path, "events")] == ["gap"]


def test_parts_are_joined_before_they_are_many(tmp_path: Path) -> None:
    made = store(tmp_path)
    for seq in range(1, MAX_PARTS + 3):
        made.write([incoming(make_batch(seq))], [])
    assert files(tmp_path, "predictions") == ["part", "part", "rows"]
    assert len(table(tmp_path, "predictions")) == 3 * (MAX_PARTS + 2)


@pytest.mark.parametrize("seqs_before", [1, 3])
def test_what_a_crash_left_unnamed_does_not_count(tmp_path: Path, seqs_before: int) -> None:
    """Files were written, the sidecar was not: the group comes again, and is there once."""
    made = store(tmp_path)
    for seq in range(1, seqs_before + 1):
        made.write([incoming(make_batch(seq))], [])
    sidecar = (tmp_path / "receive.state").read_bytes()
    made.write([incoming(make_batch(9))], [])
    made._lock.release()
    (tmp_path / "receive.state").write_bytes(sidecar)
    again = store(tmp_path)
    assert {row["seq"] for row in table(tmp_path, "predictions")} == set(range(1, seqs_before + 1))
    assert again.write([incoming(make_batch(9))], []).fresh == [True]
    again.close()
    assert len(table(tmp_path, "predictions")) == 3 * (seqs_before + 1)


def test_a_crash_while_parts_are_joined_leaves_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store(tmp_path)
    for seq in range(1, 4):
        made.write([incoming(make_batch(seq))], [])

    class PowerCutError(Exception):
        pass

    def cut(*_: object) -> None:
        raise PowerCutError

    for step in ("save", "unlink"):
        with monkeypatch.context() as patch:
            if step == "save":
                patch.setattr(Ledger, "save", cut)
            else:
                patch.setattr(ParquetStore, "_remove", cut)
            with pytest.raises(PowerCutError):
                made._join("predictions")
        made._lock.release()
        made = store(tmp_path)
        assert len(table(tmp_path, "predictions")) == 9
    made.close()
    assert files(tmp_path, "predictions") == ["rows"]


def test_a_file_that_its_owner_took_away_is_not_missed(tmp_path: Path) -> None:
    made = store(tmp_path)
    made.write([incoming(make_batch(1))], [])
    for path in (tmp_path / "predictions").iterdir():
        os.unlink(path)
    made.write([incoming(make_batch(2))], [])
    made.close()
    again = store(tmp_path)
    assert again.write([incoming(make_batch(1))], []).fresh == [False]
    again.close()
    assert {row["seq"] for row in table(tmp_path, "predictions")} == {2}


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    store(tmp_path).close()
    (tmp_path / "predictions" / "notes.parquet").write_bytes(b"mine")
    store(tmp_path).close()
    assert (tmp_path / "predictions" / "notes.parquet").read_bytes() == b"mine"


def test_the_command_writes_it(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(make_frame(1) + make_frame(2))
    result = edgemon("receive", "a.zst", "--to", "parquet:out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted({row["seq"] for row in table(tmp_path / "out", "predictions")}) == [1, 2]

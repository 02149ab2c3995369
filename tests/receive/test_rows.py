"""From the wire's columns to rows of tables."""

from __future__ import annotations

import json
import math

import pytest

from edgemon._core.sketch import QuantileSketch
from edgemon.errors import DamagedError
from edgemon.receive.rows import COLUMNS, tables
from edgemon.records import Batch, Column, Row, Value
from tests.receive.batches import WALL_NS, make_batch

INF, NAN = math.inf, math.nan


def as_dicts(batch: Batch) -> dict[str, list[dict[str, Value]]]:
    """Table -> rows as dicts, without what is None."""
    return {
        table: [
            {name: cell for name, cell in zip(COLUMNS[table], row, strict=True) if cell is not None}
            for row in rows
        ]
        for table, rows in tables(batch)
    }


def rows_of(kind: str, rows: list[Row]) -> dict[str, list[dict[str, Value]]]:
    return as_dicts(make_batch(1, rows, kind=kind))


def test_a_prediction_keeps_all_that_the_wire_says_of_it() -> None:
    row: Row = {
        "t": 1500, "model": "fraud", "version": "7", "id": "p1", "ts": 1_700_000_000_000_001, "output": 0.25,
        "latency": 0.002, "w": 100.0, "f:amount": 12.5, "f:count": 3.0, "f:100%": 1.0,
    }  # fmt: skip
    assert rows_of("pred", [row]) == {
        "predictions": [
            {
                "row": 0, "time_ns": WALL_NS + 1_500_000, "model": "fraud", "version": "7", "prediction_id": "p1",
                "app_time_ns": 1_700_000_000_000_001_000, "output_number": 0.25, "latency_s": 0.002, "weight": 100.0,
                "features": '{"amount":12.5,"count":3.0,"100%":1.0}',
            }
        ]
    }  # fmt: skip


def test_outputs_of_three_types_have_three_columns() -> None:
    rows: list[Row] = [
        {"t": 0, "output": 1.5},
        {"t": 1, "output": "cat"},
        {"t": 2, "output": [0.25, 0.75]},
        {"t": 3},
    ]
    found = rows_of("pred", rows)["predictions"]
    assert found[0]["output_number"] == 1.5
    assert found[1]["output_text"] == "cat"
    assert found[2]["output_vector"] == "[0.25,0.75]"
    assert not {"output_number", "output_text", "output_vector"} & found[3].keys()


def test_a_nan_output_differs_from_no_output() -> None:
    rows: list[Row] = [{"t": 0, "output": NAN}, {"t": 1, "output": INF}, {"t": 2, "id": "x"}]
    found = rows_of("pred", rows)["predictions"]
    assert found[0]["output_text"] == "NaN"
    assert "output_number" not in found[0]
    assert found[1]["output_number"] == INF
    assert not {"output_number", "output_text"} & found[2].keys()


def test_features_are_json_whatever_their_values() -> None:
    rows: list[Row] = [
        {"t": 0, "f:a": 1.5, "f:b": 'say "hi"\n'},
        {"t": 1, "f:a": "text", "f:c": NAN},
        {"t": 2, "f:c": -INF, 'f:"q"': 2},
        {"t": 3},
    ]
    found = [json.loads(str(row["features"])) for row in rows_of("pred", rows)["predictions"]]
    assert found == [
        {"a": 1.5, "b": 'say "hi"\n'},
        {"a": "text", "c": "NaN"},
        {"c": "-Infinity", '"q"': 2},
        {},
    ]


def test_features_of_a_full_batch_are_the_same_as_those_of_a_holed_one() -> None:
    values = [0.1, 1e300, 5e-324, -0.0, 1e16, 123456789.123]
    full: list[Row] = [{"t": at, "f:x": value, "f:ü": float(at)} for at, value in enumerate(values)]
    holed: list[Row] = [*full, {"t": 99}]
    quick = [row["features"] for row in rows_of("pred", full)["predictions"]]
    slow = [row["features"] for row in rows_of("pred", holed)["predictions"]]
    assert quick == slow[:-1]
    assert [json.loads(str(text))["x"] for text in quick] == values


def test_truth_goes_to_labels_and_a_prediction_with_its_truth_to_both() -> None:
    rows: list[Row] = [
        {"t": 0, "id": "a", "output": 1.0},
        {"t": 1, "id": "a", "label": 0.0},
        {"t": 2, "id": "b", "label": "cat"},
        {"t": 3, "id": "c", "output": 1.0, "label": 1.0},
    ]
    found = rows_of("pred", rows)
    assert [row["prediction_id"] for row in found["predictions"]] == ["a", "c"]
    assert [
        (row["row"], row.get("label_number"), row.get("label_text")) for row in found["labels"]
    ] == [
        (1, 0.0, None),
        (2, None, "cat"),
        (3, 1.0, None),
    ]


def test_a_window_has_its_moments_and_quantiles_from_the_sketch() -> None:
    sketch = QuantileSketch()
    for value in range(1, 1001):
        sketch.push(float(value))
    row: Row = {
        "t": 60_000_000, "dur": 60_000_000, "model": "m", "version": "1", "stream": "f:x", "n": 1000, "missing": 1,
        "nan": 2, "pinf": 3, "ninf": 4, "wrong_type": 5, "mean": 500.5, "m2": 10.0, "min": 1.0, "max": 1000.0,
        "sketch": sketch.to_bytes(), "profile": "0123456789abcdef", "hist": [1, 2, 3], "d": 0.25, "ks_n": 100,
        "ks_h": 7, "ks_threshold": 9, "drifted": 1, "cats": '{"a": 2}',
    }  # fmt: skip
    (found,) = rows_of("agg", [row])["windows"]
    assert found["start_ns"] == WALL_NS
    assert found["end_ns"] == WALL_NS + 60_000_000_000
    assert found["hist"] == "[1,2,3]"
    assert found["categories"] == '{"a": 2}'
    assert found["sketch"] == sketch.to_bytes()
    for name, expected in (("p50", 500), ("p95", 950), ("p99", 990)):
        assert found[name] == pytest.approx(expected, rel=0.011)
    for name in (
        "n",
        "missing",
        "nan",
        "pinf",
        "ninf",
        "wrong_type",
        "mean",
        "d",
        "ks_n",
        "ks_h",
        "drifted",
    ):
        assert found[name] == row[name]


def test_a_sketch_of_a_newer_format_is_kept_without_quantiles() -> None:
    (found,) = rows_of("agg", [{"t": 0, "sketch": b"\xff\xff\xff"}])["windows"]
    assert found["sketch"] == b"\xff\xff\xff"
    assert "p50" not in found


def test_wide_and_long_system_rows_become_one_sample_each() -> None:
    rows: list[Row] = [
        {"t": 0, "cpu_percent": 12.5, "memory_available_bytes": 1000},
        {"t": 1, "cpu_percent": 13.5},
        {"t": 2, "name": "loss", "value": 0.5, "step": 10},
    ]
    found = rows_of("sys", rows)["samples"]
    assert [(row["row"], row["name"], row["value"], row.get("step")) for row in found] == [
        (0, "cpu_percent", 12.5, None),
        (0, "memory_available_bytes", 1000, None),
        (1, "cpu_percent", 13.5, None),
        (2, "loss", 0.5, 10),
    ]


def test_the_applications_own_time_of_a_metric_is_kept_and_is_no_series() -> None:
    sent: list[Row] = [{"t": 1, "name": "loss", "value": 0.5, "ts": 1_700_000_000_000_000}]
    (row,) = rows_of("sys", sent)["samples"]
    assert (row["name"], row["extra"]) == ("loss", '{"ts": 1700000000000000}')


def test_an_event_whose_data_is_no_json_keeps_it_as_text() -> None:
    rows: list[Row] = [
        {
            "t": 0,
            "type": "drift.started",
            "severity": "alarm",
            "message": "m",
            "data": '{"d": 0.5}',
        },
        {"t": 1, "type": "x", "data": "{broken"},
        {"t": 2, "type": "x", "data": '{"d": NaN}'},
    ]
    found = rows_of("event", rows)["events"]
    assert [json.loads(str(row["data"])) for row in found] == [{"d": 0.5}, "{broken", '{"d": NaN}']


def test_columns_of_tomorrow_are_kept_as_extra() -> None:
    rows: list[Row] = [
        {"t": 0, "output": 1.0, "colour": "red", "sig": b"\1"},
        {"t": 1, "model": 5},
        {"t": 2},
    ]
    found = rows_of("pred", rows)["predictions"]
    assert json.loads(str(found[0]["extra"])) == {"colour": "red", "sig": "AQ=="}
    assert json.loads(str(found[1]["extra"])) == {"model": 5}
    assert "extra" not in found[2]
    (sample,) = rows_of("sys", [{"t": 0, "disk": "sda"}])["samples"]
    assert json.loads(str(sample["extra"])) == {"disk": "sda"}


def test_a_batch_without_rows_has_no_table() -> None:
    assert tables(make_batch(1, [])) == []


@pytest.mark.parametrize(
    "batch",
    [
        make_batch(1, [{"output": 1.0}]),
        make_batch(1, [{"t": 0}, {"output": 1.0}]),
        make_batch(1, [{"t": 2**62}]),
        make_batch(2**63),
        make_batch(1)._replace(kind="future"),
        make_batch(1)._replace(wall_ns=2**70),
        make_batch(1)._replace(dropped=2**64),
        make_batch(1)._replace(columns=[Column("t", "i8", [1])]),
    ],
    ids=["no t", "a row without t", "t overflows", "seq", "kind", "wall_ns", "dropped", "rows"],
)
def test_what_no_database_can_hold_is_damaged(batch: Batch) -> None:
    with pytest.raises(DamagedError):
        tables(batch)

"""Many predictions in one call."""

from __future__ import annotations

import array
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgemon
from tests.client.collector import Collector
from tests.servers import wait_for


def many(collector: Collector, *arguments: Any, **options: Any) -> list[Any]:
    """What arrives of one log_many."""
    with edgemon.Client(collector.path) as client:
        taken = client.log_many("m", *arguments, **options)
        assert client.flush("memory")
        assert client.stats().taken == taken
    return collector.events


WHOLE = np.arange(24, dtype=np.float64).reshape(6, 4) / 7


@pytest.mark.parametrize(
    "rows",
    [
        WHOLE,
        WHOLE.astype(np.float32),
        (WHOLE * 7).astype(np.int16),
        WHOLE[::2],
        WHOLE[:, ::-1],
        WHOLE[1:, 1:3],
        np.asfortranarray(WHOLE),
        WHOLE.T,
        WHOLE.astype(object),
        WHOLE.astype(">f4"),
        WHOLE.tolist(),
        WHOLE.data,
    ],
    ids=lambda rows: (
        f"{type(rows).__name__}-{getattr(rows, 'dtype', '')}-{getattr(rows, 'strides', '')}"
    ),
)
def test_rows_of_any_array_become_events(collector: Collector, rows: Any) -> None:
    outputs = array.array("f", [index / 3 for index in range(len(rows))])
    expected = rows.tolist() if hasattr(rows, "tolist") else rows
    assert many(collector, outputs, rows) == [
        ["m", output, row] for output, row in zip(outputs.tolist(), expected, strict=True)
    ]


def test_columns_names_vectors_ids_and_seconds(collector: Collector) -> None:
    got = many(
        collector,
        np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32),
        {"amount": np.array([1, 2], dtype=np.int8), "country": ["DE", None]},
        version="7",
        ids=np.array([10, 11]),
        ts=np.array([1.5, 2.5], dtype=np.float32),
        latency=0.5,
    )
    assert got == [
        ["m", [0.25, 0.75], {"amount": 1, "country": "DE"}, 0.5, 10, 1.5, "7"],
        ["m", [0.5, 0.5], {"amount": 2, "country": None}, 0.5, 11, 2.5, "7"],
    ]


def test_named_columns_of_an_array_and_outputs_of_one_column(collector: Collector) -> None:
    got = many(collector, np.array([[1], [0]]), WHOLE[:2], names=["a", "b", "ü", "d"], ts=[1, None])
    assert got == [
        ["m", 1, dict(zip("abüd", WHOLE[0].tolist(), strict=True)), None, None, 1.0],
        ["m", 0, dict(zip("abüd", WHOLE[1].tolist(), strict=True)), None, None, None],
    ]


def test_outputs_alone_of_any_kind(collector: Collector) -> None:
    assert many(collector, ["cat", 1, [0.5, 0.5], None]) == [
        ["m", "cat"],
        ["m", 1],
        ["m", [0.5, 0.5]],
        ["m", None],
    ]


def test_a_row_that_is_wrong_costs_only_itself(collector: Collector) -> None:
    with (
        pytest.warns(RuntimeWarning, match="not bytes") as told,
        edgemon.Client(collector.path) as client,
    ):
        assert client.log_many("m", [1, b"", b"", 2]) == 2
        assert client.dropped["bad_event"] == 2
    assert len(told) == 1
    wait_for(lambda: len(collector.events) == 2)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (([1, 2], WHOLE), {}),
        (([1] * 6, WHOLE), {"names": ["a"]}),
        (([1] * 6, WHOLE), {"ids": [1]}),
        (([1] * 6, WHOLE), {"ts": [1.0]}),
        (([1] * 6, np.zeros(6)), {}),
        (([1] * 6, {"a": [1]}), {}),
        (([1] * 6, np.zeros((6, 1, 1))), {}),
    ],
)
def test_columns_that_do_not_fit_together_drop_the_call(
    short_tmp: Path, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    client = edgemon.Client(str(short_tmp / "nobody"))
    with pytest.warns(RuntimeWarning, match="dropped, for"):
        assert client.log_many("m", *arguments, **options) == 0
    assert client.dropped["bad_event"] == len(arguments[0])
    client.close()


def test_the_examples_of_the_page_do_what_they_say(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Model:
        def predict_proba(self, rows: Any) -> Any:
            return np.full((len(rows), 2), 0.5)

    monkeypatch.setenv("EDGEMON_SOCKET", collector.path)
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    names = {"edgemon": edgemon, "model": Model(), "table": WHOLE[:2, :2]}
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(first, names)
    wait_for(lambda: len(collector.events) == 3)
    exec(second, names)
    wait_for(lambda: len(collector.events) == 7)
    assert collector.events == [
        ["fraud", 0.93, {"amount": 12.5, "country": "DE"}, 0.003, "a-17"],
        {"model": "fraud", "id": "a-17", "label": 1},
        {"metric": "queue/length", "value": 3},
        *(
            ["pets", [0.5, 0.5], {"weight": row[0], "height": row[1]}, 0.004]
            for row in WHOLE[:2, :2].tolist()
        ),
        ["fraud", 0.1, {"amount": 1.0, "country": "DE"}, None, "a"],
        ["fraud", 0.9, {"amount": 2.0, "country": None}, None, "b"],
    ]

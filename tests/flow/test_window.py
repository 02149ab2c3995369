"""Windows count everything and merge without loss."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon._core.sketch import QuantileSketch
from edgemon.flow.rate import RateMeter
from edgemon.flow.window import MAX_CATEGORIES, MAX_CATEGORY_CHARACTERS, OTHER, StreamWindow


def test_a_window_of_numbers_has_moments_bounds_sketch_and_histogram() -> None:
    window = StreamWindow([0.0, 1.0])
    for value in (-1.0, 0.5, 2.0, 2.5):
        window.number(value)
    row = window.row()
    assert (row["n"], row["mean"], row["min"], row["max"], row["hist"]) == (
        4,
        1.0,
        -1.0,
        2.5,
        [1, 1, 2],
    )
    sketch = row["sketch"]
    assert isinstance(sketch, bytes)
    assert QuantileSketch.from_bytes(sketch).quantile(1.0) == pytest.approx(2.5, rel=0.01)


@given(st.lists(st.floats(), max_size=60))
def test_every_number_is_counted_exactly_once(values: list[float]) -> None:
    window = StreamWindow()
    for value in values:
        window.number(value)
    row = window.row()
    counted = {name: row.get(name, 0) for name in ("n", "nan", "pinf", "ninf")}
    assert counted == {
        "n": sum(map(math.isfinite, values)),
        "nan": sum(map(math.isnan, values)),
        "pinf": values.count(math.inf),
        "ninf": values.count(-math.inf),
    }


def test_an_empty_window_has_no_row() -> None:
    assert StreamWindow().row() == {}


def test_a_window_with_only_missing_values_says_so() -> None:
    window = StreamWindow()
    window.missing += 3
    assert window.row() == {"missing": 3, "n": 0}


def test_categories_are_bounded_and_the_rest_is_counted_together() -> None:
    window = StreamWindow()
    for index in range(MAX_CATEGORIES + 5):
        window.text(f"c{index}")
    counts = json.loads(str(window.row()["cats"]))
    assert len(counts) == MAX_CATEGORIES + 1
    assert counts[OTHER] == 5


def test_long_categories_are_counted_by_their_beginning() -> None:
    window = StreamWindow()
    exact = "e" * MAX_CATEGORY_CHARACTERS
    for value in (exact, "x" * 4_000 + "a", "x" * 4_000 + "b"):
        window.text(value)
    counts = json.loads(str(window.row()["cats"]))
    assert counts == {exact: 1, "x" * (MAX_CATEGORY_CHARACTERS - 1) + "…": 2}


def test_a_reset_window_starts_from_nothing() -> None:
    window = StreamWindow([0.0])
    window.number(1.0)
    window.text("a")
    window.nan += 1
    window.reset()
    assert window.row() == {}
    window.number(3.0)
    assert window.row()["hist"] == [0, 1]


def test_the_rate_fades_without_a_timer() -> None:
    meter = RateMeter(10.0, 0.0)
    meter.add(100, 5.0)
    assert meter.rate(10.0) == pytest.approx(10.0)
    assert meter.rate(15.0) == pytest.approx(5.0)
    assert meter.rate(25.0) == 0.0

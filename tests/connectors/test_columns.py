"""Inputs as columns: a slow oracle for the statistics, and every bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgemon.connectors import columns as module
from edgemon.connectors.columns import STATISTICS, Columns, Reduced, statistics


def oracle(values: list[float]) -> list[float]:
    known = [value for value in values if not math.isnan(value)]
    missing = 1 - len(known) / len(values)
    if not known:
        return [math.nan] * 4 + [missing]
    mean = math.fsum(known) / len(known)
    spread = math.fsum((value - mean) ** 2 for value in known) / len(known)
    return [mean, math.sqrt(spread), min(known), max(known), missing]


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.uint8, np.int16]),
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=st.integers(0, 100),
    ),
    st.integers(-1, 1),
    st.lists(st.integers(0, 10_000), max_size=6),
)
def test_statistics_are_those_of_the_values(
    array: Any, channel_axis: int, holes: list[int]
) -> None:
    if array.ndim == 2:
        channel_axis = 0
    if array.dtype.kind == "f":
        for hole in holes:
            array.flat[hole % array.size] = np.nan
    channels = np.moveaxis(array, channel_axis, 1) if channel_axis else array[:, None]
    expected = [
        [number for channel in row for number in oracle(channel.ravel().astype(float).tolist())]
        for row in channels
    ]
    np.testing.assert_allclose(statistics(array, channel_axis), expected, rtol=1e-6, atol=1e-6)


def test_statistics_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(1).normal(size=(7, 3, 10))
    whole = statistics(array, 1)
    monkeypatch.setattr(module, "_SCRATCH", 60)
    np.testing.assert_array_equal(statistics(array, 1), whole)


def test_of_very_large_inputs_every_kth_value_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VALUES", 4)
    array = np.arange(10.0)[None]
    taken = array[:, ::3]
    assert statistics(array, 0)[0].tolist() == [taken.mean(), taken.std(), 0.0, 9.0, 0.0]


def test_infinities_stay_in_the_extremes() -> None:
    mean, std, least, most, missing = statistics(np.array([[np.inf, 1.0, -np.inf]]), 0)[0]
    assert math.isnan(mean) and math.isnan(std)
    assert (least, most, missing) == (-math.inf, math.inf, 0.0)


def added(inputs: Any, n: int, limit: int, **options: Any) -> tuple[dict[str, Any], int]:
    found = Columns(n, limit)
    options = {"columns": None, "channel_axis": 1} | options
    found.add(inputs, slice(None), **options)
    arguments = found.arguments({})
    return arguments, found.left_out


def test_a_narrow_table_stays_as_it_is() -> None:
    table = np.arange(6.0).reshape(2, 3)
    arguments, left_out = added(table, 2, 3)
    assert arguments["features"].base is table.base or arguments["features"] is table
    assert arguments["names"] is None and left_out == 0
    assert added(table, 2, 3, columns=["a", "b", "c"])[0]["names"] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="2 columns are named, and the input has 3"):
        added(table, 2, 3, columns=["a", "b"])


def test_a_wide_table_becomes_statistics_and_then_nothing() -> None:
    table = np.arange(14.0).reshape(2, 7)
    arguments, left_out = added(table, 2, 6)
    assert arguments["names"] == list(STATISTICS) and left_out == 0
    assert added(table, 2, 4) == ({"features": None}, 1)


def test_channels_that_do_not_fit_are_taken_together() -> None:
    images = np.random.default_rng(1).normal(size=(2, 3, 4, 4))
    assert len(added(images, 2, 15)[0]["names"]) == 15
    arguments, _ = added(images, 2, 14)
    assert arguments["names"] == list(STATISTICS)
    np.testing.assert_allclose(arguments["features"][:, 0], images.mean(axis=(1, 2, 3)))


def test_several_inputs_share_the_room_and_one_of_another_length_is_left_out() -> None:
    inputs = {"a": np.ones(2), "mask": np.ones((3, 3)), "b": np.zeros((2, 2)), "c": np.ones((2, 9))}
    arguments, left_out = added(inputs, 2, 4)
    assert {name: list(column) for name, column in arguments["features"].items()} == {
        "a": [1, 1],
        "b.f0": [0, 0],
        "b.f1": [0, 0],
    }
    assert left_out == 2


def test_statistics_that_came_from_elsewhere_have_the_same_names() -> None:
    images = np.random.default_rng(1).normal(size=(2, 3, 4, 4))
    here, there = added(images, 2, 64), added(Reduced(statistics(images, 1)), 2, 64)
    assert here[0]["names"] == there[0]["names"]
    np.testing.assert_array_equal(here[0]["features"], there[0]["features"])


def test_mixed_columns() -> None:
    table = np.array([["red", 1.5], [None, math.nan]], dtype=object)
    arguments, _ = added(table, 2, 8, columns=["colour", "size"])
    assert arguments["features"] == {"colour": ["red", None], "size": [1.5, None]}

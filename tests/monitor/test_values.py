"""Inputs and outputs of every kind become the protocol's plain values."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest

from edgemon.monitor.open_inputs import OpenInputs
from edgemon.monitor.values import features_of, prediction_of


class Row:
    """As a row of a table is: keys and items, and it is no dict."""

    def keys(self) -> list[str]:
        return ["a", "b"]

    def items(self) -> list[tuple[str, Any]]:
        return [("a", np.float32(0.5)), ("b", np.array([7]))]


@pytest.mark.parametrize(
    ("data", "features"),
    [
        (None, None),
        ({"a": 1, "b": "x", "c": None}, {"a": 1, "b": "x", "c": None}),
        ({"a": np.float64(1.5), "b": np.int8(3), 7: np.bool_(True)}, {"a": 1.5, "b": 3, "7": True}),
        (Row(), {"a": 0.5, "b": 7}),
        ([1, 2.5, "x"], [1, 2.5, "x"]),
        ((1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        ((x for x in (1, 2)), [1, 2]),
        (np.array([1.0, 2.0], dtype=np.float32), [1.0, 2.0]),
        (np.array([[1.0, 2.0]]), [1.0, 2.0]),
        (np.ones((1, 1, 2)), [1.0, 1.0]),
        ([np.array([1.0, 2.0])], [1.0, 2.0]),
        (array("d", [1.0, 2.0]), [1.0, 2.0]),
        (memoryview(array("f", [1.0, 2.0])), [1.0, 2.0]),
        ([np.array(1.0), np.float32(0.5)], [1.0, 0.5]),
        (3.5, [3.5]),
        (np.float32(0.5), [0.5]),
        ("cat", ["cat"]),
        ([], []),
    ],
)
def test_an_input_becomes_features(data: object, features: object) -> None:
    assert features_of(data) == features


def test_an_input_is_a_copy() -> None:
    values = np.zeros(3)
    named = {"a": [1.0]}
    copies = features_of(values), features_of(named), features_of([values])
    values[0] = 9.0
    named["a"][0] = 9.0
    assert copies == ([0.0, 0.0, 0.0], {"a": 1.0}, [0.0, 0.0, 0.0])


@pytest.mark.parametrize("data", [np.ones((2, 3)), [[1.0], [2.0]], [np.ones(2), np.ones(2)]])
def test_a_batch_of_several_rows_is_refused_as_such(data: object) -> None:
    for take in (features_of, prediction_of):
        with pytest.raises(TypeError, match="several rows"):
            take(data)


@pytest.mark.parametrize("data", [b"\x00\x01", bytearray(3), {1, 2}, object()])
def test_what_is_no_row_is_refused_and_named(data: object) -> None:
    with pytest.raises(TypeError, match=type(data).__name__):
        features_of(data)


@pytest.mark.parametrize(
    ("prediction", "output", "beside"),
    [
        (0.5, 0.5, {}),
        ("cat", "cat", {}),
        (None, None, {}),
        (np.float32(0.5), 0.5, {}),
        (np.array([0.5]), 0.5, {}),
        (np.array([["cat"]]), "cat", {}),
        ([0.25, 0.75], [0.25, 0.75], {}),
        (np.array([[0.25, 0.75]]), [0.25, 0.75], {}),
        ({"score": 0.5}, 0.5, {}),
        ({"confidence": 0.5, "prediction": "cat"}, "cat", {"confidence": 0.5}),
        ({"a": 1, "output": np.array([0.25, 0.75])}, [0.25, 0.75], {"a": 1}),
        ({}, None, {}),
    ],
)
def test_a_prediction_becomes_an_output_and_what_is_beside_it(
    prediction: object, output: object, beside: dict[str, object]
) -> None:
    assert prediction_of(prediction) == (output, beside)


def test_the_table_of_open_inputs_is_bounded_and_drops_the_oldest() -> None:
    inputs = OpenInputs(3)
    keys = [inputs.put("m", [n]) for n in range(5)]
    assert len(set(keys)) == 5
    assert (len(inputs), inputs.dropped) == (3, 2)
    assert [inputs.take(key) is not None for key in keys] == [False, False, True, True, True]
    assert inputs.take(keys[4]) is None  # once


def test_after_a_fork_ids_are_others() -> None:
    inputs = OpenInputs(3)
    before = inputs.put("m", None)
    inputs.renew()
    assert inputs.put("m", None).split("-")[0] != before.split("-")[0]
    assert inputs.take(before) is not None

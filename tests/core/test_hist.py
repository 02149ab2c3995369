"""The histogram over fixed edges, against comparing with every edge."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon._core.hist import Histogram

values = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 2.0, math.inf, -math.inf]), st.floats(allow_nan=False)
)


@given(st.lists(values, min_size=1, max_size=25).map(sorted), st.lists(values, max_size=60))
def test_each_value_is_counted_in_the_bin_that_holds_it(
    edges: list[float], stream: list[float]
) -> None:
    histogram = Histogram(edges)
    expected = [0] * (len(edges) + 1)
    for x in stream + edges:
        histogram.push(x)
        expected[sum(edge < x for edge in edges)] += 1
    assert histogram.counts() == expected
    histogram.reset()
    histogram.push_many(array("d", stream + edges))
    assert histogram.counts() == expected
    histogram.reset()
    assert histogram.counts() == [0] * (len(edges) + 1)


@pytest.mark.parametrize(
    ("edges", "problem"),
    [([], "1 to"), ([1.0, 0.5], "must not decrease: 1.0 before 0.5"), ([math.nan], "NaN")],
)
def test_impossible_edges_are_refused(edges: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Histogram(edges)


def test_nan_bool_and_text_are_refused() -> None:
    histogram = Histogram([0.0])
    with pytest.raises(ValueError, match="NaN"):
        histogram.push(math.nan)
    with pytest.raises(ValueError, match="NaN"):
        histogram.push_many(array("d", [1.0, math.nan]))
    for wrong in (True, "1", None):
        with pytest.raises(TypeError):
            histogram.push(wrong)  # type: ignore[arg-type]
    assert histogram.counts() == [0, 0]


def test_memory_is_as_stated() -> None:
    sized = Histogram([float(i) for i in range(20)]).memory_bytes
    assert sized - Histogram([0.0]).memory_bytes == 16 * 19

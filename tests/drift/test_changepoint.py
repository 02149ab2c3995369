from __future__ import annotations

import math
from array import array
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift.changepoint import ChangePoint, change_point

numbers = st.integers(-4, 4).map(float)


def reference_of(sample: list[float]) -> tuple[Reference, list[int]]:
    counts = Counter(sample)
    values = sorted(counts)
    multiplicities = [counts[value] for value in values]
    return Reference(array("d", values), array("q", multiplicities)), multiplicities


def statistics(sample: list[float], window: list[float]) -> list[float]:
    """D sqrt(m k / (m + k)) of the last k values, k = 1 …, by the definition."""
    m, found = len(sample), []
    for k in range(1, len(window) + 1):
        suffix = window[-k:]
        d = max(
            abs(sum(r <= x for r in sample) / m - sum(w <= x for w in suffix) / k)
            for x in [*sample, *suffix]
        )
        found.append(d * math.sqrt(m * k / (m + k)))
    return found


@given(
    st.lists(numbers, min_size=1, max_size=40),
    st.lists(numbers | st.floats(-6, 6), min_size=1, max_size=40),
)
def test_the_statistic_is_that_of_its_suffix_and_near_the_largest(
    sample: list[float], window: list[float]
) -> None:
    reference, counts = reference_of(sample)
    found = change_point(counts, [reference.bucket(x) for x in window])
    every = statistics(sample, window)
    if found.statistic > 0.0:
        assert math.isclose(found.statistic, every[found.values - 1], rel_tol=1e-9)
    # A climb may end on a lower hill; on windows of pure chance like these, a little lower.
    assert found.statistic >= 0.6 * max(every) - 1e-9
    assert found.whole_window == (found.values == len(window))


def test_nearly_every_climb_reaches_the_top() -> None:
    tops = 0
    for seed in range(60):
        chance = np.random.default_rng(seed)
        sample, window = chance.normal(size=100), chance.normal(size=60)
        window[40:] += 0.7
        reference, counts = reference_of(sample.tolist())
        found = change_point(counts, [reference.bucket(x) for x in window.tolist()])
        every = statistics(sample.tolist(), window.tolist())
        tops += math.isclose(found.statistic, max(every), rel_tol=1e-9)
    assert tops >= 56


def test_a_clean_break_is_found_exactly() -> None:
    reference, counts = reference_of([float(i) for i in range(100)])
    window = [float(i % 100) for i in range(300)] + [150.0] * 37
    found = change_point(counts, [reference.bucket(x) for x in window])
    assert (found.values, found.bucket, found.whole_window) == (37, 199, False)


def test_a_window_that_is_all_new_is_said_to_be_so() -> None:
    found = change_point([1] * 100, [200] * 50)
    assert (found.values, found.whole_window) == (50, True)


def test_a_window_of_the_reference_itself_has_no_change() -> None:
    assert change_point([10], [1, 1, 1]) == ChangePoint(3, 0, 0.0, True)


def test_one_value() -> None:
    assert change_point([1, 1], [4]).values == 1


def test_empty_sides_are_mistakes() -> None:
    with pytest.raises(ValueError, match="no reference"):
        change_point([], [0])
    with pytest.raises(ValueError, match="no window"):
        change_point([1], [])


def errors(shift: float, runs: int) -> NDArray[np.int64]:
    """Estimated less true number of drifted values, at the alarm."""
    found = []
    for seed in range(runs):
        chance = np.random.default_rng(seed)
        sample = np.sort(chance.normal(size=10_000))
        reference = Reference(array("d", sample), array("q", [1] * 10_000))
        ks = SlidingKS(reference, 1_000, 850)
        assert ks.push_many(array("d", chance.normal(size=2_000))) == -1
        alarm = ks.push_many(array("d", chance.normal(shift, size=5_000)))
        found.append(change_point([1] * 10_000, ks.buckets()).values - (alarm + 1))
    return np.array(found)


@pytest.mark.parametrize(
    ("shift", "half", "nine_tenths"), [(1.0, 2, 10), (0.5, 10, 50), (0.3, 25, 200)]
)
def test_typical_errors_are_as_documented(shift: float, half: float, nine_tenths: float) -> None:
    away = np.abs(errors(shift, 30))
    assert np.quantile(away, 0.5) <= half
    assert np.quantile(away, 0.9) <= nine_tenths

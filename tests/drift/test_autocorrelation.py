from __future__ import annotations

import math
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.drift.autocorrelation import Indicator, sqrt_tau
from tests.drift.data import normal


def autoregressive(seed: int, n: int, phi: float) -> array[float]:
    chance, x, values = random.Random(seed), 0.0, array("d")
    for i in range(n + 200):
        x = phi * x + chance.gauss(0.0, 1.0)
        if i >= 200:
            values.append(x)
    return values


def oracle(values: array[float], cut: float, lags: int) -> float:
    """Correlation of 1{x <= cut} at a lag, slowly."""
    series = [1.0 if value <= cut else 0.0 for value in values]
    mean = sum(series) / len(series)
    variance = sum((s - mean) ** 2 for s in series) / len(series)
    pairs = zip(series, series[lags:], strict=False)
    return sum((a - mean) * (b - mean) for a, b in pairs) / len(series) / variance


@given(st.lists(st.integers(0, 5).map(float), min_size=2, max_size=60), st.integers(0, 59))
def test_correlations_by_bits_equal_the_definition(values: list[float], lag: int) -> None:
    lag = min(lag, len(values) - 1)
    cut = sorted(values)[len(values) // 2]
    series = array("d", values)
    if all(value <= cut for value in values):
        return
    found = Indicator([value <= cut for value in series]).correlation(lag)
    assert math.isclose(found, oracle(series, cut, lag), abs_tol=1e-9)


@pytest.mark.parametrize(
    # The true factors: tau of the indicator of an AR(1) process at its median, from arcsin(phi**k).
    ("phi", "truth"),
    [(0.0, 1.0), (0.1, 1.068), (0.5, 1.519), (0.9, 3.644)],
)
def test_the_bound_covers_the_truth_and_is_not_far_above(phi: float, truth: float) -> None:
    found = [sqrt_tau(autoregressive(seed, 5_000, phi)) for seed in range(40)]
    assert sum(factor >= truth for factor in found) >= 36
    assert sorted(found)[20] < 1.2 * truth


def test_a_shuffled_sample_hides_it() -> None:
    values = list(autoregressive(1, 5_000, 0.9))
    random.Random(2).shuffle(values)
    assert sqrt_tau(array("d", values)) < 1.2


@pytest.mark.parametrize("values", [[], [1.0] * 500, [1.0, 2.0], [math.inf] * 30])
def test_nothing_to_estimate_from_is_a_factor_of_one(values: list[float]) -> None:
    assert sqrt_tau(array("d", values)) == 1.0


def test_infinities_and_rare_values_are_values_like_others() -> None:
    values = normal(3, 2_000)
    values[::50] = array("d", [math.inf]) * 40
    assert 1.0 <= sqrt_tau(values) < 1.2
    assert 1.0 <= sqrt_tau(array("d", [0.0] * 999 + [1.0])) < 1.2

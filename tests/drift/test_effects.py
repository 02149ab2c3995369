from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from edgemon._core.ks import SlidingKS
from edgemon.drift.effects import (
    cramer_von_mises,
    effects,
    jensen_shannon,
    quantile_shifts,
    wasserstein,
)
from edgemon.drift.explain import QUANTILES, histograms, psi
from edgemon.drift.profile import FeatureProfile
from tests.drift.data import normal, profile_of

numbers = st.integers(-5, 5).map(float) | st.floats(-10, 10)
samples = st.lists(numbers, min_size=2, max_size=60)


def counted(sample: list[float], window: list[float]) -> tuple[FeatureProfile, list[int]]:
    """The reference, and the window's counts by bucket."""
    profile = profile_of(output=sample)
    ks = SlidingKS(profile.reference("output", 10**6), max(1, len(window)), 1 << 40)
    for x in window:
        ks.push(x)
    return profile.features[0], ks.counts()


def on_reference(sample: list[float], picks: list[int]) -> list[float]:
    return [sample[pick % len(sample)] for pick in picks]


picks = st.lists(st.integers(0, 59), min_size=2, max_size=60)


@given(samples, picks)
def test_wasserstein_is_scipys_when_the_window_stands_on_the_reference(
    sample: list[float], chosen: list[int]
) -> None:
    window = on_reference(sample, chosen)
    feature, buckets = counted(sample, window)
    found = wasserstein(feature.values, feature.counts, buckets)
    expected = stats.wasserstein_distance(sample, window)
    assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)


@given(samples, st.lists(numbers, min_size=1, max_size=60))
def test_between_two_reference_values_wasserstein_takes_the_middle_and_outside_the_end(
    sample: list[float], window: list[float]
) -> None:
    feature, buckets = counted(sample, window)
    values = list(feature.values)
    moved = []
    for x in window:
        above = int(np.searchsorted(values, x, side="left"))
        if above == len(values) or above == 0 or values[above] == x:
            moved.append(values[min(above, len(values) - 1)])
        else:
            moved.append((values[above - 1] + values[above]) / 2)
    found = wasserstein(feature.values, feature.counts, buckets)
    expected = stats.wasserstein_distance(sample, moved)
    assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


@given(samples, picks)
def test_cramer_von_mises_is_scipys_with_ties(sample: list[float], chosen: list[int]) -> None:
    window = on_reference(sample, chosen)
    feature, buckets = counted(sample, window)
    found = cramer_von_mises(feature.counts, buckets)
    expected = stats.cramervonmises_2samp(sample, window).statistic
    assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


@given(samples, picks)
def test_cramer_von_mises_is_rounded_once(sample: list[float], chosen: list[int]) -> None:
    window = on_reference(sample, chosen)
    feature, buckets = counted(sample, window)
    m, n, pooled = len(sample), len(window), sorted(sample + window)
    total = Fraction(0)
    for size, own in ((m, sorted(sample)), (n, sorted(window))):
        for i, x in enumerate(own, 1):
            rank = Fraction(2 * pooled.index(x) + 1 + pooled.count(x), 2)
            total += size * (rank - i) ** 2
    exact = total / (m * n * (m + n)) - Fraction(4 * m * n - 1, 6 * (m + n))
    assert cramer_von_mises(feature.counts, buckets) == float(exact)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20))
def test_jensen_shannon_is_the_square_of_scipys_distance_in_bits(
    table: list[tuple[int, int]],
) -> None:
    p, q = [a for a, _ in table], [b for _, b in table]
    found = jensen_shannon(p, q)
    if sum(p) and sum(q):
        expected = distance.jensenshannon(p, q, base=2) ** 2
        # scipy's root of what should be 0 can be of a small negative number.
        assert math.isclose(found, 0.0 if math.isnan(expected) else expected, abs_tol=1e-12)
        assert math.isclose(found, jensen_shannon(q, p), abs_tol=1e-12)
    else:
        assert found == 0.0
    assert 0.0 <= found <= 1.0


@given(samples, picks)
def test_quantile_shifts_are_differences_of_the_values_own_quantiles(
    sample: list[float], chosen: list[int]
) -> None:
    window = on_reference(sample, chosen)
    feature, buckets = counted(sample, window)
    expected = [
        float(np.quantile(window, q, method="inverted_cdf"))
        - float(np.quantile(sample, q, method="inverted_cdf"))
        for q in QUANTILES
    ]
    assert quantile_shifts(feature.values, feature.counts, buckets) == expected


def test_all_of_them_for_a_shift_by_one() -> None:
    sample, window = normal(1, 10_000), normal(2, 1_000, mean=1.0)
    feature, buckets = counted(list(sample), list(window))
    found = effects(feature.values, feature.counts, feature.edges, buckets)
    assert 0.9 < found.wasserstein < 1.1
    assert all(0.85 < shift < 1.2 for shift in found.quantile_shifts)
    assert found.cramer_von_mises > 30
    bins = histograms(feature.values, feature.counts, buckets, feature.edges)
    assert found.jensen_shannon == jensen_shannon(*bins) > 0.1
    assert found.psi == psi(*bins) > 0.5


def test_equal_laws_have_no_effect() -> None:
    sample = [float(i % 40) for i in range(400)]
    feature, buckets = counted(sample, sample)
    found = effects(feature.values, feature.counts, feature.edges, buckets)
    assert found[:3] == (0.0, 0.0, 0.0)
    assert found.quantile_shifts == (0.0,) * 5
    assert found.cramer_von_mises <= 1 / 6


def test_constants() -> None:
    feature, buckets = counted([5.0] * 30, [5.0] * 10)
    assert wasserstein(feature.values, feature.counts, buckets) == 0.0
    feature, buckets = counted([5.0] * 30, [6.0] * 10)
    # Beyond the range: KS sees it, the distance is not known.
    assert wasserstein(feature.values, feature.counts, buckets) == 0.0
    assert cramer_von_mises(feature.counts, buckets) > 1.0


def test_an_empty_window_has_no_effect() -> None:
    feature, buckets = counted([1.0, 2.0], [])
    assert wasserstein(feature.values, feature.counts, buckets) == 0.0
    assert cramer_von_mises(feature.counts, buckets) == 0.0
    assert all(map(math.isnan, quantile_shifts(feature.values, feature.counts, buckets)))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ([-math.inf, 0.0, 1.0, math.inf], 0.0),
        ([-math.inf, 1.0, 1.0, math.inf], 0.25),
        ([0.0, 0.0, 1.0, math.inf], math.inf),
        ([-math.inf, 0.0, 1.0, 5.0], 0.0),  # between 1 and inf: at the upper end
    ],
)
def test_infinities_cost_nothing_unless_mass_crosses_to_them(
    window: list[float], expected: float
) -> None:
    feature, buckets = counted([-math.inf, 0.0, 1.0, math.inf], window)
    assert wasserstein(feature.values, feature.counts, buckets) == expected


def test_a_range_that_overflows_has_a_distance() -> None:
    largest = 1.7e308
    feature, buckets = counted([-largest, largest], [-largest] * 3 + [largest])
    assert math.isclose(wasserstein(feature.values, feature.counts, buckets), largest / 2)

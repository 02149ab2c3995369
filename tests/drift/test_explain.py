from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgemon._core.ks import SlidingKS
from edgemon.drift.detector import DriftDetector
from edgemon.drift.explain import histograms, psi, window_quantiles
from edgemon.drift.threshold import Threshold
from tests.drift.data import normal, profile_of

numbers = st.integers(-5, 5).map(float) | st.floats(-10, 10)


@given(st.lists(numbers, min_size=20, max_size=100), st.lists(numbers, min_size=1, max_size=60))
def test_histograms_are_those_of_the_values(reference: list[float], window: list[float]) -> None:
    profile = profile_of(output=reference)
    feature = profile.features[0]
    ks = SlidingKS(profile.reference("output", len(window)), len(window), 1 << 40)
    for x in window:
        ks.push(x)
    found = histograms(feature.values, feature.counts, ks.counts(), feature.edges)
    for counts, values in zip(found, (reference, window), strict=True):
        expected = np.bincount(np.searchsorted(feature.edges, values, side="left"), minlength=20)
        assert counts == list(expected)


@given(st.lists(numbers, min_size=2, max_size=50), st.floats(0.01, 1.0))
def test_quantiles_of_a_window_on_the_references_values_are_exact(
    sample: list[float], q: float
) -> None:
    profile = profile_of(output=sample)
    ks = SlidingKS(profile.reference("output", len(sample)), len(sample), 1 << 40)
    for x in sample:
        ks.push(x)
    expected = profile.features[0].quantile(q)
    assert window_quantiles(profile.features[0].values, ks.counts(), (q,)) == [expected]


def test_quantiles_between_two_reference_values_are_their_middle_and_outside_the_end() -> None:
    assert window_quantiles([1.0, 2.0], [0, 0, 3, 0, 0], (0.5,)) == [1.5]
    assert window_quantiles([1.0, 2.0], [3, 0, 0, 0, 0], (0.5,)) == [1.0]
    assert window_quantiles([1.0, 2.0], [0, 0, 0, 0, 3], (0.5,)) == [2.0]
    assert window_quantiles([1.0, math.inf], [0, 0, 3, 0, 0], (0.5,)) == [math.inf]
    assert math.isnan(window_quantiles([1.0], [0, 0, 0], (0.5,))[0])


@given(st.lists(st.integers(0, 50), min_size=20, max_size=20))
def test_psi_is_symmetric_never_negative_and_zero_for_equals(counts: list[int]) -> None:
    other = [*counts[1:], counts[0]]
    assert psi(counts, counts) == 0.0
    assert psi(counts, other) >= 0.0
    assert math.isclose(psi(counts, other), psi(other, counts), abs_tol=1e-12)


@pytest.mark.parametrize(("shift", "direction"), [(2.0, "up"), (-2.0, "down")])
def test_the_explanation_is_that_of_scipy_in_the_same_window(shift: float, direction: str) -> None:
    reference, window = normal(1, 1_000), normal(2, 100, mean=shift)
    profile = profile_of(output=reference)
    feature = profile.features[0]
    detector = DriftDetector(
        feature, profile.reference("output", 100), 100, Threshold(900, 1_000, 1.0)
    )
    for x in window:
        detector.push(x)
    data = detector.explain()
    expected = stats.ks_2samp(reference, window)
    assert math.isclose(data["D"], expected.statistic, abs_tol=1e-12)  # type: ignore[arg-type]
    assert data["direction"] == direction
    # scipy names the value itself, which may be one of the window's; ours is the reference's next.
    at = data["at"]
    assert isinstance(at, float)
    below = max(x for x in (*reference, -math.inf) if x < at)
    assert below <= expected.statistic_location <= at
    assert sum(data["current_counts"]) == 100  # type: ignore[call-overload]
    assert sum(data["reference_counts"]) == 1_000  # type: ignore[call-overload]
    assert data["above_reference"] == sum(x > max(reference) for x in window)
    assert data["below_reference"] == sum(x < min(reference) for x in window)
    assert data["reference_quantiles"]["50%"] == feature.quantile(0.5)  # type: ignore[index]
    current = data["current_quantiles"]["50%"]  # type: ignore[index]
    assert abs(current - sorted(window)[49]) < 0.2
    assert math.isclose(data["p"], expected.pvalue, rel_tol=1e-9)  # type: ignore[arg-type]
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_both_curves_can_be_drawn_from_the_event_alone() -> None:
    reference, window = normal(1, 1_000), normal(2, 100, mean=0.7)
    profile = profile_of(output=reference)
    detector = DriftDetector(
        profile.features[0], profile.reference("output", 100), 100, Threshold(900, 1_000, 1.0)
    )
    for x in window:
        detector.push(x)
    data = detector.explain()
    drawn: dict[str, list[float]] = data["curves"]  # type: ignore[assignment]
    assert len(drawn["x"]) <= 64
    for x, was, now in zip(*drawn.values(), strict=True):
        assert was == sum(r <= x for r in reference) / 1_000
        assert now == sum(w <= x for w in window) / 100
    # The largest distance is among the points, and no step between two is large.
    assert max(was - now for was, now in zip(*list(drawn.values())[1:], strict=True)) >= (
        data["D"] - 0.011  # type: ignore[operator]
    )
    assert max(np.diff(drawn["reference"])) < 0.06 and max(np.diff(drawn["current"])) < 0.06


def test_infinities_are_text_in_an_event() -> None:
    profile = profile_of(output=[-math.inf, *normal(1, 100), math.inf])
    detector = DriftDetector(
        profile.features[0], profile.reference("output", 20), 20, Threshold(1, 1, 1.0)
    )
    for _ in range(20):
        detector.push(math.inf)
    data = detector.explain()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["range"] == ["-inf", "inf"] and data["current_quantiles"]["50%"] == "inf"  # type: ignore[index]

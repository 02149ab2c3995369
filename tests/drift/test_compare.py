from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgemon.drift.build import distinct
from edgemon.drift.compare import (
    NumericComparison,
    TextComparison,
    bonferroni,
    compare_profiles,
    holm,
    into_buckets,
    two_rates,
)
from edgemon.drift.report import peak
from tests.drift.data import normal, profile_of

numbers = st.integers(-5, 5).map(float) | st.floats(-10, 10) | st.sampled_from([-0.0, 1e300])


# scipy's own, of its p-value for samples of one or two.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(st.lists(numbers, min_size=1, max_size=60), st.lists(numbers, min_size=1, max_size=60))
def test_the_distance_is_scipys_for_any_sizes_and_ties(a: list[float], b: list[float]) -> None:
    values, counts = distinct(sorted(x + 0.0 for x in a))
    other, other_counts = distinct(sorted(x + 0.0 for x in b))
    h, _, direction = peak(counts, into_buckets(values, other, other_counts))
    expected = stats.ks_2samp(a, b, method="asymp")
    assert h == round(expected.statistic * math.lcm(len(a), len(b)))
    assert direction in (0, 1, -1)


def test_streams_of_both_sides_are_compared_and_the_others_named() -> None:
    first = profile_of(output=normal(1, 300), f_a=["x", "y"] * 150, f_gone=normal(2, 300))
    second = profile_of(output=normal(3, 200, mean=1.0), f_a=["x", "z"] * 100, f_new=["n"] * 200)
    found = compare_profiles(first, second)
    assert (found.lost, found.new) == (("f:gone",), ("f:new",))
    output, a = found.of
    assert isinstance(output, NumericComparison)
    assert isinstance(a, TextComparison)
    expected = stats.ks_2samp(normal(1, 300), normal(3, 200, mean=1.0))
    assert math.isclose(output.d, expected.statistic, abs_tol=1e-12)
    assert math.isclose(output.p, expected.pvalue, rel_tol=1e-9)
    assert output.direction == "up"
    assert (a.d, a.new, a.lost) == (0.5, ("z",), ("y",))


def test_a_stream_of_another_kind_is_lost_and_new() -> None:
    found = compare_profiles(profile_of(f_a=normal(1, 100)), profile_of(f_a=["x"] * 100))
    assert (found.of, found.lost, found.new) == ((), ("f:a",), ("f:a",))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_never_above_bonferroni_and_rejects_the_same_first_one(ps: list[float]) -> None:
    ours = holm(ps)
    assert all(h <= b for h, b in zip(ours, bonferroni(ps), strict=True))
    assert all(h >= p for h, p in zip(ours, ps, strict=True))
    assert min(ours) == min(bonferroni(ps))
    assert [i for _, i in sorted(zip(ps, range(len(ps)), strict=True))] == sorted(
        range(len(ps)), key=lambda i: (ours[i], ps[i], i)
    )


def test_dependent_values_make_the_same_distance_less_surprising() -> None:
    first, second = profile_of(output=normal(1, 500)), profile_of(output=normal(2, 500, mean=0.3))
    plain = compare_profiles(first, second).of[0]
    dependent = second.features[0]._replace(sqrt_tau=2.0)
    second.features = (dependent,)
    widened = compare_profiles(first, second).of[0]
    assert widened.d == plain.d
    assert widened.p > 20 * plain.p


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_two_rates_are_compared_as_scipy_does(k: int, m: int, other: int, n: int) -> None:
    k, other = min(k, m), min(other, n)
    found = two_rates(k, m, other, n)
    table = [[k, m - k], [other, n - other]]
    if min(map(sum, zip(*table, strict=True))) * min(m, n) >= 5 * (m + n):
        assert math.isclose(found, stats.chi2_contingency(table, correction=False)[1], rel_tol=1e-9)
    else:
        assert math.isclose(found, stats.fisher_exact(table)[1], rel_tol=1e-6)


def test_a_new_category_is_never_lost_among_small_counts() -> None:
    first = profile_of(f_c=["x", "y"] * 500)
    second = profile_of(f_c=[*(["x", "y"] * 250), *(["z"] * 12)])
    (found,) = compare_profiles(first, second).of
    assert found.p < 1e-4


@pytest.mark.parametrize("missing", [0, 50])
def test_missing_rates_are_compared_too(missing: int) -> None:
    first, second = (profile_of(output=normal(seed, 500)) for seed in (1, 2))
    second.features = (second.features[0]._replace(missing=missing),)
    found = compare_profiles(first, second).of[0].missing
    assert (found.p < 1e-6) == (missing > 0)
    assert math.isclose(found.current, missing / (500 + missing))

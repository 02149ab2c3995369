"""Count, mean, M2, minimum, maximum: against exact fractions, over merges, at the ends of the range."""

from __future__ import annotations

import math
from array import array
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgemon._core.moments import Moments

LARGEST = 1.7976931348623157e308
finite = st.floats(allow_nan=False, allow_infinity=False)
ordinary = st.floats(-1e9, 1e9, allow_subnormal=False)


def moments_of(values: list[float]) -> Moments:
    moments = Moments()
    for x in values:
        moments.push(x)
    return moments


def exact(values: list[float]) -> tuple[Fraction, Fraction]:
    """Mean and M2 without rounding."""
    mean = sum(map(Fraction, values), Fraction(0)) / len(values)
    return mean, sum(((Fraction(x) - mean) ** 2 for x in values), Fraction(0))


def assert_close(moments: Moments, values: list[float]) -> None:
    mean, m2 = exact(values)
    scale = max(abs(x) for x in values)
    n = len(values)
    assert moments.count == n
    assert (moments.min, moments.max) == (min(values), max(values))
    assert moments.mean == pytest.approx(float(mean), rel=0, abs=4 * n * 2**-53 * scale)
    # A relative bound: M2 may be tiny beside the mean.
    noise = (4 * n * 2**-53 * scale) ** 2 * n
    assert moments.m2 == pytest.approx(float(m2), rel=8 * n * 2**-53 + 1e-12, abs=4 * noise)


@given(st.lists(ordinary, min_size=1, max_size=80))
def test_moments_are_those_of_exact_arithmetic(values: list[float]) -> None:
    assert_close(moments_of(values), values)


@given(st.lists(st.lists(ordinary, max_size=30), min_size=1, max_size=5))
def test_merge_is_the_moments_of_both(parts: list[list[float]]) -> None:
    merged = Moments()
    for part in parts:
        merged.merge(moments_of(part))
    values = [x for part in parts for x in part]
    if values:
        assert_close(merged, values)
    else:
        assert merged.state() == Moments().state()


def test_merge_with_itself_doubles() -> None:
    moments = moments_of([1.0, 2.0, 6.0])
    moments.merge(moments)
    assert moments.state() == (6, 3.0, 28.0, 1.0, 6.0)


@given(finite, st.integers(1, 200))
def test_a_constant_has_no_spread_at_all(x: float, n: int) -> None:
    moments = moments_of([x] * n)
    assert (moments.count, moments.mean, moments.m2) == (n, x, 0.0)
    moments.merge(moments_of([x] * n))
    assert (moments.mean, moments.m2) == (x, 0.0)


def test_a_small_spread_on_a_large_mean_survives() -> None:
    moments = moments_of([1e9 + x for x in (4.0, 7.0, 13.0, 16.0)] * 250)
    assert moments.variance == pytest.approx(22500 / 999, rel=1e-9)


@given(st.lists(finite, min_size=1, max_size=30), st.lists(finite, max_size=30))
@example([LARGEST, -LARGEST, LARGEST], [])
@example([LARGEST], [-LARGEST])
@example([LARGEST, LARGEST], [LARGEST])
@example([5e-324, 0.0, -5e-324], [5e-324])
def test_mean_stays_between_min_and_max_and_m2_is_never_nan(
    values: list[float], others: list[float]
) -> None:
    moments = moments_of(values)
    moments.merge(moments_of(others))
    assert moments.min <= moments.mean <= moments.max
    assert moments.m2 >= 0.0
    mean, _ = exact(values + others)
    scale = max(abs(x) for x in values + others)
    assert abs(Fraction(moments.mean) - mean) <= Fraction(scale) / 10**12 + Fraction(5e-324) * 64


def test_m2_overflows_to_infinity_and_stays() -> None:
    moments = moments_of([LARGEST, -LARGEST])
    assert (moments.mean, moments.m2, moments.variance) == (0.0, math.inf, math.inf)
    moments.push(1.0)
    moments.merge(moments_of([2.0]))
    assert moments.m2 == math.inf


def test_empty_has_no_mean_and_one_value_no_variance() -> None:
    moments = Moments()
    assert moments.count == 0 and moments.m2 == 0.0
    for value in (moments.mean, moments.min, moments.max, moments.variance):
        assert math.isnan(value)
    moments.push(3.0)
    assert moments.mean == 3.0 and math.isnan(moments.variance)
    moments.reset()
    assert moments.state() == (0, 0.0, 0.0, math.inf, -math.inf)


@pytest.mark.parametrize("x", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused_and_change_nothing(x: float) -> None:
    moments = moments_of([1.0])
    with pytest.raises(ValueError, match="finite"):
        moments.push(x)
    with pytest.raises(ValueError, match="finite"):
        moments.push_many(array("d", [2.0, x]))
    assert moments.state() == (1, 1.0, 0.0, 1.0, 1.0)


def test_bool_and_text_are_no_numbers() -> None:
    for wrong in (True, "1", None):
        with pytest.raises(TypeError):
            Moments().push(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Moments().push_many(array("q", [1]))
    with pytest.raises(TypeError):
        Moments().merge(None)  # type: ignore[arg-type]


@given(st.lists(ordinary, max_size=40))
def test_push_many_is_push(values: list[float]) -> None:
    many = Moments()
    many.push_many(array("d", values))
    assert many.state() == moments_of(values).state()


@given(st.lists(finite, max_size=20))
def test_state_makes_the_same_moments_again(values: list[float]) -> None:
    state = moments_of(values).state()
    assert Moments.from_state(state).state() == state


@pytest.mark.parametrize(
    "state",
    [
        (-1, 0.0, 0.0, 0.0, 0.0),
        (1 << 63, 0.0, 0.0, 0.0, 0.0),
        (2, 5.0, 0.0, 0.0, 1.0),
        (2, 0.0, -1.0, 0.0, 0.0),
        (2, math.nan, 0.0, 0.0, 0.0),
        (2, 0.0, math.nan, 0.0, 0.0),
        (2, 0.0, 0.0, -math.inf, 0.0),
    ],
)
def test_a_state_that_no_stream_has_is_refused(
    state: tuple[int, float, float, float, float],
) -> None:
    with pytest.raises(ValueError, match=r"count|moments"):
        Moments.from_state(state)


def test_merge_beyond_the_count_is_refused() -> None:
    huge = Moments.from_state(((1 << 63) - 1, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(OverflowError):
        huge.merge(moments_of([1.0]))

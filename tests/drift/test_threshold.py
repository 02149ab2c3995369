from __future__ import annotations

import math
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift.threshold import (
    BlindDetectorError,
    OutsideTableError,
    critical_value,
    threshold,
)

ratios = st.floats(1.0, 1000.0)
windows = st.integers(10, 5_000)
horizons = st.floats(0.1, 1e6)
probabilities = st.floats(1e-4, 0.4)
looks = st.integers(1, 2_000)


@pytest.mark.parametrize(
    ("ratio", "horizon", "quantiles"),
    [
        # First estimates of 150 to 1000 replicates, at the 50, 90, 95 and 99 % points.
        (1, 100, (1.72, 2.06, 2.17, 2.44)),
        (10, 1000, (2.29, 2.53, 2.60, 2.80)),
    ],
)
def test_the_table_agrees_with_first_estimates(
    ratio: int, horizon: int, quantiles: tuple[float, ...]
) -> None:
    for p, expected in zip((0.5, 0.1, 0.05, 0.01), quantiles, strict=True):
        found = critical_value(ratio, 1000, horizon, p)
        assert expected - 0.06 <= found <= expected + 0.12


@given(ratios, windows, horizons, probabilities, st.floats(1.0, 50.0), looks)
def test_a_rarer_false_alarm_wants_a_higher_threshold(
    ratio: float, n: int, horizon: float, p: float, times: float, every: int
) -> None:
    rarer = critical_value(ratio, n, horizon, p / times, every)
    assert rarer >= critical_value(ratio, n, horizon, p, every)


@given(ratios, windows, horizons, probabilities, st.floats(1.0, 100.0), looks)
def test_a_longer_horizon_wants_a_higher_threshold(
    ratio: float, n: int, horizon: float, p: float, times: float, every: int
) -> None:
    longer = critical_value(ratio, n, horizon * times, p, every)
    assert longer >= critical_value(ratio, n, horizon, p, every)


@given(ratios, windows, horizons, probabilities, st.floats(1.0, 100.0), looks)
def test_a_larger_reference_never_has_a_smaller_c(
    ratio: float, n: int, horizon: float, p: float, times: float, every: int
) -> None:
    larger = critical_value(ratio * times, n, horizon, p, every)
    assert larger >= critical_value(ratio, n, horizon, p, every) * (1 - 1e-12)


@given(ratios, windows, horizons, probabilities, looks, looks)
def test_looking_less_often_never_wants_a_higher_threshold(
    ratio: float, n: int, horizon: float, p: float, one: int, other: int
) -> None:
    often, seldom = sorted((one, other))
    c = critical_value(ratio, n, horizon, p, often)
    assert critical_value(ratio, n, horizon, p, seldom) <= c


@given(windows, windows, horizons, probabilities)
def test_a_larger_window_never_has_a_smaller_c(n: int, k: int, horizon: float, p: float) -> None:
    small, large = sorted((n, k))
    assert critical_value(10, large, horizon, p) >= critical_value(10, small, horizon, p)


@given(st.integers(10, 3_000), st.integers(1, 30), probabilities, st.floats(1.0, 3.0))
def test_h_is_the_smallest_integer_that_keeps_the_promise(
    n: int, ratio: int, p: float, sqrt_tau: float
) -> None:
    m = ratio * n
    try:
        found = threshold(m, n, 1000 * n, p, sqrt_tau)
    except BlindDetectorError:
        return
    scale = math.sqrt(m * n / (m + n)) / math.lcm(m, n)
    assert found.h * scale >= found.c * sqrt_tau * (1 - 1e-12)
    assert (found.h - 1) * scale < found.c * sqrt_tau
    assert found.d == found.h / found.lcm <= 1.0


def uniform(random: np.random.Generator, size: int) -> array[float]:
    return array("d", random.random(size).tobytes())


def share_of_healthy_streams_with_an_alarm(
    ratio: int, n: int, windows: int, p: float, every: int, streams: int
) -> float:
    """Of uniform values, each stream with a reference of its own; a seeded simulation."""
    m = ratio * n
    h = threshold(m, n, windows * n, p, every=every).h
    random = np.random.default_rng(20240229)
    once, alarms = array("q", [1] * m), 0
    for _ in range(streams):
        ks = SlidingKS(Reference(array("d", sorted(uniform(random, m))), once), n, h)
        values = uniform(random, (windows + 1) * n)
        if every == 1:
            alarms += ks.push_many(values) >= 0
            continue
        for look in range(n, len(values) + 1, every):
            for value in values[0 if look == n else look - every : look]:
                ks.push(value)
            if ks.h >= h:
                alarms += 1
                break
    return alarms / streams


@pytest.mark.parametrize(
    ("ratio", "n", "windows", "p", "every", "streams"),
    [
        # Between the entries in ratio, horizon and window, the second beyond all tabulated ratios.
        (3, 40, 30, 0.1, 1, 8000),
        (150, 20, 7, 0.03, 1, 4000),
        (3, 70, 15, 0.07, 10, 1500),
        (10, 10, 50, 0.05, 1, 4000),  # the smallest window
    ],
)
def test_healthy_streams_alarm_as_rarely_as_promised_between_the_entries(
    ratio: int, n: int, windows: int, p: float, every: int, streams: int
) -> None:
    share = share_of_healthy_streams_with_an_alarm(ratio, n, windows, p, every, streams)
    error = math.sqrt(p * (1 - p) / streams)
    assert share <= p + 2 * error
    # Safe, yet not by being blind. Below the tabulated window it is blunter, and says so.
    assert share >= (0.4 if n >= 40 else 0.2) * p


def test_beyond_the_longest_tabulated_horizon_the_union_bound_holds() -> None:
    assert critical_value(10, 100, 100_000, 0.1) == critical_value(10, 100, 10_000, 0.01)


def test_probabilities_of_a_split_budget_are_reached() -> None:
    # 21 streams and half of a budget of 1 % over a million predictions.
    found = threshold(10_000, 1_000, 1_000_000, 0.005 / 21)
    assert 0.095 < found.d < 0.115


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((500, 1000, 1_000_000, 0.01), "smaller than the window"),
        ((100, 5, 1_000_000, 0.01), "at least 10"),
        ((1000, 100, 1_000_000, 0.0), "between 0 and 1"),
        ((1000, 100, 1_000_000, 1.0), "between 0 and 1"),
        ((1000, 100, 1_000_000, math.nan), "between 0 and 1"),
        ((1000, 100, 10**12, 1e-6), "rarer than the table reaches"),
        ((1000, 100, 0, 0.1), "at least one prediction"),
    ],
)
def test_outside_the_table_it_says_so(arguments: tuple[int, int, int, float], words: str) -> None:
    with pytest.raises(OutsideTableError, match=words):
        threshold(*arguments)


def test_looks_that_do_not_come_are_refused() -> None:
    with pytest.raises(OutsideTableError, match="cannot look every 0 predictions"):
        threshold(1000, 100, 1_000_000, 0.01, every=0)


def test_a_blind_detector_is_refused_with_what_would_do() -> None:
    with pytest.raises(BlindDetectorError, match="what would do: ") as refused:
        threshold(1000, 20, 1_000_000, 1e-4, 3.0)
    message = str(refused.value)
    assert "a window of 120" in message
    # The first remedy is true.
    assert threshold(1000, 120, 1_000_000, 1e-4, 3.0).d <= 1.0
    with pytest.raises(BlindDetectorError):
        threshold(1000, 100, 1_000_000, 1e-4, 3.0)


def test_an_autocorrelated_stream_has_its_threshold_scaled() -> None:
    plain, scaled = (threshold(10_000, 1_000, 1_000_000, 0.01, tau).h for tau in (1.0, 2.0))
    assert abs(scaled - 2 * plain) <= 1
    assert threshold(10_000, 1_000, 1_000_000, 0.01, 0.5).h == plain

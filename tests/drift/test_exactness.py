"""Equal to scipy on 10,000 windows, and in alarm times to a test at every prediction on 10,000 streams."""

from __future__ import annotations

import math
import random
import warnings
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift.pvalue import ks_pvalue
from tests.core.oracle import ks_at_every_slide, reference_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST = 1.7976931348623157e308
ENDS = [math.inf, -math.inf, 0.0, -0.0, 5e-324, -5e-324, LARGEST, -LARGEST]
tied = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0])
constant = st.just(2.0)
anything = st.one_of(tied, st.sampled_from(ENDS), st.floats(allow_nan=False))
ordinary = st.floats(-3, 3)

EXAMPLES = 400
WINDOWS = 25


@st.composite
def slides(draw: st.DrawFn) -> tuple[list[float], list[float], int]:
    """A sample, a window size and a stream with WINDOWS full windows."""
    values = draw(st.sampled_from([tied, constant, anything, ordinary]))
    later = draw(st.sampled_from([values, tied, anything, ordinary]))
    sample = draw(st.lists(values, min_size=1, max_size=60))
    n = draw(st.one_of(st.integers(1, 40), st.just(len(sample))))
    length = n + WINDOWS - 1
    return sample, draw(st.lists(later, min_size=length, max_size=length)), n


def scipy_exact(sample: list[float], window: list[float]) -> tuple[float, float]:
    """(statistic, exact p-value). scipy gives up, with a warning, when its p comes out as more than
    1 by a rounding: then it is 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            exact = stats.ks_2samp(sample, window, method="exact")
        except RuntimeWarning:
            warnings.simplefilter("ignore", RuntimeWarning)
            return float(stats.ks_2samp(sample, window, method="asymp").statistic), 1.0
    return float(exact.statistic), float(exact.pvalue)


@settings(max_examples=EXAMPLES)
@given(slides())
def test_statistic_and_exact_p_equal_scipys_on_random_windows(
    case: tuple[list[float], list[float], int],
) -> None:
    """25 windows an example: 10,000 in all."""
    sample, stream, n = case
    ks = SlidingKS(reference_of(sample), n, 1)
    for x in stream[: n - 1]:
        ks.push(x)
    for end in range(n, len(stream) + 1):
        ks.push(stream[end - 1])
        statistic, p = scipy_exact(sample, stream[end - n : end])
        assert abs(ks.d - statistic) <= 1e-12
        assert math.isclose(ks_pvalue(ks.h, len(sample), n), p, rel_tol=1e-9)


def random_values(rng: random.Random, n: int, shift: float) -> list[float]:
    kind = rng.randrange(4)
    if kind == 0:
        return [float(rng.randrange(4)) + round(shift) for _ in range(n)]
    if kind == 1:
        return [rng.choice(ENDS) for _ in range(n)]
    return [rng.gauss(shift, 1.0) for _ in range(n)]


def crossings(ks: SlidingKS, stream: array[float]) -> list[int]:
    """Predictions at which push_many stops."""
    found, begin = [], 0
    view = memoryview(stream)
    while (crossed := ks.push_many(view[begin:])) >= 0:
        begin += crossed + 1
        found.append(begin - 1)
    return found


def test_alarm_times_are_those_of_a_test_at_every_prediction_on_10_000_streams() -> None:
    rng = random.Random(4_511)
    alarmed = onsets = 0
    for _ in range(10_000):
        m, n = rng.randrange(1, 40), rng.randrange(1, 16)
        sample = random_values(rng, m, 0.0)
        stream = random_values(rng, n + 25, 0.0) + random_values(
            rng, n + 10, rng.choice((0.0, 1.0))
        )
        hs = ks_at_every_slide(sample, stream, n)
        # Thresholds that are reached now and then, more seldom or often, and sometimes never.
        limit = max(1, int(sorted(hs)[rng.randrange(len(hs))]) + rng.choice((0, 0, 1)))
        expected = [k for k, h in enumerate(hs, n - 1) if h >= limit]
        reference = reference_of(sample)
        one_by_one = SlidingKS(reference, n, limit)
        assert [k for k, x in enumerate(stream) if one_by_one.push(x)] == expected
        assert crossings(SlidingKS(reference, n, limit), array("d", stream)) == expected
        alarmed += bool(expected)
        onsets += sum(k - 1 not in expected for k in expected)
    assert alarmed > 8_000
    assert onsets > 8_000


@pytest.mark.parametrize(
    ("u", "m", "n"),
    [
        pytest.param(40, 40, 20, id="2-byte steps, 2-byte slots"),
        pytest.param(211, 211, 200, id="4-byte steps, 2-byte slots"),
        pytest.param(40_000, 40_000, 40_000, id="4-byte steps, 4-byte slots"),
        pytest.param(10, 50_021, 50_000, id="8-byte steps, 2-byte slots"),
        pytest.param(50_021, 50_021, 50_000, id="8-byte steps, 4-byte slots"),
    ],
)
def test_push_many_is_push_at_every_width(u: int, m: int, n: int) -> None:
    rng = random.Random(u)
    values = array("d", sorted({rng.gauss(0.0, 1.0) for _ in range(u)}))
    counts = array("q", [m // u + (i < m % u) for i in range(u)])
    reference = Reference(values, counts)
    limit = int(0.4 * math.lcm(m, n))
    stream = array("d", (rng.choice(values) + rng.choice((0.0, 1e-9)) for _ in range(n + n // 2)))
    stream += array("d", (rng.gauss(2.0, 1.0) for _ in range(n)))
    stream += array("d", (rng.gauss(0.0, 1.0) for _ in range(n)))
    one, many = SlidingKS(reference, n, limit), SlidingKS(reference, n, limit)
    expected = [k for k, x in enumerate(stream) if one.push(x)]
    assert crossings(many, stream) == expected
    assert 0 < len(expected) < len(stream) - n
    assert many.counts() == one.counts()
    assert (many.h, many.peak()) == (one.h, one.peak())


def h_of_sorted(values: Floats, ranks: Ints, window: Floats, w_w: int) -> int:
    """h of a large reference (distinct values, weighted ranks) and a window, by searching."""
    ordered = np.sort(window)
    at = np.searchsorted(ordered, values, side="right") * w_w
    before = np.searchsorted(ordered, values, side="left") * w_w
    steps = np.diff(ranks, prepend=0)
    return int(max(np.abs(ranks - at).max(), np.abs(ranks - steps - before).max()))


@pytest.mark.parametrize(
    ("u", "n"),
    [
        pytest.param(2_500, 250, id="2-byte steps"),
        pytest.param(2_500, 2_500, id="2-byte steps, m = n"),
        pytest.param(4_001, 400, id="4-byte steps"),
    ],
)
def test_bounds_of_a_large_reference_never_hide_a_crossing(u: int, n: int) -> None:
    """From some thousand distinct values on, scans are put off by bounds: also when the stream hovers
    at the threshold, the threshold moves, h is asked for, or all values fall into one place."""
    rng = np.random.default_rng(u + n)
    values = np.sort(rng.standard_normal(u))
    lcm = math.lcm(u, n)
    ranks, w_w = np.arange(1, u + 1) * (lcm // u), lcm // n
    ks = SlidingKS(Reference(values.data, np.ones(u, dtype=np.int64).data), n, lcm)
    stream = rng.standard_normal(4 * n + 2_000)
    for _ in range(12):
        begin = rng.integers(n, len(stream) - n)
        stream[begin : begin + n // 2] = rng.choice(
            (rng.normal(0.3, 1.0, n // 2), np.full(n // 2, 0.4))
        )
    window: list[float] = []
    crossings = 0
    was = False
    for i, x in enumerate(stream.tolist()):
        window = [*window[-n + 1 :], x]
        above = ks.push(x)
        if i + 1 < n:
            assert not above
            continue
        h = h_of_sorted(values, ranks, np.array(window), w_w)
        assert above == (h >= ks.threshold_h), i
        crossings += above and not was
        was = above
        if rng.random() < 0.02:
            ks.threshold_h = max(1, h + int(rng.integers(-2, 8)) * w_w)
        if rng.random() < 0.02:
            assert ks.h == h
    assert crossings > 20
    assert ks.scans < (len(stream) - n) / 2

"""The sliding Kolmogorov-Smirnov statistic: exact numbers, exact alarm times, stated memory."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from edgemon._core.ks import Reference, SlidingKS
from tests.core.oracle import (
    SegmentTreeKS,
    ks_at_every_slide,
    ks_from_scratch,
    reference_of,
)

LARGEST = 1.7976931348623157e308
# Few distinct values make ties; the rest are the ends of the range.
EDGES = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, LARGEST, -LARGEST, 5e-324, -5e-324, 1e-310]
tied = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, -1.0])
anything = st.one_of(tied, st.sampled_from(EDGES), st.floats(allow_nan=False))
samples = st.one_of(
    st.lists(tied, min_size=1, max_size=30),
    st.lists(anything, min_size=1, max_size=60),
    st.lists(st.floats(-1, 1), min_size=1, max_size=200),
)


def push_all(ks: SlidingKS, values: list[float]) -> list[bool]:
    return [ks.push(x) for x in values]


# --- reference --------------------------------------------------------------------------------


def bucket_by_counting(values: list[float], x: float) -> int:
    return 2 * sum(value < x for value in values) + (x in values)


@given(samples, st.lists(anything, max_size=40))
def test_bucket_and_rank_agree_with_counting(sample: list[float], others: list[float]) -> None:
    reference = reference_of(sample)
    values = sorted(set(sample))
    for x in sample + others:
        assert reference.bucket(x) == bucket_by_counting(values, x)
        assert reference.rank(x) == sum(r <= x for r in sample)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([7.0], id="one value"),
        pytest.param([math.inf], id="only infinity"),
        pytest.param([-math.inf, math.inf], id="only infinities"),
        pytest.param([-math.inf, 0.0, math.inf], id="one value between infinities"),
        pytest.param([-LARGEST, -1.0, 0.0, 1.0, LARGEST], id="range overflows"),
        pytest.param([5e-324 * i for i in range(100)], id="denormals"),
        pytest.param([1.0 + 2.0**-52 * i for i in range(500)], id="neighbours"),
        pytest.param([1e300 + 1e285 * i for i in range(500)], id="huge"),
        pytest.param([0.001 * i for i in range(999)] + [1e12], id="an outlier"),
        pytest.param([math.exp(i / 20) for i in range(-600, 600)], id="skewed"),
        pytest.param([i / 997 for i in range(997)], id="even"),
        pytest.param([float(i) for i in range(4)] + [1e6 + i / 64 for i in range(900)], id="crowd"),
    ],
)
def test_bucket_is_right_at_and_beside_every_reference_value(values: list[float]) -> None:
    reference = Reference(array("d", values), array("q", [1] * len(values)))
    for i, value in enumerate(values):
        assert reference.bucket(value) == 2 * i + 1
        below = math.nextafter(value, -math.inf)
        above = math.nextafter(value, math.inf)
        assert reference.bucket(below) == bucket_by_counting(values, below)
        assert reference.bucket(above) == bucket_by_counting(values, above)
    for x in EDGES:
        assert reference.bucket(x) == bucket_by_counting(values, x)


def test_bounds_and_value_say_where_a_bucket_is() -> None:
    reference = reference_of([1.0, 2.0, 2.0])
    assert [reference.bounds(b) for b in range(5)] == [
        (-math.inf, 1.0),
        (1.0, 1.0),
        (1.0, 2.0),
        (2.0, 2.0),
        (2.0, math.inf),
    ]
    assert [reference.value(b) for b in range(5)] == [1.0, 1.0, 2.0, 2.0, 2.0]
    assert (reference.m, reference.u) == (3, 2)
    for bucket in (-1, 5):
        with pytest.raises(ValueError, match="buckets are 0 to 4"):
            reference.bounds(bucket)
        with pytest.raises(ValueError, match="buckets are 0 to 4"):
            reference.value(bucket)


@pytest.mark.parametrize(
    ("values", "counts", "problem"),
    [
        ([], [], "1 to"),
        ([1.0], [1, 1], "1 values, but 2 counts"),
        ([2.0, 1.0], [1, 1], "must increase: 2.0 before 1.0"),
        ([1.0, 1.0], [1, 1], "must increase"),
        ([-0.0, 0.0], [1, 1], "must increase"),
        ([1.0, math.nan], [1, 1], "NaN"),
        ([1.0], [0], "at least 1"),
        ([1.0], [-1], "at least 1"),
        ([1.0, 2.0], [2**31 - 1, 1], "add up to"),
        ([1.0], [2**31], "add up to"),
    ],
)
def test_reference_refuses(values: list[float], counts: list[int], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Reference(array("d", values), array("q", counts))


def test_reference_needs_buffers_of_doubles_and_ints() -> None:
    with pytest.raises(TypeError):
        Reference(array("f", [1.0]), array("q", [1]))
    with pytest.raises(TypeError):
        Reference(array("d", [1.0]), array("d", [1.0]))
    with pytest.raises(TypeError):
        Reference([1.0], [1])  # type: ignore[arg-type]
    assert Reference(np.array([1.0, 2.0]).data, np.array([1, 2]).data).m == 3


def test_reference_outlives_its_name_and_its_input() -> None:
    values, counts = array("d", [1.0, 2.0]), array("q", [1, 1])
    ks = SlidingKS(Reference(values, counts), 1, 1)
    values[0] = 5.0
    del values[1], counts
    ks.push(1.0)
    assert ks.counts() == [0, 1, 0, 0, 0]


# --- exact statistic --------------------------------------------------------------------------


@settings(max_examples=200)
@given(samples, st.lists(anything, max_size=60), st.integers(1, 25))
@example([1.0], [1.0], 1)
@example([1.0, 1.0], [1.0, 1.0, 1.0], 3)
@example([0.0], [-0.0], 1)
def test_h_and_lcm_are_exact_after_every_push(
    sample: list[float], stream: list[float], n: int
) -> None:
    ks = SlidingKS(reference_of(sample), n, 1)
    assert (ks.h, ks.lcm, ks.d, ks.n) == (0, len(sample), 0.0, 0)
    for i, x in enumerate(stream):
        ks.push(x)
        window = stream[max(0, i + 1 - n) : i + 1]
        h, lcm = ks_from_scratch(sample, window)
        assert (ks.h, ks.lcm, ks.n) == (h, lcm, len(window))
        assert ks.d == h / lcm
        if h != 0:
            found, bucket, direction = ks.peak()
            assert found == h and direction in (-1, 1)
            place = ks.reference.bounds(bucket)[1]
            # The difference is reached at the end of the bucket: at a value, or just before it.
            reached = (lambda y: y <= place) if bucket % 2 else (lambda y: y < place)  # noqa: B023
            ours = sum(map(reached, sample)) * (lcm // len(sample))
            theirs = sum(map(reached, window)) * (lcm // len(window))
            assert ours - theirs == direction * h
        else:
            assert ks.peak() == (0, 0, 0)


def test_equal_to_scipy_on_random_windows() -> None:
    rng = random.Random(20261)
    for _ in range(1000):
        m, n = rng.randint(1, 60), rng.randint(1, 60)
        draws: dict[int, Callable[[], float]] = {
            0: lambda: rng.gauss(0.0, 1.0),
            1: lambda: float(rng.randint(0, 4)),
            2: lambda: rng.choice([math.inf, -math.inf, 0.0, -0.0, 1.0, rng.random()]),
            3: lambda: 3.0,
        }
        draw = draws[rng.randrange(4)]
        sample = [draw() for _ in range(m)]
        stream = [draw() + rng.choice([0.0, 0.5]) for _ in range(n + rng.randint(0, 9))]
        ks = SlidingKS(reference_of(sample), n, 1)
        push_all(ks, stream)
        theirs = stats.ks_2samp(sample, stream[-n:], method="exact").statistic
        assert ks.d == pytest.approx(theirs, rel=0, abs=1e-12)


@pytest.mark.parametrize(
    ("m", "n", "step_bytes"),
    [
        pytest.param(1000, 1000, 2, id="16 bit"),
        pytest.param(32767, 32767, 2, id="16 bit, largest"),
        pytest.param(32768, 32768, 4, id="32 bit, smallest"),
        pytest.param(46337, 46327, 4, id="32 bit, near largest"),
        pytest.param(70001, 70000, 8, id="64 bit, 32 bit ring"),
        pytest.param(30011, 90000, 8, id="64 bit, 16 bit ring"),
    ],
)
def test_every_width_reaches_the_extremes_without_overflow(m: int, n: int, step_bytes: int) -> None:
    values = np.arange(m, dtype=np.float64)
    reference = Reference(values.data, np.ones(m, dtype=np.int64).data)
    lcm = math.lcm(m, n)
    ks = SlidingKS(reference, n, lcm)
    rows = -(-(2 * m + 1) // 16)
    slot_bytes = 2 if 2 * m + 1 <= 65536 else 4
    overhead = SlidingKS(reference_of([0.0]), 1, 1).memory_bytes - 16 * 2 - 2
    lanes = 512 if rows >= 256 and step_bytes < 8 else 0
    assert ks.memory_bytes == overhead + rows * 16 * step_bytes + n * slot_bytes + lanes
    high, low = np.full(n, math.inf), np.full(n, -math.inf)
    assert ks.push_many(high.data) == n - 1
    assert (ks.h, ks.d, ks.peak()) == (lcm, 1.0, (lcm, 2 * m - 1, 1))
    assert ks.push_many(low.data) == n - 1
    assert (ks.h, ks.d, ks.peak()) == (lcm, 1.0, (lcm, 0, -1))
    # A shuffled window of the middle of the range, against the sorted formula.
    stream = np.random.default_rng(7).permutation(n).astype(np.float64) * (m / n) + 0.25
    assert ks.push_many(stream.data) == -1
    w_r, w_w = lcm // m, lcm // n
    at = np.searchsorted(np.sort(stream), values, side="right") * w_w
    before = np.searchsorted(np.sort(stream), values, side="left") * w_w
    rank = np.arange(1, m + 1) * w_r
    assert ks.h == max(np.abs(rank - at).max(), np.abs(rank - w_r - before).max())


def test_counts_are_those_of_the_window() -> None:
    ks = SlidingKS(reference_of([1.0, 2.0]), 3, 99)
    push_all(ks, [0.0, 1.0, 1.5, 2.0, 2.0])
    assert ks.counts() == [0, 0, 1, 2, 0]
    assert ks.n == ks.window == 3


# --- alarm times ------------------------------------------------------------------------------


def stream_that_moves(rng: random.Random, length: int, levels: int) -> list[float]:
    """Drifts up and down so that a threshold is crossed, hovered at and left again."""
    out, shift = [], 0.0
    for _ in range(length):
        if rng.random() < 0.05:
            shift = rng.choice([0.0, 0.3, 1.0, -1.0, 3.0])
        x = rng.gauss(shift, 1.0)
        out.append(round(x * levels) / levels if levels else x)
    return out


def assert_answers_as_if_tested_every_time(
    sample: list[float], stream: list[float], n: int, threshold: int
) -> int:
    """Returns how many pushes crossed upwards."""
    ks = SlidingKS(reference_of(sample), n, threshold)
    answers = push_all(ks, stream)
    expected = [False] * (n - 1)
    expected += [bool(h >= threshold) for h in ks_at_every_slide(sample, stream, n)]
    assert answers == expected
    return sum(b and not a for a, b in zip([False, *answers], answers, strict=False))


def test_alarm_times_are_those_of_testing_at_every_prediction_on_4000_streams() -> None:
    rng = random.Random(31)
    crossings = scans = pushes = 0
    for _ in range(4000):
        m, n, levels = rng.randint(1, 40), rng.randint(1, 30), rng.choice([0, 0, 1, 3])
        sample = stream_that_moves(rng, m, levels)
        stream = stream_that_moves(rng, n + 80, levels)
        threshold = max(1, round(math.lcm(m, n) * rng.uniform(0.05, 1.0)))
        crossings += assert_answers_as_if_tested_every_time(sample, stream, n, threshold)
        ks = SlidingKS(reference_of(sample), n, threshold)
        push_all(ks, stream)
        scans += ks.scans
        pushes += len(stream) - n + 1
    assert crossings > 4000  # the streams do what they are for
    assert scans < 0.5 * pushes  # and the engine does skip


@settings(max_examples=150)
@given(samples, st.lists(anything, min_size=25, max_size=80), st.integers(1, 25), st.data())
def test_alarm_times_are_those_of_testing_at_every_prediction(
    sample: list[float], stream: list[float], n: int, data: st.DataObject
) -> None:
    threshold = data.draw(st.integers(1, math.lcm(len(sample), n) + 1))
    assert_answers_as_if_tested_every_time(sample, stream, n, threshold)


def test_segment_tree_agrees_on_every_answer() -> None:
    rng = random.Random(5)
    for _ in range(60):
        m, n = rng.randint(1, 30), rng.randint(1, 20)
        sample = stream_that_moves(rng, m, 2)
        tree = SegmentTreeKS(sample, n)
        threshold = max(1, round(math.lcm(m, n) * rng.uniform(0.2, 0.9)))
        ks = SlidingKS(reference_of(sample), n, threshold)
        for x in stream_that_moves(rng, 90, 2):
            h = tree.push(x)
            assert ks.push(x) == (h is not None and h >= threshold)


def test_scan_comes_at_the_first_slide_that_can_reach_the_threshold() -> None:
    # m = n = 10, a window equal to the reference, then only high values: h is 1, 2, 3, … and no
    # skip is in vain; 4 is reached at slide 4, at which the first scan after the filling comes.
    values = [float(i) for i in range(10)]
    ks = SlidingKS(reference_of(values), 10, 4)
    push_all(ks, values)
    assert (ks.scans, ks.n) == (1, 10)
    assert push_all(ks, [99.0] * 3) == [False] * 3
    assert ks.scans == 1
    assert ks.push(99.0) is True
    assert ks.scans == 2


def test_push_many_stops_at_the_first_crossing_and_goes_on_from_there() -> None:
    values = [float(i) for i in range(10)]
    ks, single = (SlidingKS(reference_of(values), 10, 4) for _ in range(2))
    stream = array("d", values + [99.0] * 5)
    assert ks.push_many(stream) == 13
    assert push_all(single, list(stream[:14]))[-1]
    assert ks.counts() == single.counts()
    assert ks.push_many(memoryview(stream)[14:]) == 0
    ks.reset()
    assert ks.push_many(stream[:10]) == -1
    assert ks.push_many(array("d")) == -1


@settings(max_examples=100)
@given(samples, st.lists(anything, min_size=5, max_size=60), st.integers(1, 12), st.data())
def test_settings_may_change_at_any_time(
    sample: list[float], stream: list[float], n: int, data: st.DataObject
) -> None:
    lcm = math.lcm(len(sample), n)
    thresholds = st.integers(1, lcm + 1)
    ks = SlidingKS(reference_of(sample), n, lcm)
    for i, x in enumerate(stream):
        action = data.draw(st.sampled_from(["none", "none", "threshold", "read h", "capped"]))
        if action == "threshold":
            ks.threshold_h = data.draw(thresholds)
        elif action == "read h":
            assert ks.h == ks_from_scratch(sample, stream[max(0, i - n) : i])[0]
        elif action == "capped":
            ks.scan_interval = 7  # any number of capped pushes would do; then exact again
            ks.scan_interval = 1
        answer = ks.push(x)
        h = ks_from_scratch(sample, stream[max(0, i + 1 - n) : i + 1])[0]
        assert answer == (i + 1 >= n and h >= ks.threshold_h)


def test_threshold_moved_between_scans_is_kept_exactly_on_1000_streams() -> None:
    rng = random.Random(8)
    for _ in range(1000):
        m, n = rng.randint(5, 40), rng.randint(5, 30)
        sample, stream = stream_that_moves(rng, m, 0), stream_that_moves(rng, n + 80, 0)
        lcm = math.lcm(m, n)
        ks = SlidingKS(reference_of(sample), n, lcm)
        push_all(ks, stream[: n - 1])
        for x, h in zip(stream[n - 1 :], ks_at_every_slide(sample, stream, n), strict=True):
            if rng.random() < 0.15:
                ks.threshold_h = rng.randint(1, lcm)
            assert ks.push(x) == (h >= ks.threshold_h)


def test_scan_interval_caps_the_scans_of_a_hovering_stream_and_exactness_returns() -> None:
    rng = random.Random(2)
    sample = [rng.gauss(0, 1) for _ in range(200)]
    stream = [rng.gauss(0, 1) for _ in range(3000)]
    hovered = sorted(ks_at_every_slide(sample, stream, 200).tolist())[1400]
    ks = SlidingKS(reference_of(sample), 200, hovered)
    push_all(ks, stream[:1000])
    ks.scan_interval = 50
    before = ks.scans
    push_all(ks, stream[1000:2000])
    assert 10 <= ks.scans - before <= 20
    ks.scan_interval = 1
    expected = ks_at_every_slide(sample, stream, 200)[1801:] >= hovered
    assert push_all(ks, stream[2000:]) == expected.tolist()


def test_reset_forgets_the_window_and_keeps_the_settings() -> None:
    ks = SlidingKS(reference_of([1.0, 2.0]), 2, 2)
    ks.scan_interval = 3
    fresh = ks.counts()
    assert push_all(ks, [9.0, 9.0]) == [False, True]
    ks.reset()
    assert (ks.n, ks.h, ks.scans, ks.counts(), ks.threshold_h) == (0, 0, 0, fresh, 2)
    assert ks.scan_interval == 3
    assert push_all(ks, [9.0, 9.0]) == [False, True]


def test_threshold_beyond_the_largest_h_is_never_reached() -> None:
    ks = SlidingKS(reference_of([1.0]), 1, 2**63 - 1)
    assert not any(push_all(ks, [5.0] * 100))
    assert ks.h == ks.lcm == 1


# --- border -----------------------------------------------------------------------------------


def test_nan_is_refused_and_changes_nothing() -> None:
    ks = SlidingKS(reference_of([1.0, 2.0]), 4, 1)
    ks.push(1.0)
    with pytest.raises(ValueError, match="NaN"):
        ks.push(math.nan)
    with pytest.raises(ValueError, match="NaN"):
        ks.push_many(array("d", [1.0, 2.0, math.nan]))
    with pytest.raises(ValueError, match="NaN"):
        ks.reference.bucket(math.nan)
    assert (ks.n, ks.counts()) == (1, [0, 1, 0, 0, 0])


def test_bool_and_text_are_no_numbers() -> None:
    ks = SlidingKS(reference_of([1.0]), 1, 1)
    for wrong in (True, "1", None, b"1", [1.0]):
        with pytest.raises(TypeError):
            ks.push(wrong)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        ks.push(10**400)
    ks.push(3)
    assert ks.n == 1


@pytest.mark.parametrize("window", [0, -1, 2**31, 2**70])
def test_impossible_windows_are_refused(window: int) -> None:
    with pytest.raises(ValueError, match="window must be 1 to 2147483647"):
        SlidingKS(reference_of([1.0]), window, 1)


@pytest.mark.parametrize("threshold", [0, -1, 2**63])
def test_impossible_thresholds_are_refused(threshold: int) -> None:
    ks = SlidingKS(reference_of([1.0]), 1, 1)
    with pytest.raises(ValueError, match="threshold_h must be 1 to"):
        SlidingKS(reference_of([1.0]), 1, threshold)
    with pytest.raises(ValueError, match="threshold_h must be 1 to"):
        ks.threshold_h = threshold
    with pytest.raises(ValueError, match="scan_interval must be"):
        ks.scan_interval = 0
    assert ks.threshold_h == ks.scan_interval == 1


def test_sizes_must_be_int() -> None:
    reference = reference_of([1.0])
    for window, threshold in ((1.0, 1), (True, 1), (1, 1.0), (1, True)):
        with pytest.raises(TypeError):
            SlidingKS(reference, window, threshold)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        SlidingKS(None, 1, 1)  # type: ignore[arg-type]


def test_memory_is_as_stated_and_fixed() -> None:
    reference = reference_of([float(i) for i in range(1000)])
    empty = reference_of([0.0])
    assert reference.memory_bytes - empty.memory_bytes == 16 * 999
    assert empty.memory_bytes <= 130
    ks = SlidingKS(reference, 1000, 100)
    before = ks.memory_bytes
    push_all(ks, [float(i % 700) for i in range(5000)])
    assert ks.memory_bytes == before
    assert 2 * 2001 + 2 * 1000 <= before <= 2 * 2016 + 2 * 1000 + 160

"""e-SR of a stream: the right bets for any reference, the promise, and how fast it is."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift import esr
from edgemon.drift.esr import BernoulliEsr, EsrDetector, EsrTable
from edgemon.drift.profile import reduce_sorted
from edgemon.drift.threshold import BlindDetectorError, threshold
from tests.core.oracle import reference_of

Sample = npt.NDArray[np.float64]
Law = Callable[[np.random.Generator, int], Sample]


def normal(rng: np.random.Generator, n: int) -> Sample:
    return rng.standard_normal(n)


def cauchy(rng: np.random.Generator, n: int) -> Sample:
    return rng.standard_cauchy(n)


def levels(rng: np.random.Generator, n: int) -> Sample:
    return rng.choice([0.0, 1.0, 2.0, 3.0], p=[0.5, 0.3, 0.15, 0.05], size=n)


def mostly_zero(rng: np.random.Generator, n: int) -> Sample:
    return np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n))


LAWS: dict[str, Law] = {
    "normal": normal,
    "heavy tails": cauchy,
    "few levels": levels,
    "90 % zeros": mostly_zero,
}


def reference(sample: Sample) -> Reference:
    values, counts = np.unique(sample, return_counts=True)
    return Reference(values.data, counts.astype(np.int64).data)


def first_alarm(detector: EsrDetector | SlidingKS, stream: Sample) -> float:
    """Values until the alarm, the one that raised it included; inf: none."""
    index = detector.push_many(np.ascontiguousarray(stream).data)
    return index + 1 if index >= 0 else math.inf


# --- bets -------------------------------------------------------------------------------------


samples = st.one_of(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.5]), min_size=1, max_size=60),
    st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.0, -1.0]), min_size=20, max_size=60),
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=80),
)


@settings(max_examples=150)
@given(samples, st.floats(1e-6, 0.3))
def test_every_bet_bounds_the_share_of_exactly_its_values(
    sample: list[float], epsilon: float
) -> None:
    cuts, bets = esr.quantile_bets(reference_of(sample), epsilon)
    for cut, above, p, t in bets:
        inside = [x for x in sample if (x > cuts[cut]) is above]
        assert p == pytest.approx(len(inside) / len(sample) + epsilon, abs=1e-12)
        assert p < t <= 0.9995
        assert any(t == pytest.approx(p + shift) for shift in (0.05, 0.1, 0.2, 0.4)) or t == 0.9995
    assert len(bets) == len(set(bets)) <= 120
    assert len(cuts) <= 15
    assert not bets or EsrTable(cuts, bets).bets == len(bets)


def test_untied_reference_is_cut_at_fifteen_quantiles() -> None:
    cuts, bets = esr.quantile_bets(reference_of([float(i) for i in range(1600)]), 0.01)
    assert cuts == [100.0 * j - 1.0 for j in range(1, 16)]
    for j in range(1, 16):
        for above, share in ((False, j / 16), (True, 1.0 - j / 16)):
            ps, ts = zip(*[bet[2:] for bet in bets if bet[:2] == (j - 1, above)], strict=True)
            assert ps == pytest.approx([share + 0.01] * len(ps))
            feared = sorted({min(share + 0.01 + d, 0.9995) for d in (0.05, 0.1, 0.2, 0.4)})
            assert ts == pytest.approx(feared)


def test_large_atom_is_cut_on_both_sides() -> None:
    sample = [-1.0] * 5 + [0.0] * 90 + [1.0] * 5
    cuts, bets = esr.quantile_bets(reference_of(sample), 0.001)
    assert cuts == [-5e-324, 0.0]
    shares = {(cuts[cut], above): round(p, 6) for cut, above, p, _ in bets}
    assert shares == {
        (-5e-324, False): 0.051,
        (-5e-324, True): 0.951,
        (0.0, False): 0.951,
        (0.0, True): 0.051,
    }


@pytest.mark.parametrize("moved", [-1.0, 1.0])
def test_what_leaves_a_constant_is_seen_on_either_side(moved: float) -> None:
    detector = EsrDetector(*esr.plan(reference_of([0.0] * 1000), 1_000_000, 0.01))
    assert not any(detector.push(0.0) for _ in range(1000))
    assert [detector.push(moved) for _ in range(20)].index(True) < 15
    log_r, cut, direction = detector.peak()
    assert (cut <= 0.0 < cut + 1e-300, direction) == (True, int(moved))
    assert log_r > 0.0


def test_infinite_quantiles_are_left_out() -> None:
    sample = [-math.inf] * 30 + [0.0] * 10 + [1.0] * 20 + [math.inf] * 40
    cuts, bets = esr.quantile_bets(reference_of(sample), 0.001)
    # What lies below +inf is cut at the largest double: whatever is not +inf.
    largest = 1.7976931348623157e308
    assert cuts == [-5e-324, 0.0, math.nextafter(1.0, 0.0), 1.0, largest]
    assert {p for cut, above, p, _ in bets if cuts[cut] == largest and above} == {0.401}


@pytest.mark.parametrize("value", [-math.inf, 0.0, math.inf])
def test_reference_that_says_nothing_is_refused(value: float) -> None:
    with pytest.raises(BlindDetectorError, match=r"a reference of 2 .* known to 1\.2 only"):
        esr.plan(reference_of([value] * 2), 1000, 0.02)
    with pytest.raises(BlindDetectorError, match="a reference of 900"):
        esr.quantile_table(reference_of([-math.inf] * 900), 0.01)


# --- the budget -------------------------------------------------------------------------------


def test_epsilon_is_massarts_bound() -> None:
    assert esr.reference_epsilon(1000, 0.01) == pytest.approx(
        math.sqrt(math.log(200.0) / 2000.0), rel=1e-14
    )
    # Two reductions move the distribution function by at most 1 / (2 points) each.
    assert esr.reference_epsilon(1_000_000, 0.01, 500) == pytest.approx(
        math.sqrt(math.log(200.0) / 2e6) + 0.002, rel=1e-14
    )
    assert esr.reference_epsilon(1000, 0.01, 1000) == esr.reference_epsilon(1000, 0.01)


def test_epsilon_holds_with_its_confidence() -> None:
    # Massart's constant is sharp: the share of samples outside comes close to what is allowed.
    rng, n, allowed = np.random.default_rng(3), 200, 0.2
    epsilon, ranks = esr.reference_epsilon(n, allowed), np.arange(1, n + 1)
    u = np.sort(rng.random((20_000, n)), axis=1)
    distance = np.maximum(ranks / n - u, u - (ranks - 1) / n).max(axis=1)
    share = np.mean(distance > epsilon)
    assert 0.7 * allowed < share < allowed + 0.005


def test_plan_spends_the_budget_once() -> None:
    sample = reference_of([float(i) for i in range(1000)])
    made = esr.plan(sample, 100_000, 1 / 64)
    stream = 100_000 / made.limit  # P(any alarm) while the reference is within epsilon
    assert stream == pytest.approx(0.75 / 64)
    epsilon = esr.reference_epsilon(1000, 0.25 / 64)  # and the chance that it is not
    assert made.table.fingerprint == esr.quantile_table(sample, epsilon).fingerprint


def test_reduced_reference_is_worth_what_it_was_made_from() -> None:
    rng = np.random.default_rng(8)
    values = array("d", np.sort(rng.standard_normal(100_000)).tolist())
    small = Reference(*reduce_sorted(values, array("I", [1]) * len(values), 1000))
    shifted = rng.standard_normal(5000) + 0.4
    delays = [
        first_alarm(EsrDetector(*esr.plan(small, 1_000_000, 0.01, seen=seen)), shifted)
        for seen in (0, 100_000)
    ]
    assert delays[1] < 0.7 * delays[0]


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, math.nan])
def test_probabilities_are_between_zero_and_one(probability: float) -> None:
    small = reference_of([1.0] * 100)
    for attempt in (
        lambda: esr.alarm_level(100, probability),
        lambda: esr.reference_epsilon(100, probability),
        lambda: esr.plan(small, 100, probability),
        lambda: esr.clopper_pearson_upper(1, 10, probability),
        lambda: esr.bernoulli(1, 10, 100, probability),
    ):
        with pytest.raises(ValueError, match="probability must"):
            attempt()


def test_counts_must_make_sense() -> None:
    with pytest.raises(ValueError, match="horizon"):
        esr.alarm_level(0, 0.1)
    with pytest.raises(ValueError, match="at least 1 value"):
        esr.reference_epsilon(0, 0.1)
    for hits, rows in ((-1, 10), (11, 10), (0, 0)):
        with pytest.raises(ValueError, match="not a share"):
            esr.clopper_pearson_upper(hits, rows, 0.1)


def test_usable_up_to_little_autocorrelation() -> None:
    assert (esr.usable(1.0), esr.usable(1.1), esr.usable(1.11)) == (True, True, False)


# --- the promise ------------------------------------------------------------------------------


def upper_bound(alarms: int, streams: int) -> float:
    """One-sided 99.9 % bound of the share."""
    return float(stats.beta.ppf(0.999, alarms + 1, streams - alarms))


@pytest.mark.parametrize("name", LAWS)
def test_share_of_healthy_streams_with_any_alarm_is_at_most_what_was_asked(name: str) -> None:
    law, rng = LAWS[name], np.random.default_rng(17)
    streams, m, horizon, probability = 600, 500, 2000, 0.1
    alarms = 0
    for _ in range(streams):
        # A new reference each time: its chance errors are part of the promise.
        detector = EsrDetector(*esr.plan(reference(law(rng, m)), horizon, probability))
        alarms += first_alarm(detector, law(rng, horizon)) <= horizon
    assert upper_bound(alarms, streams) <= probability


def test_promise_needs_the_references_uncertainty() -> None:
    # The same streams with epsilon = 0: what the test above would see if it were forgotten.
    rng, streams, alarms = np.random.default_rng(17), 300, 0
    for _ in range(streams):
        table = esr.quantile_table(reference(normal(rng, 500)), 1e-9)
        alarms += first_alarm(EsrDetector(table, 2000 / 0.1), normal(rng, 2000)) <= 2000
    assert alarms / streams > 0.3


@pytest.mark.parametrize("rate", [0.0, 0.003, 0.2])
def test_bernoulli_streams_keep_the_promise_too(rate: float) -> None:
    rng = np.random.default_rng(19)
    streams, rows, horizon, probability, alarms = 800, 400, 1000, 0.2, 0
    for _ in range(streams):
        hits = int(rng.binomial(rows, rate))
        detector = esr.bernoulli(hits, rows, horizon, probability).detector
        stream = (rng.random(horizon) < rate).astype(np.float64)
        alarms += first_alarm(detector, stream) <= horizon
    assert upper_bound(alarms, streams) <= probability


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_bernoulli_comes_near_the_promise_at_its_bound(rate: float) -> None:
    # Sharp enough that a mistake in A or in the bets would break it: the rate is the bound itself.
    rng = np.random.default_rng(23)
    streams, horizon, probability, alarms = 4000, 500, 0.5, 0
    table = esr.bernoulli_table(rate)
    for stream in rng.random((streams, horizon)) < rate:
        detector = EsrDetector(table, esr.alarm_level(horizon, probability))
        alarms += first_alarm(detector, stream.astype(np.float64)) <= horizon
    assert upper_bound(alarms, streams) <= probability
    assert alarms / streams > 0.2 * probability


# --- how fast it is ---------------------------------------------------------------------------


def delays(shift: float, streams: int = 15) -> tuple[float, float]:
    """Median delays of the e-SR and the KS, each with half of 1 % in a million predictions."""
    rng, found = np.random.default_rng(29), []
    m, window, horizon, probability = 10_000, 1000, 1_000_000, 0.005
    limit = threshold(m, window, horizon, probability)
    for _ in range(streams):
        sample = reference(normal(rng, m))
        ours = EsrDetector(*esr.plan(sample, horizon, probability))
        ks = SlidingKS(sample, window, limit.h)
        healthy, changed = normal(rng, 2000), normal(rng, 20_000) + shift
        assert first_alarm(ours, healthy) == first_alarm(ks, healthy) == math.inf
        found.append((first_alarm(ours, changed), first_alarm(ks, changed)))
        if math.isfinite(found[-1][0]) and shift >= 1.0:
            assert abs(ours.since - found[-1][0]) <= 40
    ours_median, ks_median = np.median(np.array(found), axis=0)
    return float(ours_median), float(ks_median)


@pytest.mark.parametrize(("shift", "at_most"), [(1.0, 80), (2.0, 25), (4.0, 16)])
def test_large_shift_is_seen_in_a_fraction_of_the_windows_time(shift: float, at_most: int) -> None:
    ours, ks = delays(shift)
    assert ours <= at_most
    assert ours < 0.4 * ks


def test_small_shift_is_left_to_the_ks() -> None:
    ours, ks = delays(0.25)
    assert ks < ours


def test_direction_and_place_are_those_of_the_shift() -> None:
    rng = np.random.default_rng(31)
    detector = EsrDetector(*esr.plan(reference(normal(rng, 5000)), 1_000_000, 0.01))
    detector.push_many(np.ascontiguousarray(normal(rng, 1000) - 3.0).data)
    _, cut, direction = detector.peak()
    assert direction == -1
    assert cut < 0.0


# --- Bernoulli --------------------------------------------------------------------------------


def test_rise_from_never_to_always_is_seen_at_once() -> None:
    missing = esr.bernoulli(0, 10_000, 1_000_000, 0.001)
    assert not any(missing.push(False) for _ in range(10_000))
    pushed = next(k for k in range(1, 10) if missing.push(True))
    assert pushed <= 4
    assert missing.since == pushed


def test_rise_that_epsilon_would_hide_is_seen() -> None:
    # 2 % where 0.1 % was usual; the reference's DKW bound is 2.2 %.
    rng = np.random.default_rng(37)
    missing = esr.bernoulli(10, 10_000, 1_000_000, 0.001)
    delay = first_alarm(missing.detector, (rng.random(5000) < 0.02).astype(np.float64))
    assert delay < 1000
    assert abs(missing.since - delay) < 150
    assert missing.log_mean_r > math.log(1e9)


def test_fall_of_the_rate_is_no_alarm() -> None:
    missing = esr.bernoulli(5000, 10_000, 1_000_000, 0.01)
    assert not any(missing.push(False) for _ in range(5000))
    missing.reset()
    assert (missing.log_mean_r, missing.since) == (-math.inf, 0)


def test_bernoulli_goes_on_from_its_checkpoint() -> None:
    one = BernoulliEsr(0.1, 1e6)
    for k in range(500):
        one.push(k % 7 == 0)
    again = BernoulliEsr.from_bytes(0.1, 1e6, one.to_bytes())
    assert again.to_bytes() == one.to_bytes()
    assert [again.push(True) for _ in range(20)] == [one.push(True) for _ in range(20)]
    with pytest.raises(ValueError, match="not the checkpoint"):
        BernoulliEsr.from_bytes(0.11, 1e6, one.to_bytes())


@pytest.mark.parametrize("rate", [1e-30, 1e-9, 0.001, 0.3, 0.9, 0.999])
def test_any_rate_below_the_highest_has_a_detector(rate: float) -> None:
    detector = BernoulliEsr(rate, 1e3)
    assert any(detector.push(True) for _ in range(20_000))


@pytest.mark.parametrize("rate", [0.9995, 1.0, math.nan])
def test_rate_that_cannot_rise_is_refused(rate: float) -> None:
    with pytest.raises(BlindDetectorError, match="cannot be seen to rise"):
        BernoulliEsr(rate, 1e6)


@settings(max_examples=400)
@given(
    st.integers(1, 1_000_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    st.floats(-13, math.log10(0.5)).map(lambda x: min(0.5, 10.0**x)),
)
def test_clopper_pearson_is_the_quantile_of_the_beta_law(
    counts: tuple[int, int], probability: float
) -> None:
    rows, hits = counts
    expected = 1.0 if hits == rows else float(stats.beta.isf(probability, hits + 1, rows - hits))
    found = esr.clopper_pearson_upper(hits, rows, probability)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("hits", "rows"), [(0, 5), (1, 5), (3, 5), (4, 5), (7, 300), (299, 300)])
def test_clopper_pearson_bound_solves_its_equation(hits: int, rows: int) -> None:
    for probability in (0.5, 0.05, 1e-6):
        p = esr.clopper_pearson_upper(hits, rows, probability)
        tail = math.fsum(
            math.comb(rows, k) * p**k * (1.0 - p) ** (rows - k) for k in range(hits + 1)
        )
        assert tail == pytest.approx(probability, rel=1e-7)


def test_quantiles_are_order_statistics_of_the_sample() -> None:
    sample = sorted([0.0] * 30 + [float(k) for k in range(-20, 50)])
    cuts, _ = esr.quantile_bets(reference_of(sample), 0.01)
    quantiles = {sample[math.ceil(j * 100 / 16) - 1] for j in range(1, 16)}
    assert set(cuts) == quantiles | {-5e-324}

"""The e-SR detector: alarms where the recursion says, floats on the safe side, checkpoints."""

from __future__ import annotations

import math
import random
import struct
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon._core.esr import EsrDetector, EsrTable

Bet = tuple[int, bool, float, float]
HISTORY = 2048
CEILING = float(np.float32(1e32))

CUTS = (-1.5, 0.0, 2.0)
BETS: list[Bet] = [
    (0, False, 0.2, 0.3),
    (0, True, 0.85, 0.9),
    (1, False, 0.5, 0.7),
    (1, True, 0.55, 0.9995),
    (2, False, 0.9, 0.95),
    (2, True, 0.1, 0.5),
]
values = st.one_of(
    st.sampled_from([*CUTS, -0.0, math.inf, -math.inf, 5e-324, -5e-324]), st.floats(-4, 4)
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[float], list[Bet]]:
    cuts = sorted(draw(st.sets(st.floats(-3, 3), min_size=1, max_size=15)))
    probabilities = st.floats(0.001, 0.99)
    bets = []
    for _ in range(draw(st.integers(1, 40))):
        p = draw(probabilities)
        t = p + (1.0 - p) * draw(st.floats(0.05, 0.95))
        bets.append((draw(st.integers(0, len(cuts) - 1)), draw(st.booleans()), p, t))
    return cuts, bets


def factor(cuts: Sequence[float], bet: Bet, x: float) -> float:
    cut, above, p, t = bet
    hit = x > cuts[cut] if above else x <= cuts[cut]
    return t / p if hit else (1.0 - t) / (1.0 - p)


def recursion(cuts: Sequence[float], bets: list[Bet], stream: Iterable[float]) -> list[list[float]]:
    """R of every bet after every value, in doubles."""
    r = [0.0] * len(bets)
    after = []
    for x in stream:
        r = [(one + 1.0) * factor(cuts, bet, x) for one, bet in zip(r, bets, strict=True)]
        after.append(r)
    return after


def detector_of(limit: float = 1e6) -> EsrDetector:
    return EsrDetector(EsrTable(CUTS, BETS), limit)


def stream_of(seed: int, count: int, mean: float = 0.0) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(mean, 1.5) for _ in range(count)]


# --- what it computes -------------------------------------------------------------------------


@given(tables(), st.lists(values, min_size=1, max_size=60))
def test_mean_of_r_is_that_of_the_recursion_and_never_above(
    table: tuple[list[float], list[Bet]], stream: list[float]
) -> None:
    cuts, bets = table
    detector = EsrDetector(EsrTable(cuts, bets), 1e29)
    for x, r in zip(stream, recursion(cuts, bets, stream), strict=True):
        if max(r) > CEILING / 2:
            break  # from here on it is cut off
        detector.push(x)
        true = math.log(math.fsum(r) / len(r))
        # Seven additions of positive floats may round up; the limit allows for that.
        assert true - 2e-4 < detector.log_mean_r < true + 2.0**-20


@given(tables(), st.lists(values, min_size=1, max_size=100), st.floats(0.5, 1e4))
def test_alarm_is_true_exactly_while_the_mean_reaches_the_limit(
    table: tuple[list[float], list[Bet]], stream: list[float], limit: float
) -> None:
    cuts, bets = table
    detector = EsrDetector(EsrTable(cuts, bets), limit)
    for x, r in zip(stream, recursion(cuts, bets, stream), strict=True):
        if max(r) > CEILING / 2:
            assert detector.push(x)
            break  # from here on it is cut off
        mean = math.fsum(r) / len(r)
        if detector.push(x):
            assert mean >= limit
        else:
            assert mean < limit * 1.0003


@pytest.mark.parametrize("count", [1, 5, 40, 300])
def test_limit_is_sharp(count: int) -> None:
    stream = stream_of(count, count, mean=1.0)
    means = [math.fsum(r) / len(r) for r in recursion(CUTS, BETS, stream)]
    for limit, expected in ((means[-1] * 1.00001, False), (means[-1] * 0.999, True)):
        detector = detector_of(limit)
        assert [detector.push(x) for x in stream][-1] is expected


def test_floats_err_to_the_safe_side_however_long_the_stream() -> None:
    # Bets that the stream neither wins nor loses: R hovers, and the roundings add up.
    bets: list[Bet] = [(0, True, 0.5, 0.501), (0, False, 0.5, 0.502), (0, True, 0.49, 0.5)]
    detector = EsrDetector(EsrTable([0.0], bets), 1e29)
    stream = stream_of(7, 100_000)
    detector.push_many(array("d", stream))
    true = recursion([0.0], bets, stream)[-1]
    found = struct.unpack_from("<3f", detector.to_bytes(), 20)
    for computed, exact in zip(found, true, strict=True):
        assert exact * 0.95 < computed < exact < 1e30


def test_r_has_the_expectation_n_where_the_bounds_are_exact() -> None:
    # The martingale that the promise rests on: E[R] = n when p is the true probability.
    rng = np.random.default_rng(11)
    cuts = [0.25, 0.5, 0.75]
    bets = [(i, False, cut, cut + 0.1) for i, cut in enumerate(cuts)]
    bets += [(i, True, 1 - cut, 1 - cut + 0.1) for i, cut in enumerate(cuts)]
    table = EsrTable(cuts, bets)
    n, means = 20, []
    for stream in rng.random((20_000, n)):
        detector = EsrDetector(table, 1e29)
        detector.push_many(stream.data)
        means.append(math.exp(detector.log_mean_r))
    error = np.std(means) / math.sqrt(len(means))
    assert abs(np.mean(means) - n) < 4 * error
    assert error < 0.01 * n


@given(st.lists(values, max_size=80))
def test_cell_counts_the_cuts_below(stream: list[float]) -> None:
    table = EsrTable(CUTS, BETS)
    for x in stream:
        assert table.cell(x) == sum(x > cut for cut in CUTS)


def test_cell_of_many_cuts_at_and_beside_each() -> None:
    cuts = [-1e300, -1.0, -5e-324, 0.0, 5e-324, 1.0, 1.0000000000000002, 2.0, 3.0, 4.0, 5.0]
    cuts += [6.0, 7.0, 8.0, 1.7976931348623157e308]
    table = EsrTable(cuts, [(14, True, 0.1, 0.2)])
    assert table.cuts == tuple(cuts)
    for cut in cuts:
        for x in (math.nextafter(cut, -math.inf), cut, math.nextafter(cut, math.inf)):
            assert table.cell(x) == sum(x > c for c in cuts)
    assert (table.cell(-math.inf), table.cell(math.inf), table.cell(-0.0)) == (0, 15, 3)


# --- alarms -----------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(values, max_size=120), st.floats(0.5, 1e3))
def test_push_many_is_push(stream: list[float], limit: float) -> None:
    one, many = detector_of(limit), detector_of(limit)
    alarms = [i for i, x in enumerate(stream) if one.push(x)]
    found, start = [], 0
    while (index := many.push_many(array("d", stream[start:]))) >= 0:
        found.append(start + index)
        start += index + 1
    assert found == alarms
    assert many.to_bytes() == one.to_bytes()


def test_push_many_refuses_nan_before_it_pushes() -> None:
    detector = detector_of()
    with pytest.raises(ValueError, match="NaN"):
        detector.push_many(array("d", [1.0, math.nan]))
    assert detector.pushes == 0


def test_alarm_stays_and_nothing_overflows_however_long_a_change_lasts() -> None:
    detector = detector_of(1e29)
    pushed = [detector.push(9.0) for _ in range(5000)]
    first = pushed.index(True)
    assert all(pushed[first:])
    assert detector.log_mean_r <= math.log(CEILING) + 1e-6
    assert math.isfinite(detector.log_mean_r)
    # And from the ceiling it comes down again, at the pace of the evidence.
    usual = [-2.0, -2.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 9.0]
    assert not all(detector.push(x) for x in usual * 100)


def test_limit_may_be_moved() -> None:
    detector = detector_of(1e9)
    assert not any(detector.push(9.0) for _ in range(5))
    detector.limit = math.exp(detector.log_mean_r) / 2.0
    assert detector.push(9.0)
    detector.limit = 1e29
    assert detector.limit == 1e29
    assert not detector.push(9.0)


def test_reset_forgets_all() -> None:
    detector, fresh = detector_of(10.0), detector_of(10.0)
    while not detector.push(9.0):
        pass
    detector.reset()
    assert detector.to_bytes() == fresh.to_bytes()
    assert (detector.pushes, detector.since, detector.log_mean_r) == (0, 0, -math.inf)
    assert detector.peak() == (-math.inf, CUTS[0], 0)


# --- where and since when ---------------------------------------------------------------------


def likeliest_change(cuts: Sequence[float], bet: Bet, stream: list[float]) -> tuple[int, float]:
    """(values back, log likelihood) of the best change among the last 2,048."""
    best, highest, total = 0, 0.0, 0.0
    for back, x in enumerate(reversed(stream[-HISTORY:]), start=1):
        total += math.log(factor(cuts, bet, x))
        if total > highest:
            best, highest = back, total
    return best, highest


@pytest.mark.parametrize("before", [0, 1, 30, 2040, 2048, 5000])
@pytest.mark.parametrize(("mean", "direction"), [(3.0, 1), (-4.0, -1)])
def test_peak_and_since_are_those_of_the_strongest_bet(
    before: int, mean: float, direction: int
) -> None:
    stream = stream_of(before, before) + stream_of(before + 1, 40, mean)
    detector = detector_of(1e29)
    detector.push_many(array("d", stream))
    r = recursion(CUTS, BETS, stream)[-1]
    strongest = max(range(len(BETS)), key=r.__getitem__)
    log_r, cut, found_direction = detector.peak()
    assert log_r == pytest.approx(math.log(r[strongest]), abs=1e-3)
    assert (cut, found_direction) == (CUTS[BETS[strongest][0]], direction)
    since, _ = likeliest_change(CUTS, BETS[strongest], stream)
    assert detector.since == since
    assert abs(since - 40) <= 15


def test_since_is_zero_while_no_change_is_likelier_than_one() -> None:
    detector = EsrDetector(EsrTable([0.0], [(0, True, 0.1, 0.5)]), 1e6)
    assert detector.since == 0
    detector.push(-1.0)
    assert detector.since == 0
    detector.push(1.0)
    assert detector.since == 1


def test_since_sees_at_most_its_history() -> None:
    detector = EsrDetector(EsrTable([0.0], [(0, True, 0.5, 0.5001)]), 1e29)
    detector.push_many(array("d", [1.0]) * 5000)
    assert (detector.pushes, detector.since) == (5000, HISTORY)


# --- checkpoint -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 7, 2047, 2048, 2049, 6001])
def test_detector_goes_on_from_its_checkpoint(count: int) -> None:
    detector = detector_of(1e29)
    detector.push_many(array("d", stream_of(count, count)))
    data = detector.to_bytes()
    assert len(data) == 20 + 4 * len(BETS) + (min(count, HISTORY) + 1) // 2
    again = EsrDetector.from_bytes(EsrTable(CUTS, BETS), 1e28, data)
    assert (again.limit, again.pushes, again.since) == (1e28, count, detector.since)
    assert (again.log_mean_r, again.peak()) == (detector.log_mean_r, detector.peak())
    assert again.to_bytes() == data
    rest = array("d", stream_of(count + 1, 3000))
    assert again.push_many(rest) == detector.push_many(rest) == -1
    assert again.to_bytes() == detector.to_bytes()


def test_checkpoint_is_the_documented_bytes() -> None:
    table = EsrTable([0.5], [(0, True, 0.25, 0.5), (0, False, 0.75, 0.875)])
    detector = EsrDetector(table, 10.0)
    for x in (1.0, 0.0, 1.0):
        detector.push(x)
    data = detector.to_bytes()
    assert data[:4] == b"\x01\x00\x02\x00"
    assert struct.unpack_from("<QQ", data, 4) == (table.fingerprint, 3)
    first, second = struct.unpack_from("<2f", data, 20)
    # (((0 + 1) 2 + 1) 2/3 + 1) 2  and  (((0 + 1) 1/2 + 1) 7/6 + 1) 1/2
    assert (first, second) == pytest.approx((6.0, 1.375), rel=2e-6)
    assert data[28:] == bytes([0x01, 0x01])  # cells 1, 0, 1
    # The same on every processor and in every version: a checkpoint must fit after an upgrade.
    assert table.fingerprint == 0x731E32B128714CC4


def test_every_processor_computes_the_same_bits() -> None:
    cuts, stream = [-1.0, 0.5], [k * 37 % 101 / 25.0 - 2.0 for k in range(1000)]
    bets: list[Bet] = [(0, False, 0.3, 0.35), (1, True, 0.4, 0.5), (0, True, 0.7, 0.8)]
    detector = EsrDetector(EsrTable(cuts, bets), 1e29)
    detector.push_many(array("d", stream))
    r = np.zeros(len(bets), dtype=np.float32)
    for x in stream:
        factors = [factor(cuts, bet, x) * (1.0 - 2.0**-22) for bet in bets]
        r = (r + np.float32(1.0)) * np.array(factors, dtype=np.float32)
    bits = detector.to_bytes()[20:32]
    assert bits == r.astype("<f4").tobytes()
    assert bits.hex() == "8fe88742890806420da53043"


def test_fingerprint_differs_where_tables_do() -> None:
    cuts = list(CUTS)
    variants = [
        EsrTable(cuts, BETS),
        EsrTable([-1.5, 0.0, 2.5], BETS),
        EsrTable(cuts, BETS[:-1]),
        EsrTable(cuts, [*BETS[:-1], (2, True, 0.1, 0.51)]),
        EsrTable(cuts, [*BETS[:-1], (1, True, 0.1, 0.5)]),
        EsrTable(cuts, [*BETS[1:], BETS[0]]),
    ]
    assert len({table.fingerprint for table in variants}) == len(variants)
    assert EsrTable(cuts, BETS).fingerprint == variants[0].fingerprint


def checkpoint(count: int = 5) -> bytes:
    detector = detector_of()
    detector.push_many(array("d", stream_of(1, count)))
    return detector.to_bytes()


@pytest.mark.parametrize(
    ("name", "offset", "replacement"),
    [
        ("version", 0, b"\x02"),
        ("reserved byte", 1, b"\x01"),
        ("number of bets", 2, b"\x07\x00"),
        ("another table", 4, b"\x00\x00"),
        ("fewer pushes than cells", 12, b"\x02"),
        ("more pushes than cells", 12, b"\x07"),
        ("NaN", 20, struct.pack("<f", math.nan)),
        ("infinite", 24, struct.pack("<f", math.inf)),
        ("negative", 28, struct.pack("<f", -1.0)),
        ("negative zero", 28, struct.pack("<f", -0.0)),
        ("above the ceiling", 32, struct.pack("<f", 1.1e32)),
        ("no such cell", 44, b"\x04"),
        ("padding", -1, b"\x10"),
    ],
)
def test_damaged_checkpoint_is_refused(name: str, offset: int, replacement: bytes) -> None:
    data = bytearray(checkpoint())
    offset %= len(data)
    assert data[offset : offset + len(replacement)] != replacement, name
    data[offset : offset + len(replacement)] = replacement
    with pytest.raises(ValueError, match="not the checkpoint"):
        EsrDetector.from_bytes(EsrTable(CUTS, BETS), 1e6, bytes(data))


def test_truncated_or_longer_checkpoint_is_refused() -> None:
    data = checkpoint()
    for wrong in [data[:k] for k in range(len(data))] + [data + b"\0"]:
        with pytest.raises(ValueError, match="not the checkpoint"):
            EsrDetector.from_bytes(EsrTable(CUTS, BETS), 1e6, wrong)


def test_checkpoint_without_pushes_has_no_r() -> None:
    data = bytearray(checkpoint(0))
    data[20:24] = struct.pack("<f", 1.0)
    with pytest.raises(ValueError, match="not the checkpoint"):
        EsrDetector.from_bytes(EsrTable(CUTS, BETS), 1e6, bytes(data))


# --- borders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuts", "bets", "problem"),
    [
        ([], BETS, "1 to 15 cuts, not 0"),
        (range(16), BETS, "1 to 15 cuts, not 16"),
        (CUTS, [], "1 to 128 bets, not 0"),
        (CUTS, BETS * 22, "1 to 128 bets, not 132"),
        ([0.0, 0.0, 1.0], BETS, "must increase: 0.0 before 0.0"),
        ([1.0, 0.0, 2.0], BETS, "must increase"),
        ([0.0, math.nan, 2.0], BETS, "finite"),
        ([0.0, 1.0, math.inf], BETS, "finite"),
        (CUTS, [(3, True, 0.1, 0.2)], "no cut 3"),
        (CUTS, [(-1, True, 0.1, 0.2)], "no cut -1"),
        (CUTS, [(0, True, 0.2, 0.2)], "p < t"),
        (CUTS, [(0, True, 0.0, 0.2)], "p < t"),
        (CUTS, [(0, True, 0.2, 1.0)], "p < t"),
        (CUTS, [(0, True, math.nan, 0.5)], "p < t"),
        (CUTS, [(0, True, 0.1, math.nan)], "p < t"),
    ],
)
def test_table_refuses(cuts: Sequence[float], bets: list[Bet], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        EsrTable(cuts, bets)


@pytest.mark.parametrize("bet", [(0.0, True, 0.1, 0.2), (0, 1, 0.1, 0.2), (0, True, "0.1", 0.2)])
def test_table_refuses_other_types(bet: Bet) -> None:
    with pytest.raises(TypeError):
        EsrTable(CUTS, [bet])


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, math.inf, 2e29])
def test_limit_must_be_within_range(limit: float) -> None:
    table = EsrTable(CUTS, BETS)
    detector = EsrDetector(table, 1.0)
    for attempt in (
        lambda: EsrDetector(table, limit),
        lambda: setattr(detector, "limit", limit),
        lambda: EsrDetector.from_bytes(table, limit, detector.to_bytes()),
    ):
        with pytest.raises(ValueError, match="limit must be"):
            attempt()
    assert detector.limit == 1.0


def test_what_is_not_a_number_is_refused() -> None:
    detector = detector_of()
    with pytest.raises(ValueError, match="NaN"):
        detector.push(math.nan)
    for wrong in (True, "1", None):
        with pytest.raises(TypeError):
            detector.push(wrong)  # type: ignore[arg-type]
    detector.push(1)
    assert detector.pushes == 1


def test_table_outlives_its_name() -> None:
    detector = detector_of()
    assert detector.table.bets == len(BETS)
    detector.push(1.0)


def test_memory_is_what_the_header_states() -> None:
    cuts = [float(i) for i in range(15)]
    bets = [(i % 15, i % 2 == 0, 0.1, 0.2) for i in range(120)]
    table = EsrTable(cuts, bets)
    overhead = table.memory_bytes - 4 * 128 * 16 - 120
    assert 0 < overhead < 250
    detector = EsrDetector(table, 1.0)
    assert 4 * 128 + HISTORY // 2 < detector.memory_bytes < 4 * 128 + HISTORY // 2 + 100
    before = detector.memory_bytes
    detector.push_many(array("d", range(3000)))
    assert detector.memory_bytes == before

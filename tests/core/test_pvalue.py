"""The p-value of the two-sample KS statistic: exact where it says so, on the safe side beyond."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgemon._core.pvalue import kolmogorov, ks_pvalue

BAND_CELLS = 10_000_000


@cache
def paths(h: int, m: int, n: int) -> Fraction:
    """The share of orders of m and n values with at least h, counted path by path, in integers."""
    g = math.gcd(m, n)
    inside: list[int] = []
    for i in range(m + 1):
        row: list[int] = []
        for j in range(n + 1):
            if abs(i * (n // g) - j * (m // g)) >= h:
                row.append(0)
            elif i == j == 0:
                row.append(1)
            else:
                row.append((inside[j] if i else 0) + (row[j - 1] if j else 0))
        inside = row
    return 1 - Fraction(inside[n], math.comb(m + n, n))


def relative(found: float, true: Fraction) -> float:
    return abs(float(Fraction(found) / true - 1))


def h_at(x: float, m: int, n: int) -> int:
    """The h whose D sqrt(mn / (m + n)) is about x."""
    lcm = math.lcm(m, n)
    return max(1, min(lcm, round(x * math.sqrt((m + n) / (m * n)) * lcm)))


def scipy_exact(h: int, m: int, n: int) -> float:
    """scipy's exact p-value of two samples made so that their statistic is h / lcm."""
    # The window's values all lie above a share of the reference's: h = lcm * (above or below).
    lcm, g = math.lcm(m, n), math.gcd(m, n)
    for below in range(m + 1):
        for more in range(n + 1):
            if below * (n // g) - more * (m // g) == h:
                first = [0.0] * below + [2.0] * (m - below)
                second = [0.0] * more + [2.0] * (n - more)
                result = stats.ks_2samp(first, second, method="exact")
                assert round(result.statistic * lcm) == h
                return float(result.pvalue)
    raise AssertionError(f"no samples with h = {h}")


@settings(max_examples=300)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 1))
def test_it_is_the_share_of_paths_in_integers(m: int, n: int, share: float) -> None:
    h = round(share * math.lcm(m, n))
    assert relative(ks_pvalue(h, m, n), paths(h, m, n)) < 1e-13


@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 1), (7, 1), (1, 8), (5, 5), (6, 4), (9, 8)])
def test_every_h_of_small_samples_is_exact(m: int, n: int) -> None:
    for h in range(math.lcm(m, n) + 1):
        assert relative(ks_pvalue(h, m, n), paths(h, m, n)) < 1e-14


@pytest.mark.parametrize(
    ("m", "n"),
    [
        (100, 100), (1000, 1000), (3000, 3000), (20_000, 20_000),
        (100, 50), (1000, 100), (1000, 300), (2000, 1000), (5000, 1000),
        (101, 100), (997, 300), (3000, 7), (700, 1), (1, 700), (30, 1000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("x", [0.3, 0.6, 1.0, 1.5, 2.5, 4.0])
def test_it_is_scipys_exact_value(m: int, n: int, x: float) -> None:
    g = math.gcd(m, n)
    # On the grid of what two blocks can give.
    h = h_at(x, m, n) // (n // g) * (n // g) or n // g
    expected = scipy_exact(h, m, n)
    assert ks_pvalue(h, m, n) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("m", "n", "x", "decades"),
    [(60, 60, 4.5, 12), (64, 48, 4.2, 12), (150, 120, 7.0, 40), (200, 200, 9.9, 110)],
)
def test_tiny_values_are_as_accurate_as_large_ones(m: int, n: int, x: float, decades: int) -> None:
    h = h_at(x, m, n)
    true = paths(h, m, n)
    assert 0 < true < Fraction(1, 10**decades)
    assert relative(ks_pvalue(h, m, n), true) < 1e-12


@pytest.mark.parametrize(("m", "n"), [(30, 30), (500, 500), (40, 25), (400, 130), (9, 1), (300, 2)])
def test_ends_are_certain_and_separate_samples(m: int, n: int) -> None:
    lcm = math.lcm(m, n)
    assert ks_pvalue(0, m, n) == 1.0
    assert relative(ks_pvalue(lcm, m, n), Fraction(2, math.comb(m + n, n))) < 1e-11
    assert ks_pvalue(lcm + 1, m, n) == 0.0
    assert ks_pvalue(2**63 - 1, m, n) == 0.0


@pytest.mark.parametrize(
    ("m", "n"),
    [(40, 40), (30, 20), (17, 13), (50, 1), (1, 51), (6000, 2000), (4000, 4000), (10**6, 10**6)]
)  # fmt: skip
def test_it_never_rises_with_h_and_is_symmetric(m: int, n: int) -> None:
    lcm = math.lcm(m, n)
    chance = random.Random(m + n)
    hs = range(lcm + 1) if lcm < 2000 else sorted(h_at(chance.uniform(0, 4), m, n) for _ in "x" * 9)
    found = [ks_pvalue(h, m, n) for h in hs]
    assert all(a >= b for a, b in pairwise(found))
    assert found == [ks_pvalue(h, n, m) for h in hs]
    assert all(0.0 <= p <= 1.0 for p in found)


@pytest.mark.parametrize(
    ("m", "n"),
    [
        (10_000, 1000), (5000, 2000), (3162, 3161), (3162, 3162), (100_000, 100), (333_333, 30),
        (1_000_000, 10), (2_500_000, 4), (100_000, 100_000), (1_000_000, 1_000_000),
    ],
)  # fmt: skip
def test_limit_law_is_never_far_below_the_exact_value(m: int, n: int) -> None:
    # At the largest sizes that are exact: what holds there holds beyond, where the two are closer.
    lcm = math.lcm(m, n)
    for x in (0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0, 2.5, 3.0):
        h = h_at(x, m, n)
        assert limit_law(h, m, n) >= 0.999 * ks_pvalue(h, m, n)
    assert limit_law(lcm, m, n) >= ks_pvalue(lcm, m, n)


def limit_law(h: int, m: int, n: int) -> float:
    return kolmogorov(h / math.lcm(m, n) * math.sqrt(m * n / (m + n)))


@pytest.mark.parametrize(
    ("m", "n"), [(10_007, 1000), (3163, 3162), (5_000_001, 2), (2**31 - 1, 2**31 - 2)]
)
def test_beyond_ten_million_pairs_it_is_the_limit_law(m: int, n: int) -> None:
    assert m * n > BAND_CELLS
    for x in (0.5, 1.0, 2.0, 3.0):
        h = h_at(x, m, n)
        assert ks_pvalue(h, m, n) == pytest.approx(limit_law(h, m, n), rel=1e-12)
        assert ks_pvalue(h, n, m) == ks_pvalue(h, m, n)


@pytest.mark.parametrize(("m", "n"), [(10_000, 1000), (3163, 3161), (1000, 10_000)])
def test_up_to_ten_million_pairs_it_is_not(m: int, n: int) -> None:
    assert m * n <= BAND_CELLS
    h = h_at(1.5, m, n)
    assert ks_pvalue(h, m, n) < 0.99 * limit_law(h, m, n)


def test_one_value_against_many_is_exact_at_any_size() -> None:
    m = 2**31 - 1
    assert ks_pvalue(m, m, 1) == pytest.approx(2 / 2**31, rel=1e-15)
    assert ks_pvalue(m // 2 + 1, m, 1) == 1.0
    assert ks_pvalue(3 * 2**29, m, 1) == pytest.approx(0.5, rel=1e-8)


@pytest.mark.parametrize(
    "x", [0.0, 0.04, 0.05, 0.2, 0.3, 0.39, 0.5, 0.99, 1.0, 1.01, 1.36, 2.0, 5.0, 18.0]
)
def test_kolmogorov_is_the_limit_law(x: float) -> None:
    assert kolmogorov(x) == pytest.approx(float(stats.kstwobign.sf(x)), rel=1e-12)


def test_kolmogorov_falls_from_one_to_zero() -> None:
    found = [kolmogorov(k / 100) for k in range(4000)]
    assert (found[0], kolmogorov(math.inf)) == (1.0, 0.0)
    assert all(a >= b for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("h", "m", "n"),
    [(-1, 5, 5), (2**63, 5, 5), (1, 0, 5), (1, 5, 0), (1, -1, 5), (1, 2**31, 5), (1, 5, 2**31)],
)
def test_numbers_out_of_range_are_refused(h: int, m: int, n: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        ks_pvalue(h, m, n)


def test_other_types_are_refused() -> None:
    for arguments in ((1.0, 5, 5), (1, True, 5), (1, 5, "5")):
        with pytest.raises(TypeError):
            ks_pvalue(*arguments)
    with pytest.raises(ValueError, match="NaN"):
        kolmogorov(math.nan)
    with pytest.raises(ValueError, match="below 0"):
        kolmogorov(-0.5)

"""The p-value beside the statistic: what a detector finds in a window is what scipy finds."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from scipy import stats

from edgemon._core.ks import SlidingKS
from edgemon.drift.pvalue import kolmogorov, ks_pvalue
from tests.core.oracle import reference_of


@pytest.mark.parametrize(("m", "n"), [(50, 50), (200, 100), (90, 70), (1000, 200)])
@pytest.mark.parametrize("shift", [0.0, 0.3, 1.5])
def test_p_of_a_window_is_scipys(m: int, n: int, shift: float) -> None:
    rng = np.random.default_rng(m + n)
    sample, window = rng.standard_normal(m), rng.standard_normal(n) + shift
    ks = SlidingKS(reference_of(sample.tolist()), n, 1)
    ks.push_many(array("d", window.tolist()))
    expected = stats.ks_2samp(sample, window, method="exact")
    assert ks.d == pytest.approx(expected.statistic, abs=1e-12)
    assert ks_pvalue(ks.h, m, n) == pytest.approx(expected.pvalue, rel=1e-9)


def test_p_is_evenly_spread_when_nothing_changed() -> None:
    # A p-value: P(p <= a) <= a, and nearly a for a statistic with so many values.
    rng, m, n = np.random.default_rng(5), 300, 100
    found = []
    for _ in range(2000):
        ks = SlidingKS(reference_of(rng.standard_normal(m).tolist()), n, 1)
        ks.push_many(array("d", rng.standard_normal(n).tolist()))
        found.append(ks_pvalue(ks.h, m, n))
    for a in (0.01, 0.1, 0.5):
        share = np.mean(np.array(found) <= a)
        assert 0.75 * a - 0.005 < share < a + 4 * np.sqrt(a * (1 - a) / len(found))


def test_ties_make_it_larger_never_smaller() -> None:
    rng, m, n = np.random.default_rng(6), 300, 100
    found = []
    for _ in range(1000):
        ks = SlidingKS(reference_of(rng.integers(0, 4, m).tolist()), n, 1)
        ks.push_many(array("d", rng.integers(0, 4, n).tolist()))
        found.append(ks_pvalue(ks.h, m, n))
    for a in (0.05, 0.2, 0.5):
        assert np.mean(np.array(found) <= a) < a


def test_limit_law_is_offered_too() -> None:
    assert kolmogorov(1.358) == pytest.approx(0.05, rel=1e-3)

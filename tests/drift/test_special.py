from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from edgemon.drift.special import chi_square_sf, gamma_q


@pytest.mark.parametrize("a", [0.5, 1.0, 1.5, 4.0, 19.5, 20.0, 31.5, 100.0, 499.5, 1e4, 1e6])
def test_gamma_q_is_scipys_from_the_bulk_to_the_far_tail(a: float) -> None:
    seen = 0
    for deviations in np.linspace(-8.0, 37.0, 200):
        x = float(a + deviations * math.sqrt(a))
        expected = float(special.gammaincc(a, x)) if x > 0.0 else 1.0
        if expected > 1e-280:
            assert math.isclose(gamma_q(a, x), expected, rel_tol=1e-10)
            seen += 1
    assert seen > 100


@pytest.mark.parametrize("df", [1, 2, 3, 10, 63, 999])
@pytest.mark.parametrize("p", [0.999, 0.5, 0.05, 1e-3, 1e-9, 1e-30, 1e-200])
def test_chi_square_tail_inverts_scipys_quantile(df: int, p: float) -> None:
    x = float(stats.chi2.isf(p, df))
    assert math.isclose(chi_square_sf(x, df), float(stats.chi2.sf(x, df)), rel_tol=1e-10)


def test_the_ends_of_the_range() -> None:
    assert chi_square_sf(0.0, 3) == chi_square_sf(-1.0, 3) == 1.0
    assert chi_square_sf(math.inf, 3) == 0.0
    assert gamma_q(2.0, 1e-300) == 1.0
    assert gamma_q(2.0, 5000.0) == 0.0
    with pytest.raises(ValueError, match="positive"):
        gamma_q(0.0, 1.0)

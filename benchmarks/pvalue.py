"""The p-value of the two-sample KS statistic: milliseconds a call, beside scipy's exact one.

At D sqrt(mn / (m + n)) = 2, p about 0.0007. Processor time of this thread, median of several rounds.
scipy gives up the exact value at the larger sizes by itself, with a warning.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.ks import median_ns
from edgemon.drift.pvalue import ks_pvalue

SIZES = ((1_000, 1_000), (1_000, 999), (10_000, 1_000), (10_000, 999), (3_162, 3_161))
SIZES_BEYOND = ((100_000, 1_000), (1_000_000, 1_000_000))
ROUNDS = 3


class PvalueRow(NamedTuple):
    m: int
    n: int
    p: float
    ours_ms: float
    scipy_p: float
    scipy_ms: float


def measure(m: int, n: int, with_scipy: bool) -> PvalueRow:
    lcm = math.lcm(m, n)
    # Two blocks that give such an h exactly: `above` of the second sample lie above all of the first.
    above = round(2.0 * math.sqrt((m + n) / (m * n)) * n)
    h = above * (lcm // n)
    first = np.zeros(m)
    second = np.concatenate([np.zeros(n - above), np.ones(above)])
    scipy_p, scipy_ms = math.nan, math.nan

    def ours() -> int:
        ks_pvalue(h, m, n)
        return 1

    def scipys() -> int:
        nonlocal scipy_p
        scipy_p = float(stats.ks_2samp(first, second, method="exact").pvalue)
        return 1

    if with_scipy:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            scipy_ms = median_ns({"scipy": scipys}, ROUNDS)["scipy"] / 1e6
    ours_ms = median_ns({"ours": ours}, ROUNDS)["ours"] / 1e6
    return PvalueRow(m, n, ks_pvalue(h, m, n), ours_ms, scipy_p, scipy_ms)


def rows() -> list[PvalueRow]:
    """One row a size, some seconds in all."""
    return [measure(m, n, True) for m, n in SIZES] + [measure(m, n, False) for m, n in SIZES_BEYOND]


def main() -> None:
    print("p-value of the KS statistic: ms a call")
    print()
    print(f"{'m':>9} {'n':>9} {'p':>22} {'ms':>8} {'scipy exact':>22} {'ms':>8}")
    for row in rows():
        scipys = "" if math.isnan(row.scipy_ms) else f" {row.scipy_p:>22.15g} {row.scipy_ms:>8,.2f}"
        print(f"{row.m:>9,} {row.n:>9,} {row.p:>22.15g} {row.ours_ms:>8.3f}{scipys}")


if __name__ == "__main__":
    main()

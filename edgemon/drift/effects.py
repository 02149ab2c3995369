"""How large a drift is, from the same counts that the Kolmogorov–Smirnov statistic keeps.

Convention: `values` and `counts` are the reference (u distinct values, strictly increasing, and how
often each stands in it), `buckets` the window's 2u + 1 counts: buckets[2i + 1] values equal
values[i], buckets[2i] lie strictly between values[i - 1] and values[i], the first below and the last
above all of them (SlidingKS.counts). What lies between is known by its bucket only; each function
says what it makes of that. NaN is not in any of them. The stability index is explain.psi.
"""

from __future__ import annotations

import math

from edgemon.drift.explain import QUANTILES, histograms, psi, window_quantiles
from edgemon.std.collections.abc import Sequence
from edgemon.typed import NamedTuple


class Effects(NamedTuple):
    """All of them, for one window. Each field: the function of that name, psi: explain.psi.

    quantile_shifts: at 5, 25, 50, 75 and 95 %, in the stream's units.
    """

    psi: float
    jensen_shannon: float
    wasserstein: float
    cramer_von_mises: float
    quantile_shifts: tuple[float, ...]


def effects(
    values: Sequence[float],
    counts: Sequence[int],
    edges: Sequence[float],
    buckets: Sequence[int],
) -> Effects:
    """The window's effect sizes. edges: the profile's, between its bins. O(u).

    >>> found = effects([1.0, 2.0], [1, 1], [1.0], [0, 0, 0, 2, 0])
    >>> found.wasserstein, found.quantile_shifts
    (0.5, (1.0, 1.0, 1.0, 0.0, 0.0))
    """
    reference, window = histograms(values, counts, buckets, edges)
    return Effects(
        psi(reference, window),
        jensen_shannon(reference, window),
        wasserstein(values, counts, buckets),
        cramer_von_mises(counts, buckets),
        tuple(quantile_shifts(values, counts, buckets)),
    )


def jensen_shannon(reference: Sequence[int], window: Sequence[int]) -> float:
    """Jensen–Shannon divergence of two histograms over the same bins, in bits.

    H((p + q) / 2) - (H(p) + H(q)) / 2 with H the entropy: the bits that one value tells about which
    of the two it came from. 0 for equal shapes, 1 for none in common; symmetric; empty bins need no
    care. Not its square root, which would be a metric. Biased upwards by chance: about 0.18 (bins -
    1) (1 / n + 1 / m). An empty side: 0. O(bins). Lin, IEEE Trans. Inf. Theory 37 (1991).

    >>> jensen_shannon([1, 0], [0, 1]), jensen_shannon([3, 1], [6, 2])
    (1.0, 0.0)
    """
    m, n = sum(reference), sum(window)
    if not m or not n:
        return 0.0
    bits = 0.0
    for r, w in zip(reference, window, strict=True):
        middle = 0.5 * (r / m + w / n)
        bits += 0.5 * r / m * math.log2(r / m / middle) if r else 0.0
        bits += 0.5 * w / n * math.log2(w / n / middle) if w else 0.0
    return min(1.0, max(0.0, bits))


def wasserstein(values: Sequence[float], counts: Sequence[int], buckets: Sequence[int]) -> float:
    """Wasserstein-1 distance of the two empirical laws: the integral of |F - G|, in the stream's
    units.

    By how much a value must be moved, on average, to turn one into the other; >= 0. Exact, ties
    included, when all of the window stands on reference values. Between two of them a value counts
    as at their middle (at the upper end, if the lower is infinite), so each is at most half a gap
    out; beyond the reference's range it counts as at the range's end, which makes the distance too
    small: buckets[0] and buckets[-1] say how many do. inf where mass must cross to an infinite
    value. An empty window: 0. O(u). Vallender, Theory Probab. Appl. 18 (1974).

    >>> wasserstein([0.0, 1.0, 3.0], [1, 1, 1], [0, 0, 0, 0, 2, 1, 0])  # the window: 2, 2, 3
    1.0
    """
    m, n = sum(counts), sum(buckets)
    if not m or not n:
        return 0.0
    areas = []
    # n m (F - G), in integers, on the way up.
    difference = -m * buckets[0]
    for i, value in enumerate(values):
        if i:
            below = values[i - 1]
            between = m * buckets[2 * i]
            half = 0.5 * value - 0.5 * below
            # To the middle, and from there on; a gap without mass to move counts 0, not 0 * inf.
            if math.isinf(below) or math.isinf(value):
                areas.append(math.inf if difference else 0.0)
            else:
                areas.append(half * (abs(difference) / (m * n)))
                areas.append(half * (abs(difference - between) / (m * n)))
            difference -= between
        difference += n * counts[i] - m * buckets[2 * i + 1]
    return sum(areas) if math.inf in areas else math.fsum(areas)


def cramer_von_mises(counts: Sequence[int], buckets: Sequence[int]) -> float:
    """The two-sample Cramér–von Mises statistic T, ties by midranks.

    T = U / (m n (m + n)) - (4 m n - 1) / (6 (m + n)), U = m sum (rank of x_i - i)^2 + n sum (rank of
    y_j - j)^2 (Anderson, Ann. Math. Statist. 33, 1962). Where KS looks at the largest difference, it
    adds up all of them. No units; about 1/6 for healthy data, above 0.46 in 5 % of single looks,
    grows as m n / (m + n) with a drift. Values of one bucket count as equal. U is exact, in
    integers. An empty window: 0. O(u).

    >>> cramer_von_mises([1, 1, 1], [0, 0, 0, 0, 0, 0, 3])  # all of the window lies above
    0.6388888888888888
    """
    m, n = sum(counts), sum(buckets)
    if not m or not n:
        return 0.0
    u_m = u_n = 0  # four times the two sums
    before_m = before_n = 0
    for bucket, w in enumerate(buckets):
        r = counts[bucket // 2] if bucket % 2 else 0
        if not r and not w:
            continue
        # Twice the midrank that all of this bucket share.
        rank = 2 * (before_m + before_n) + r + w + 1
        u_m += _squares(rank - 2 * before_m, r)
        u_n += _squares(rank - 2 * before_n, w)
        before_m, before_n = before_m + r, before_n + w
    # One division, of integers: 12 times numerator and denominator of T.
    return (3 * (m * u_m + n * u_n) - 2 * (4 * m * n - 1) * m * n) / (12 * m * n * (m + n))


def _squares(rank: int, k: int) -> int:
    """The sum of (rank - 2 i)^2 over i = 1 … k."""
    return k * rank * rank - 2 * rank * k * (k + 1) + 2 * k * (k + 1) * (2 * k + 1) // 3


def quantile_shifts(
    values: Sequence[float],
    counts: Sequence[int],
    buckets: Sequence[int],
    qs: Sequence[float] = QUANTILES,
) -> list[float]:
    """Quantiles of the window less those of the reference, in the stream's units; > 0: it went up.

    Quantiles as `explain.window_quantiles` defines them: exact on reference values, else the middle
    of the gap, and at most the range's end. 0 where both are the same infinity; NaN for an empty
    window or reference. O(u).

    >>> quantile_shifts([1.0, 2.0, 3.0], [1, 1, 1], [0, 0, 0, 0, 0, 3, 0], (0.5,))
    [1.0]
    """
    reference = [0] * (2 * len(values) + 1)
    reference[1::2] = counts
    was = window_quantiles(values, reference, qs)
    now = window_quantiles(values, buckets, qs)
    return [0.0 if b == a else b - a for a, b in zip(was, now, strict=True)]

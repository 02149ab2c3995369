"""Since when a stream drifts: an estimate from the window that raised the alarm."""

from __future__ import annotations

import math
from itertools import accumulate

from edgemon.std.collections.abc import Callable, Sequence
from edgemon.typed import NamedTuple

# Rounds in which suffix and place improve each other; two or three are usual.
_MAX_ROUNDS = 20


class ChangePoint(NamedTuple):
    """The last `values` values of the window (1 to n) are from another law than the reference.

    bucket: at whose end those values differ most from it.  statistic: D sqrt(m k / (m + k)) there, k
    = values.  whole_window: it is all of the window, so that the change came then or earlier.
    """

    values: int
    bucket: int
    statistic: float
    whole_window: bool


def change_point(counts: Sequence[int], buckets: Sequence[int]) -> ChangePoint:
    """The suffix of the window that lies furthest from the reference.

    counts: how often each of the u reference values stands in it.  buckets: the window's bucket
    ids, oldest first (SlidingKS.buckets).  ValueError when either is empty.

    Estimates k0, the number of values since the law changed, by the k at which D_k sqrt(m k / (m +
    k)) is largest, with D_k the Kolmogorov–Smirnov distance of the last k values from the
    reference: shorter suffixes have fewer values to show it with, longer ones are diluted by values
    from before. The maximum over k and place is climbed in turns (the best k for a place, the best
    place for that k) from suffixes of n, n/2, n/4 … values: not certain to be the highest, nearly
    always is. Meant for a window that holds one change. Half of the errors at an alarm (D = 0.085,
    windows of 1,000, m = 10,000) are at most 2 values for a shift of 1 sigma, 10 for 0.5 sigma, 25
    for 0.3 sigma; one in ten is beyond 10, 50 and 200. A slow ramp has no such moment, and gets one
    somewhere on its way.
    Time: O((n + u) log n), some 10 ms for n = 1,000. Memory: O(n + u), for the call.

    >>> change_point([10, 10], [1, 3, 1, 3, 1, 3, 3, 3, 3, 3, 3])
    ChangePoint(values=6, bucket=2, statistic=1.0741723110591495, whole_window=False)
    """
    m, n = sum(counts), len(buckets)
    if not m or not n:
        raise ValueError("no reference or no window")
    at_or_below = [0] * (2 * len(counts) + 1)
    at_or_below[1::2] = counts
    at_or_below = list(accumulate(at_or_below))
    newest_first = list(reversed(buckets))
    best = (0.0, 0, 0)
    tried: set[int] = set()
    k = n
    while k:
        best = max(best, _climb(at_or_below, newest_first, k, tried))
        k //= 2
    statistic, values, bucket = best
    return ChangePoint(values or n, bucket, statistic, values in (0, n))


def _climb(
    at_or_below: Sequence[int], newest_first: Sequence[int], k: int, tried: set[int]
) -> tuple[float, int, int]:
    """From a suffix of k values to a local maximum: (statistic, values, bucket)."""
    best = (0.0, 0, 0)
    for _ in range(_MAX_ROUNDS):
        bucket = _place(at_or_below, newest_first[:k])
        if bucket in tried:
            break
        tried.add(bucket)
        statistic, k = _suffix(
            at_or_below[bucket] / at_or_below[-1], at_or_below[-1], newest_first, bucket
        )
        if statistic <= best[0]:
            break
        best = (statistic, k, bucket)
    return best


def _place(at_or_below: Sequence[int], suffix: Sequence[int]) -> int:
    """The bucket at whose end the suffix differs most from the reference."""
    ordered = sorted(suffix)
    m, k = at_or_below[-1], len(ordered)
    largest, place = -1, 0
    # F rises between the suffix's values: the largest differences stand at them and just below.
    for i, bucket in enumerate(ordered):
        above = m * (i + 1) - k * at_or_below[bucket]
        if above > largest:
            largest, place = above, bucket
        if bucket:
            below = k * at_or_below[bucket - 1] - m * i
            if below > largest:
                largest, place = below, bucket - 1
    return place


def _suffix(share: float, m: int, newest_first: Sequence[int], bucket: int) -> tuple[float, int]:
    """(statistic, k) of the best suffix, judged by how many of it lie at or below the bucket."""
    best, values = 0.0, 0
    is_below: Callable[[int], bool] = bucket.__ge__
    for k, below in enumerate(accumulate(map(is_below, newest_first)), 1):
        # Without the root, which only the best needs: (below / k - share)^2 m k / (m + k).
        away = below - share * k
        statistic = away * away / (k * (m + k))
        if statistic > best:
            best, values = statistic, k
    return math.sqrt(m * best), values

"""A window that is known by its buckets, beside its reference: quantiles, histograms, how far apart."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import accumulate

from edgemon.std.array import array
from edgemon.std.collections.abc import Sequence

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def window_quantiles(
    values: Sequence[float], buckets: Sequence[int], qs: Sequence[float]
) -> list[float]:
    """Quantiles of a window that is known by its buckets only (see ks.Reference: 2i + 1 is "equal
    to values[i]").

    Exact where the quantile falls on a reference value; between two it is their middle; beyond the
    reference's range it is the range's end, and the counts outside (`explain`) say how much lies
    there. NaN for an empty window.
    """
    at_or_below = array("Q", accumulate(buckets))
    n = at_or_below[-1]
    if not n:
        return [math.nan] * len(qs)
    found = []
    for q in qs:
        bucket = bisect_left(at_or_below, min(n, max(1, math.ceil(q * n))))
        above = values[min(bucket // 2, len(values) - 1)]
        below = values[max(0, (bucket + 1) // 2 - 1)]
        found.append(
            above if above == below or math.isinf(above - below) else below + (above - below) / 2
        )
    return found


def histograms(
    values: Sequence[float], counts: Sequence[int], buckets: Sequence[int], edges: Sequence[float]
) -> tuple[list[int], list[int]]:
    """Reference and window counted into the profile's bins, len(edges) + 1 of them.

    Exact when each edge is a reference value, as in a profile that the detector did not have to
    reduce; else within one reference value of it.
    """
    reference, window = [0] * (len(edges) + 1), [0] * (len(edges) + 1)
    for i, value in enumerate(values):
        bin_ = bisect_left(edges, value)
        reference[bin_] += counts[i]
        window[bin_] += buckets[2 * i + 1]
        if buckets[2 * i]:
            window[bisect_right(edges, values[i - 1]) if i else 0] += buckets[2 * i]
    window[bisect_right(edges, values[-1])] += buckets[-1]
    return reference, window


def psi(reference: Sequence[int], window: Sequence[int]) -> float:
    """Population stability index of two histograms over the same bins, with half a count added to
    each bin.

    Sum of (p - q) ln(p / q): 0 for equal shapes; 0.25 is commonly called a large shift. Symmetric,
    >= 0.

    >>> psi([10, 10], [10, 10])
    0.0
    """
    bins = len(reference)
    total_r, total_w = sum(reference) + 0.5 * bins, sum(window) + 0.5 * bins
    shares = [
        ((r + 0.5) / total_r, (w + 0.5) / total_w) for r, w in zip(reference, window, strict=True)
    ]
    return sum((q - p) * math.log(q / p) for p, q in shares)


def reference_quantiles(
    values: Sequence[float], counts: Sequence[int], qs: Sequence[float] = QUANTILES
) -> list[float]:
    """Quantiles of the reference by the same rule."""
    buckets = array("Q", [0]) * (2 * len(values) + 1)
    buckets[1::2] = array("Q", counts)
    return window_quantiles(values, buckets, qs)

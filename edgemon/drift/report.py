"""What an alarm of a numeric stream tells: how far, since when, where, and both distributions.

All that is needed to draw the two curves is in the event itself.
"""

from __future__ import annotations

import math
from itertools import accumulate

from edgemon._core.ks import SlidingKS
from edgemon.drift.changepoint import change_point
from edgemon.drift.effects import effects
from edgemon.drift.explain import QUANTILES, histograms, reference_quantiles, window_quantiles
from edgemon.drift.pvalue import ks_pvalue
from edgemon.std.collections.abc import Sequence

CURVE_POINTS = 64
DIRECTIONS = {1: "up", -1: "down", 0: "none"}


def report(ks: SlidingKS, edges: Sequence[float], last: int = 0) -> dict[str, object]:
    """The window against its reference; JSON-serialisable. docs/drift.md names the fields.

    edges: between the profile's bins.  last: only so many values, the latest, where the window holds more; 0 for
    all.  Some 30 ms for n = 1,000 and m = 10,000.
    """
    reference = ks.reference
    values = [reference.value(2 * i + 1) for i in range(reference.u)]
    ranks = [reference.rank(value) for value in values]
    counts = [rank - before for rank, before in zip(ranks, [0, *ranks], strict=False)]
    buckets = ks.buckets()
    window, largest = ks.counts(), ks.peak()
    if 0 < last < len(buckets):
        window = [0] * len(window)
        for bucket in buckets[-last:]:
            window[bucket] += 1
        largest = peak(counts, window)
    return report_of(values, counts, window, largest, edges) | since(counts, buckets)


def peak(counts: Sequence[int], window: Sequence[int]) -> tuple[int, int, int]:
    """(h, bucket, direction) as SlidingKS.peak gives it, from counts alone and for any sizes. O(u).

    >>> peak([1, 1], [0, 0, 0, 0, 3])
    (6, 3, 1)
    """
    m, n = sum(counts), sum(window)
    common = math.gcd(m, n)
    best = (0, 0, 0)
    ranks = [0, *accumulate(counts)]
    for bucket, below in enumerate(accumulate(window)):
        difference = n // common * ranks[(bucket + 1) // 2] - m // common * below
        if abs(difference) > best[0]:
            best = (abs(difference), bucket, 1 if difference > 0 else -1)
    return best


def report_of(
    values: Sequence[float],
    counts: Sequence[int],
    window: Sequence[int],
    largest: tuple[int, int, int],
    edges: Sequence[float],
) -> dict[str, object]:
    """The same from counts alone, without the order of the window's values.

    values, counts: the reference.  window: counts by bucket.  largest: (h, bucket, direction) as
    SlidingKS.peak gives it.
    """
    h, bucket, direction = largest
    m, n = sum(counts), sum(window)
    lcm = math.lcm(m, max(1, n))
    # The value at the peak, or the next one above where the peak lies between two.
    index = min(bucket // 2, len(values) - 1)
    in_reference, in_window = histograms(values, counts, window, edges)
    sizes = effects(values, counts, edges, window)
    names = [f"{100 * q:g}%" for q in QUANTILES]
    found: dict[str, object] = {
        "D": h / lcm,
        "h": h,
        "lcm": lcm,
        "n": n,
        "m": m,
        "p": ks_pvalue(h, m, n) if n else 1.0,
        "direction": DIRECTIONS[direction],
        "at": values[index],
        "at_quantile": sum(counts[: (bucket + 1) // 2]) / m,
        "at_share": sum(window[: bucket + 1]) / max(1, n),
        "reference_quantiles": dict(zip(names, reference_quantiles(values, counts), strict=True)),
        "current_quantiles": dict(
            zip(names, window_quantiles(values, window, QUANTILES), strict=True)
        ),
        "quantile_shifts": dict(zip(names, sizes.quantile_shifts, strict=True)),
        "below_reference": window[0],
        "above_reference": window[-1],
        "edges": list(edges),
        "reference_counts": in_reference,
        "current_counts": in_window,
        "psi": sizes.psi,
        "jensen_shannon": sizes.jensen_shannon,
        "wasserstein": sizes.wasserstein,
        "cramer_von_mises": sizes.cramer_von_mises,
        "curves": curves(values, counts, window, index),
    }
    return {name: json_safe(value) for name, value in found.items()}


def since(counts: Sequence[int], buckets: Sequence[int]) -> dict[str, object]:
    """How many of the window's last values are from another law: an estimate (changepoint)."""
    if not buckets:
        return {"values_since_change": 0, "change_before_window": False}
    found = change_point(counts, buckets)
    return {"values_since_change": found.values, "change_before_window": found.whole_window}


def curves(
    values: Sequence[float], counts: Sequence[int], window: Sequence[int], peak: int
) -> dict[str, list[float]]:
    """Both distribution functions at up to 64 reference values: {"x", "reference", "current"}.

    The points follow the mass of both, and the peak (an index into values) is one of them. At each x
    the shares at or below it are exact; from one to the next, both functions rise somewhere between.
    """
    m, n = sum(counts), max(1, sum(window))
    in_reference = list(accumulate(counts))
    at_or_below = list(accumulate(window))
    in_window = at_or_below[1::2]
    chosen = {0, peak, len(values) - 1}
    step = 2.0 / (CURVE_POINTS - 3)
    due = step
    for i, (r, w) in enumerate(zip(in_reference, in_window, strict=True)):
        if r / m + w / n >= due:
            chosen.add(i)
            due += step * max(1, math.ceil((r / m + w / n - due) / step))
    points = sorted(chosen)
    return {
        "x": [values[i] for i in points],
        "reference": [in_reference[i] / m for i in points],
        "current": [in_window[i] / n for i in points],
    }


def json_safe(value: object) -> object:
    """The same, with what JSON has no number for: infinities as "inf" and "-inf", NaN as None."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return None if value != value else "inf" if value > 0.0 else "-inf"
    if isinstance(value, dict):
        return {name: json_safe(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    return value

"""What a numeric stream's detector is made of, beside the KS: how each part is made and refilled."""

from __future__ import annotations

import math

from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift import esr
from edgemon.drift.budget import numeric_shares
from edgemon.drift.profile import FeatureProfile
from edgemon.drift.threshold import BlindDetectorError
from edgemon.std.array import array
from edgemon.std.collections.abc import Sequence
from edgemon.typed import NamedTuple


class Promise(NamedTuple):
    """P(any false alarm of this stream in `horizon` predictions) <= probability."""

    probability: float
    horizon: int


def esr_table(
    feature: FeatureProfile, reference: Reference, probability: float
) -> esr.EsrTable | None:
    """The bets for a stream with this part of the budget; None where the reference is too small."""
    share = numeric_shares(probability, 1.0).esr
    n = max(feature.n, reference.m)
    epsilon = esr.reference_epsilon(n, esr.REFERENCE_SHARE * share, reference.m)
    try:
        return esr.quantile_table(reference, epsilon)
    except BlindDetectorError:
        return None


def refill(ks: SlidingKS, buckets: Sequence[int]) -> None:
    """Push values that fall into these buckets, oldest first: the window as it was, as far as it can
    be told. threshold_h should be out of reach. ValueError when they are of another reference."""
    reference = ks.reference
    if len(buckets) > ks.window or max(buckets, default=0) > 2 * reference.u:
        raise ValueError("its window is of another reference")
    stand_in = {bucket: _inside(reference, bucket) for bucket in set(buckets)}
    ks.push_many(array("d", [stand_in[bucket] for bucket in buckets]))
    if ks.buckets() != list(buckets):
        raise ValueError("its window is of another reference")


def _inside(reference: Reference, bucket: int) -> float:
    """Some value of that bucket; of another where there is none."""
    low, high = reference.bounds(bucket)
    if low == high or bucket == 0:
        return low
    return high if bucket == 2 * reference.u else math.nextafter(low, high)

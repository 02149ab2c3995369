"""Two data sets, stream by stream: how far apart, and whether by chance. For files, not for streams.

Both come as profiles (build.py), exact while they hold all values (`max_points` of the builder).
"""

from __future__ import annotations

import math
from bisect import bisect_left

from edgemon.drift import counts
from edgemon.drift.effects import Effects, effects, jensen_shannon
from edgemon.drift.esr import usable
from edgemon.drift.profile import FeatureProfile, Profile
from edgemon.drift.pvalue import ks_pvalue
from edgemon.drift.report import DIRECTIONS, peak
from edgemon.drift.special import chi_square_sf
from edgemon.std.array import array
from edgemon.std.collections.abc import Sequence
from edgemon.typed import NamedTuple


class Missing(NamedTuple):
    """Shares of rows without a value, and the chance of such a difference (chi-square)."""

    reference: float
    current: float
    p: float


class NumericComparison(NamedTuple):
    """m, n: values compared.  d = h / lcm(m, n).  p: exact, of h less what sqrt_tau explains.  at:
    where the distance is largest, and the share of the reference at or below it.  quantiles: 5, 25,
    50, 75, 95 % of the reference, and of the current data.
    """

    stream: str
    m: int
    n: int
    d: float
    h: int
    p: float
    sqrt_tau: float
    direction: str
    at: float
    at_quantile: float
    effects: Effects
    reference_quantiles: tuple[float, ...]
    current_quantiles: tuple[float, ...]
    missing: Missing


class TextComparison(NamedTuple):
    """d: total variation distance.  p: of chi_square, with df, or of how many are new, the smaller of
    the two times two.  moved: (category, share in the
    reference, share now), the largest change first.  new, lost: categories of one side only.
    """

    stream: str
    m: int
    n: int
    d: float
    g: float
    chi_square: float
    df: int
    p: float
    jensen_shannon: float
    moved: tuple[tuple[str, float, float], ...]
    new: tuple[str, ...]
    lost: tuple[str, ...]
    missing: Missing


Comparison = NumericComparison | TextComparison
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Difference(NamedTuple):
    """of: streams of both sides, in the reference's order.  lost, new: of the reference, of the
    current data alone; or of another kind there."""

    of: tuple[Comparison, ...]
    lost: tuple[str, ...]
    new: tuple[str, ...]


def compare_profiles(reference: Profile, current: Profile) -> Difference:
    """Stream by stream. Each needs its values (not a profile that was loaded for detectors)."""
    found: list[Comparison] = []
    lost = []
    kinds = {feature.name: feature for feature in current.features}
    for feature in reference.features:
        other = kinds.get(feature.name)
        if other is None or other.kind != feature.kind:
            lost.append(feature.name)
            continue
        del kinds[feature.name]
        make = _numeric if feature.kind == "numeric" else _text
        found.append(make(feature, other))
    return Difference(tuple(found), tuple(lost), tuple(kinds))


def _numeric(reference: FeatureProfile, current: FeatureProfile) -> NumericComparison:
    buckets = into_buckets(reference.values, current.values, current.counts)
    m, n = reference.points, current.points
    h, bucket, direction = peak(reference.counts, buckets)
    index = min(bucket // 2, len(reference.values) - 1)
    sqrt_tau = max(reference.sqrt_tau, current.sqrt_tau)
    widened = 1.0 if usable(sqrt_tau) else sqrt_tau
    return NumericComparison(
        reference.name,
        m,
        n,
        h / math.lcm(m, n),
        h,
        ks_pvalue(math.floor(h / widened), m, n),
        sqrt_tau,
        DIRECTIONS[direction],
        reference.values[index],
        sum(reference.counts[: index + 1]) / m,
        effects(reference.values, reference.counts, reference.edges, buckets),
        tuple(reference.quantiles(_QUANTILES)),
        tuple(current.quantiles(_QUANTILES)),
        _missing(reference, current),
    )


def into_buckets(
    values: Sequence[float], others: Sequence[float], other_counts: Sequence[int]
) -> list[int]:
    """Counts of the other values in the 2u + 1 buckets of these u (ks.Reference).

    >>> into_buckets([1.0, 2.0], [0.5, 1.0, 1.5, 9.0], [1, 2, 1, 1])
    [1, 2, 1, 0, 1]
    """
    buckets = [0] * (2 * len(values) + 1)
    for value, count in zip(others, other_counts, strict=True):
        i = bisect_left(values, value)
        equal = i < len(values) and values[i] == value
        buckets[2 * i + 1 if equal else 2 * i] += count
    return buckets


def _text(reference: FeatureProfile, current: FeatureProfile) -> TextComparison:
    names = list(dict.fromkeys((*reference.categories, *current.categories)))
    was = array("Q", (reference.categories.get(name, 0) for name in names))
    now = array("Q", (current.categories.get(name, 0) for name in names))
    was.append(reference.other)
    now.append(current.other)
    test = counts.compare(was, now)
    shares = [
        (name, r / reference.n, w / current.n) for name, r, w in zip(names, was, now, strict=False)
    ]
    # Where one side has more texts than it kept, nothing is known to be new or lost.
    new = () if reference.other else tuple(name for name, r, _ in shares if not r)
    lost = () if current.other else tuple(name for name, _, w in shares if not w)
    # The chi-square expects some of each in the reference; what is new is tested apart.
    unseen = sum(current.categories[name] for name in new)
    p_new = min(1.0, 2.0 * two_rates(0, reference.n, unseen, current.n)) if new else 1.0
    p = min(p_new, min(1.0, 2.0 * test.p) if new else test.p)
    return TextComparison(
        reference.name,
        reference.n,
        current.n,
        counts.total_variation(was, now),
        test.g,
        test.chi_square,
        test.df,
        p,
        jensen_shannon(was, now),
        tuple(sorted(shares, key=lambda share: -abs(share[2] - share[1]))),
        new,
        lost,
        _missing(reference, current),
    )


def _missing(reference: FeatureProfile, current: FeatureProfile) -> Missing:
    p = two_rates(
        reference.missing,
        reference.n + reference.missing,
        current.missing,
        current.n + current.missing,
    )
    return Missing(reference.missing_ratio, current.missing_ratio, p)


def two_rates(k: int, m: int, l: int, n: int) -> float:  # noqa: E741 - k of m, l of n
    """P-value, two-sided: are k of m and l of n one rate?

    Pearson's chi-square where it expects five of each kind on both sides, else Fisher's exact test
    (the sum of the probabilities of all tables that are as unlikely, given the margins).

    >>> round(two_rates(3, 4, 1, 4), 6)
    0.485714
    """
    yes, total = k + l, m + n
    if not yes or yes == total or not m or not n:
        return 1.0
    if min(yes, total - yes) * min(m, n) >= 5 * total:
        away = k * n - l * m
        return chi_square_sf(total * away * away / (m * n * yes * (total - yes)), 1)

    def log_chance(i: int) -> float:
        return _log_choose(m, i) + _log_choose(n, yes - i) - _log_choose(total, yes)

    observed = log_chance(k) + 1e-7
    found = (log_chance(i) for i in range(max(0, yes - n), min(yes, m) + 1))
    return min(1.0, math.fsum(math.exp(chance) for chance in found if chance <= observed))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the same order: P(any of them <= alpha without cause) <= alpha,
    however the tests depend on each other (Scand. J. Statist. 6, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(ps)
    running = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        running = max(running, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = running
    return adjusted


def bonferroni(ps: Sequence[float]) -> list[float]:
    """Each times their number."""
    return [min(1.0, p * len(ps)) for p in ps]

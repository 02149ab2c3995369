"""How much autocorrelation widens what is normal: the factor sqrt(tau)."""

from __future__ import annotations

import math

from edgemon._core.ks import at_most
from edgemon.std.array import array
from edgemon.std.collections.abc import Sequence

# Quantiles at which the indicator series are made: 1/16 … 15/16.
_QUANTILES = 15
# One-sided 90 % point of the normal law.
_Z90 = 1.2815515655446004
# One-sided 95 % point.
_Z95 = 1.6448536269514722
MIN_VALUES = 20


def sqrt_tau(values: array[float]) -> float:
    """Square root of the integrated autocorrelation time of an ordered sample: upper bound, >= 1.

    values: n numbers in the order in which they came, without NaN; ±inf and ties are fine.

    tau = 1 + 2 * (sum over lags of the correlation of the indicator 1{x <= q}), the largest over 15
    quantiles q; those at which the indicator is constant are left out. The sum over all lags would
    be identically 0: it ends where Geyer's initial positive sequence does (Practical Markov chain
    Monte Carlo, Statistical Science 7, 1992: lags are added in pairs while the pair is positive),
    taken on the mean of the 15 series, which is less noisy than each of them. The standard error is
    tau * sqrt(2 (2 M + 1) / n) with M the last lag used (Madras and Sokal, J. Stat. Phys. 50, 1988);
    what is returned is the one-sided 90 % bound. docs/drift.md has its coverage.

    Fewer than 20 values, or a constant: 1. It sees nothing in a sample that was shuffled, and no
    dependence that is as long as the sample. O(15 * M * n / 64): an indicator is one long integer.

    >>> sqrt_tau(array("d", [1.0, 2.0] * 100))
    1.0
    """
    n = len(values)
    if n < MIN_VALUES:
        return 1.0
    ordered = sorted(values)
    cuts = {ordered[k * n // (_QUANTILES + 1)] for k in range(1, _QUANTILES + 1)} - {ordered[-1]}
    if not cuts:
        return 1.0
    return _upper_bound([Indicator([value <= cut for value in values]) for cut in sorted(cuts)])


def sqrt_tau_at_least(answers: Sequence[bool]) -> float:
    """sqrt(tau) of a series of truth values in their order: the one-sided 95 % lower bound, >= 1.

    For who must not call independent values dependent because they are few; the formula is that of `sqrt_tau`.

    >>> sqrt_tau_at_least([False, True] * 500), sqrt_tau_at_least(([False] * 50 + [True] * 50) * 10) > 2.0
    (1.0, True)
    """
    if len(answers) < MIN_VALUES:
        return 1.0
    series = Indicator(answers)
    if series.constant:
        return 1.0
    tau, last = integrated_time([series])
    return math.sqrt(max(1.0, tau / (1.0 + _Z95 * _relative_error(last, series.n))))


def sqrt_tau_of_categories(categories: Sequence[int]) -> float:
    """The same for a stream of categories: of the indicators 1{x = c}, c the 15 most frequent.

    categories: a number for each, in the order in which they came.

    >>> sqrt_tau_of_categories([0] * 500 + [1] * 500) > 10.0
    True
    """
    if len(categories) < MIN_VALUES:
        return 1.0
    series = of_categories(categories, _QUANTILES)
    return _upper_bound(series) if series else 1.0


def of_categories(categories: Sequence[int], most: int) -> list[Indicator]:
    """The series 1{x = c} of the `most` most frequent categories; none where there is but one."""
    counts: dict[int, int] = {}
    for category in categories:
        counts[category] = counts.get(category, 0) + 1
    if len(counts) < 2:
        return []
    common = sorted(counts, key=lambda category: -counts[category])[:most]
    return [Indicator([category == c for category in categories]) for c in common]


def integrated_time(series: Sequence[Indicator]) -> tuple[float, int]:
    """(tau, last lag used) of one or more indicator series of equal length, as `sqrt_tau` has it;
    without the bound."""
    n = series[0].n
    taus = [-1.0] * len(series)
    lag = 0
    while lag + 1 < n:
        pairs = [i.correlation(lag) + i.correlation(lag + 1) for i in series]
        if sum(pairs) <= 0.0:
            break
        taus = [tau + 2.0 * pair for tau, pair in zip(taus, pairs, strict=True)]
        lag += 2
    return max(taus), max(0, lag - 1)


def _upper_bound(series: Sequence[Indicator]) -> float:
    tau, last = integrated_time(series)
    bound = tau * (1.0 + _Z90 * _relative_error(last, series[0].n))
    return math.sqrt(max(1.0, bound))


def _relative_error(last: int, n: int) -> float:
    """Madras and Sokal's standard error of tau, as a share of it."""
    return math.sqrt(2.0 * (2 * last + 1) / n)


class Indicator:
    """A series of truth values, as the bits of one integer; not constant."""

    __slots__ = ("_bits", "_mean", "_variance", "n")

    def __init__(self, values: Sequence[bool]) -> None:
        self._set(int("".join(["1" if value else "0" for value in values]), 2), len(values))

    @classmethod
    def at_most(cls, values: bytes, limit: int) -> Indicator:
        """1{value <= limit}; values: int64 of this machine."""
        made = cls.__new__(cls)
        made._set(at_most(values, limit), len(values) // 8)
        return made

    def _set(self, bits: int, n: int) -> None:
        self.n = n
        self._bits = bits
        self._mean = self._bits.bit_count() / self.n
        self._variance = self._mean * (1.0 - self._mean)

    @property
    def constant(self) -> bool:
        return self._variance == 0.0

    def correlation(self, lag: int) -> float:
        """Sample autocorrelation: the sum over pairs at this distance, divided by n."""
        mean, pairs = self._mean, self.n - lag
        later = self._bits >> lag
        earlier = self._bits & ((1 << pairs) - 1)
        both = (later & earlier).bit_count()
        ones = later.bit_count() + earlier.bit_count()
        return (both - mean * ones + pairs * mean * mean) / (self.n * self._variance)

"""How long one value may stay: what makes a run of equal numbers a stuck sensor.

A run of L equal values begins at a given one with a probability of at most r^(L - 1), when each value is equal to the
one before with a probability of at most r, whatever came before. So in N values

    P(any run of L or more) <= N r^(L - 1) <= probability   for   L = 1 + log(N / probability) / -log(r).

r, of independent values, is at most the mass of the heaviest value: sum of p_v^2 <= max p_v. Where values depend on
those before, a run of tau of them says as much as one value, so L - 1 is tau times as long; and the share of values
that were equal to the one before, in the model's own first ones, bounds r by itself, dependence included. Both shares
are bounded by Clopper and Pearson, and the longer L holds.
"""

from __future__ import annotations

import math

from edgemon._core.ks import Reference
from edgemon.drift.esr import REFERENCE_SHARE, clopper_pearson_upper

# Shorter runs are never told: a reading that is repeated until the next is taken is no stuck sensor.
MIN_RUN = 100


def heaviest(reference: Reference) -> int:
    """How many values of a reference are its commonest one. O(u)."""
    before = most = 0
    for i in range(reference.u):
        at_or_below = reference.rank(reference.value(2 * i + 1))
        most, before = max(most, at_or_below - before), at_or_below
    return most


def longest_run(ties: int, of: int, horizon: int, probability: float, tau: float = 1.0) -> float:
    """L: a run as long is told. Infinite where every value was the same.

    ties of `of`: values that were equal to the one before, or were the commonest.

    >>> longest_run(1, 10_000, 1_000_000, 1e-4), longest_run(5_000, 10_000, 1_000_000, 1e-4)
    (6.0, 38.0)
    >>> longest_run(1_000, 1_000, 1_000_000, 1e-4)
    inf
    """
    r = clopper_pearson_upper(ties, of, REFERENCE_SHARE * probability)
    if r >= 1.0:
        return math.inf
    chances = math.log(horizon / ((1.0 - REFERENCE_SHARE) * probability))
    return 1.0 + math.ceil(tau * chances / -math.log(r))

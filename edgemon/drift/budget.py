"""How a model's budget of false alarms is spent, and how long it must last.

P(any false alarm of a healthy model within the span) <= at_most. By the union bound:

- a tenth is for how well the model does (edgemon.performance): 0.04 for errors that truths show, 0.03 for the
  estimate without truths, 0.03 for errors that the application reports;
- a fifth is for the quality of its data (edgemon.quality says how it is split);
- every stream of the profile gets an equal part of the rest: on a text stream the categories have all of it; on a
  numeric one half goes to the KS and half to the e-SR detector;
- where values depend on those before (sqrt(tau) above 1.1), e-SR would break the promise: it is off, and the KS
  gets its part.

A span of time is turned into a number of predictions: the highest rate that was seen in any of the
model's windows within the span, rounded up to a power of 1.5 (so that thresholds stay put while the
rate wobbles), times the span. The true number is not larger, so the promise holds, at the price of
thresholds that are a few percent higher than the mean rate would ask for.
"""

from __future__ import annotations

import math

from edgemon.drift.esr import usable
from edgemon.drift.settings import FalseAlarmBudget
from edgemon.typed import NamedTuple

# Until a rate was seen.
ASSUMED_RATE_PER_S = 100.0
_RATE_STEP = 1.5
# Parts of a model's budget.
TRUTH_SHARE, ESTIMATE_SHARE, FAILURES_SHARE = 0.04, 0.03, 0.03
QUALITY_SHARE = 0.2


def stream_probability(at_most: float, streams: int) -> float:
    """The part of each of a profile's streams."""
    others = TRUTH_SHARE + ESTIMATE_SHARE + FAILURES_SHARE + QUALITY_SHARE
    return (1.0 - others) * at_most / max(1, streams)


class Shares(NamedTuple):
    """What the detectors of one numeric stream may spend. They add up to the stream's part."""

    ks: float
    esr: float


def numeric_shares(probability: float, sqrt_tau: float) -> Shares:
    """The split of a numeric stream's part.

    >>> numeric_shares(0.5, 1.0), numeric_shares(0.5, 2.0)
    (Shares(ks=0.25, esr=0.25), Shares(ks=0.5, esr=0.0))
    """
    if not usable(sqrt_tau):
        return Shares(probability, 0.0)
    return Shares(0.5 * probability, 0.5 * probability)


def horizon(budget: FalseAlarmBudget, rate_per_s: float) -> int:
    """Predictions that the promise covers, at the highest rate. Pure.

    >>> class Budget:
    ...     at_most, per_predictions, per_s = 0.01, 0, 86_400.0
    >>> horizon(Budget, 10.0), horizon(Budget, 11.0)
    (984150, 984150)
    """
    if budget.per_predictions:
        return budget.per_predictions
    return max(1, math.ceil(budget.per_s * rounded_rate(rate_per_s)))


def rounded_rate(rate_per_s: float) -> float:
    """The next power of 1.5 at or above; at least one prediction in a day or so."""
    step = math.ceil(math.log(max(rate_per_s, 1e-5)) / math.log(_RATE_STEP) - 1e-9)
    return float(_RATE_STEP**step)


class RatePlan:
    """The highest rate of now, and of the span before: what `horizon` wants.

    It rises at once, and falls when a whole span has passed below it. Time is what is observed, so
    that it needs no clock.
    """

    __slots__ = ("_before", "_elapsed_s", "_highest", "per_s", "rate_per_s")

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self.rate_per_s = ASSUMED_RATE_PER_S
        self._highest = self._before = 0.0
        self._elapsed_s = 0.0

    def observe(self, rate_per_s: float, over_s: float) -> bool:
        """One window's rate; True when `rate_per_s` of the plan, rounded, is another."""
        self._highest = max(self._highest, rate_per_s)
        self._elapsed_s += over_s
        if self._elapsed_s > self.per_s:
            self._before, self._highest, self._elapsed_s = self._highest, rate_per_s, 0.0
        was, self.rate_per_s = self.rate_per_s, max(self._highest, self._before)
        return rounded_rate(was) != rounded_rate(self.rate_per_s)

    def to_state(self) -> list[float]:
        """For a checkpoint."""
        return [self.rate_per_s, self._highest, self._before, self._elapsed_s]

    def restore(self, state: list[float]) -> None:
        """As it was; ValueError or TypeError when that is no state."""
        rate, highest, before, elapsed = (float(number) for number in state)
        if not all(0.0 <= number < math.inf for number in (rate, highest, before, elapsed)):
            raise ValueError("a rate that is none")
        self.rate_per_s, self._highest, self._before, self._elapsed_s = (
            rate,
            highest,
            before,
            elapsed,
        )

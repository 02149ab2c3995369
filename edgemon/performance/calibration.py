"""Accuracy without labels: what the model's own confidences promise, once they are calibrated (CBPE).

The profile counts, for each of the 20 bins of the stream that says how sure the model is, how often it was right there.
Made monotone, these shares are the calibration map q: with confidences that are calibrated the expected accuracy of a
set of predictions is the mean of q over them (Guillory, Shankar, Ebrahimi, Darrell, Schmidt, ICCV 2021, and the
confidence-based performance estimation of NannyML; monotone: Zadrozny and Elkan, KDD 2002). A window counts its
predictions in those very bins anyhow, so that the estimate costs nothing when predictions come in.

It holds while the share of right ones at a given confidence stays what it was (covariate shift). Concept drift, which
changes just that, is seen by truths alone.
"""

from __future__ import annotations

import math

from edgemon.drift import esr
from edgemon.drift.labelled import LabelledProfile
from edgemon.performance.watch import CLEARED, STARTED, Promised
from edgemon.std.collections.abc import Sequence
from edgemon.typed import Any, NamedTuple


class Estimate(NamedTuple):
    """Of a window. n: predictions.  correct: of them, expected.  variance: of their number, given q.  sd: the
    calibration's own part of the standard error of the accuracy; for windows together it is at most the mean of
    theirs, by n.

    Sums add up over windows; `se` is that of the accuracy.
    """

    n: int
    correct: float
    variance: float
    sd: float

    @property
    def accuracy(self) -> float:
        return self.correct / self.n

    @property
    def se(self) -> float:
        return math.hypot(math.sqrt(self.variance) / self.n, self.sd)

    def row(self) -> dict[str, Any]:
        """In the vocabulary of `agg` rows."""
        return {
            "est_n": self.n,
            "est_correct": self.correct,
            "est_var": self.variance,
            "est_sd": self.sd,
        }


class Calibration:
    """The map from a bin of the profile to the share of right predictions, and what follows from it.

    accuracy: of the reference.  q: of each bin, monotone in the confidence: increasing for "confidence"; for a score,
    falling to the threshold's side and rising from it (the best such split). A bin without labelled rows has its
    neighbour's.
    """

    __slots__ = ("_block", "_blocks", "accuracy", "q", "rows", "stream", "variation")

    def __init__(self, labelled: LabelledProfile) -> None:
        if not labelled.stream or not sum(labelled.counts):
            raise ValueError("a profile without labelled rows that have a probability")
        self.stream = labelled.stream
        self.rows = sum(labelled.counts)
        self.accuracy = sum(labelled.correct) / self.rows
        fit = monotone if self.stream == "confidence" else valley
        blocks = fit(labelled.correct, labelled.counts)
        self._blocks = [(right, n) for right, n, _ in blocks]
        self._block: list[int] = []  # of each bin
        for number, (_, _, bins) in enumerate(blocks):
            self._block += [number] * bins
        self.q = [self._blocks[block][0] / self._blocks[block][1] for block in self._block]
        self.variation = sum(abs(b - a) for a, b in zip(self.q, self.q[1:], strict=False))

    def estimate(self, hist: Sequence[int]) -> Estimate | None:
        """Of predictions by bin; None without any. Shares of 0 and 1 get the variance of one more right and one more
        wrong row (Agresti and Coull, The American Statistician 52, 1998, have two)."""
        n = sum(hist)
        if not n:
            return None
        in_block = [0] * len(self._blocks)
        for block, count in zip(self._block, hist, strict=True):
            in_block[block] += count
        expected = variance = own = 0.0
        for (right, rows), count in zip(self._blocks, in_block, strict=True):
            expected += count * right / rows
            share = (right + 1.0) / (rows + 2.0)
            variance += count * share * (1.0 - share)
            own += (count / n) ** 2 * share * (1.0 - share) / rows
        return Estimate(n, expected, variance, math.sqrt(own))


Block = tuple[int, int, int]  # right, rows, bins


def monotone(right: Sequence[int], rows: Sequence[int]) -> list[Block]:
    """Non-decreasing shares nearest to right / rows by weighted squares: pool adjacent violators (Ayer et al., Ann.
    Math. Statist. 26, 1955). O(bins).

    >>> monotone([1, 9, 0, 8], [10, 10, 0, 10])
    [(1, 10, 1), (17, 20, 3)]
    """
    blocks: list[Block] = []
    for hits, n in zip(right, rows, strict=True):
        blocks.append((hits if n else 0, n, 1))
        while len(blocks) > 1 and _joins(blocks[-2], blocks[-1]):
            last = blocks.pop()
            before = blocks.pop()
            blocks.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    return blocks


def _joins(before: Block, last: Block) -> bool:
    """Bins without rows join their neighbours; so do shares that fall or are equal."""
    return not before[1] or not last[1] or before[0] * last[1] >= last[0] * before[1]


def valley(right: Sequence[int], rows: Sequence[int]) -> list[Block]:
    """Shares that fall and then rise, the nearest to right / rows over all places to turn. O(bins^2)."""
    best: list[Block] = []
    least = math.inf
    for turn in range(len(rows) + 1):
        left = monotone(right[:turn][::-1], rows[:turn][::-1])[::-1]
        fit = [*left, *monotone(right[turn:], rows[turn:])]
        if any(not n for _, n, _ in fit):
            continue  # a side without any row
        loss = -sum(hits * hits / n for hits, n, _ in fit)
        if loss < least - 1e-12:
            least, best = loss, fit
    return best


class EstimateWatch:
    """Whether the estimated accuracy is below the reference's, by more than chance and the reference explain.

    The promise: P(any alarm within `horizon` predictions) <= probability, while the law of the confidences is the
    reference's, whatever it is, for independent values. Predictions are looked at together once there are `window` of
    them. A look at n predictions spends 0.75 probability n / horizon, all looks together at most three quarters: the
    mean of n values within a range r is not below its expectation by r sqrt(ln(1 / spent) / (2 n)) (Hoeffding, JASA 58,
    1963). The expectation of q is not below the reference's mean by more than its total variation times epsilon
    (esr.reference_epsilon, which the last quarter pays for): the mean of a function of bounded variation moves by at
    most that when the distribution function moves by epsilon.

    One alarm is latched, until the predictions of a look are within what the reference explains.
    """

    __slots__ = ("_calibration", "_floor", "_hist", "_promised", "_window", "latched", "latest")

    def __init__(self, calibration: Calibration, promised: Promised, window: int) -> None:
        self._calibration = calibration
        self._promised = promised
        self._window = window
        self._hist = [0] * len(calibration.q)
        self.latched = False
        self.latest: Estimate | None = None  # of the last look
        probability = esr.REFERENCE_SHARE * promised.probability
        epsilon = esr.reference_epsilon(calibration.rows, probability)
        self._floor = calibration.accuracy - calibration.variation * epsilon

    def plan(self, horizon: int) -> None:
        """Another number of predictions that the promise covers."""
        self._promised = self._promised._replace(horizon=horizon)

    def window(self, hist: Sequence[int]) -> str | None:
        """The predictions of one window, by bin; "started" or "cleared" where they make news."""
        self._hist = [a + b for a, b in zip(self._hist, hist, strict=True)]
        n = sum(self._hist)
        if n < self._window:
            return None
        found = self._calibration.estimate(self._hist)
        assert found is not None
        self.latest = found
        self._hist = [0] * len(self._hist)
        if self.latched:
            self.latched = found.accuracy < self._floor
            return None if self.latched else CLEARED
        self.latched = found.accuracy < self.limit(n)
        return STARTED if self.latched else None

    def limit(self, n: int) -> float:
        """The estimate of n predictions below which the alarm comes."""
        probability, horizon = self._promised
        spent = (1.0 - esr.REFERENCE_SHARE) * probability * min(1.0, n / horizon)
        q = self._calibration.q
        return self._floor - (max(q) - min(q)) * math.sqrt(-math.log(spent) / (2.0 * n))

    def explain(self) -> dict[str, Any]:
        """What an alarm is about."""
        found = self.latest
        return {
            "accuracy": found.accuracy if found is not None else None,
            "accuracy_se": found.se if found is not None else None,
            "n": found.n if found is not None else 0,
            "reference_accuracy": self._calibration.accuracy,
            "reference_rows": self._calibration.rows,
        }

    def to_state(self) -> list[Any]:
        """For a checkpoint."""
        return [self._hist, self.latched, self._promised.horizon]

    def restore(self, state: list[Any]) -> None:
        """As it was; ValueError or TypeError when that is no state of this one."""
        hist, latched, horizon = state
        if len(hist) != len(self._hist) or not all(isinstance(n, int) and n >= 0 for n in hist):
            raise ValueError("the state of an estimate's watch does not fit its calibration")
        self._hist, self.latched = list(hist), bool(latched)
        self.plan(int(horizon))

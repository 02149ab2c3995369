"""Makes the labelled part of a profile (edgemon.drift.labelled) from rows whose truth is known."""

from __future__ import annotations

import math
from bisect import bisect_left

from edgemon.drift.autocorrelation import sqrt_tau_at_least
from edgemon.drift.labelled import CLASSIFICATION, REGRESSION, LabelledProfile
from edgemon.performance.outcome import Classified, Measured, judge, task_of
from edgemon.std import random
from edgemon.std.array import array

# Of the absolute errors of a regression this share of the reference lies at or below `limit`: more that lie above
# it are what concept drift shows.
LIMIT_QUANTILE = 0.9
# The first labelled rows, in order, from which the autocorrelation of the errors is estimated.
TAU_ROWS = 20_000
_SEED = 0x6C6162


class _Kept:
    """A uniform choice of at most `capacity` values, each with right or wrong (Vitter's algorithm R)."""

    __slots__ = ("_capacity", "_chance", "_seen", "right", "values")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._chance = random.Random(_SEED)
        self._seen = 0
        self.values = array("d")
        self.right = bytearray()

    def add(self, value: float, right: bool = False) -> None:
        self._seen += 1
        if len(self.values) < self._capacity:
            self.values.append(value)
            self.right.append(right)
            return
        slot = int(self._chance.random() * self._seen)
        if slot < self._capacity:
            self.values[slot] = value
            self.right[slot] = right


class LabelledRows:
    """Collects outputs with their truths, in memory that does not grow with their number.

    task: "auto", or what the model does. In "auto", rows of numbers are judged as classes and as quantities until the
    end says which they were: one number that is no score from 0 to 1 with a label 0 or 1 makes them quantities.
    capacity: rows of which confidence or error is kept, a uniform choice with a fixed seed beyond that.
    """

    def __init__(self, capacity: int, task: str = "auto") -> None:
        self.task = task
        self.rows = 0
        self._named = self._unlike = (
            False  # some pair has a text or a vector; some has a number that is no score
        )
        self._classified = self._wrong = 0
        self._measured = 0
        self._abs = self._square = 0.0
        self._wrongs: list[bool] = []  # of the first rows
        self._first_sizes = array("d")
        self._sure = _Kept(capacity)
        self._sizes = _Kept(capacity)
        self._stream = ""

    def pair(
        self, output: float | str | list[float], label: float | str, confidence: float | None = None
    ) -> None:
        """One row. confidence: of the predicted class, where the output does not say it. What fits neither a
        class nor a quantity is left out."""
        numbers = isinstance(output, (int, float)) and isinstance(label, (int, float))
        if self.task != CLASSIFICATION and numbers:
            if task_of(output, label) == REGRESSION:
                self._unlike = True
            outcome = judge(output, label, REGRESSION)
            if isinstance(outcome, Measured):
                self._measure(abs(outcome.error))
        if self.task != REGRESSION:
            self._named |= not numbers
            outcome = judge(output, label, CLASSIFICATION)
            if isinstance(outcome, Classified):
                self._classify(outcome, output, confidence)
        self.rows += 1

    def _measure(self, size: float) -> None:
        self._measured += 1
        self._abs += size
        self._square += size * size
        if len(self._first_sizes) < TAU_ROWS:
            self._first_sizes.append(size)
        self._sizes.add(size)

    def _classify(
        self, outcome: Classified, output: float | str | list[float], confidence: float | None
    ) -> None:
        correct = outcome.correct
        self._classified += 1
        self._wrong += not correct
        if len(self._wrongs) < TAU_ROWS:
            self._wrongs.append(not correct)
        if confidence is not None or isinstance(output, list):
            value = confidence if confidence is not None else outcome.confidence
            if value is not None:
                self._stream = "confidence"
                self._sure.add(value, correct)
        elif outcome.confidence is not None and isinstance(output, (int, float)):
            self._stream = "output"
            self._sure.add(output, correct)

    def finish(
        self, edges: dict[str, tuple[float, ...]], *, ordered: bool
    ) -> LabelledProfile | None:
        """The reference, None where no row could be judged. edges: of the profile's numeric streams.  ordered: the
        order of the rows means something."""
        task = self.task
        if task == "auto":
            task = REGRESSION if self._unlike and not self._named else CLASSIFICATION
        if task == REGRESSION:
            return self._of_quantities(ordered) if self._measured else None
        return self._of_classes(edges, ordered) if self._classified else None

    def _of_quantities(self, ordered: bool) -> LabelledProfile:
        # Of m values the k-th in order is the limit; m - k count as above it, ties or not: the law's share above it is
        # then bounded by Clopper and Pearson's bound for m - k of m, exactly (Wilks, Ann. Math. Statist. 12, 1941).
        sizes = sorted(self._sizes.values)
        m = len(sizes)
        k = max(1, round(LIMIT_QUANTILE * m))
        limit = sizes[k - 1]
        series = [size > limit for size in self._first_sizes]
        n = self._measured
        return LabelledProfile(
            REGRESSION, m, m - k, limit, self._abs / n, math.sqrt(self._square / n),
            sqrt_tau_at_least(series) if ordered else 1.0, "", (), (),
        )  # fmt: skip

    def _of_classes(self, edges: dict[str, tuple[float, ...]], ordered: bool) -> LabelledProfile:
        bounds = edges.get(self._stream, ())
        counts, correct = [0] * (len(bounds) + 1), [0] * (len(bounds) + 1)
        for value, right in zip(self._sure.values, self._sure.right, strict=True):
            place = bisect_left(bounds, value)
            counts[place] += 1
            correct[place] += right
        if not bounds:
            counts, correct = [], []
        return LabelledProfile(
            CLASSIFICATION, self._classified, self._wrong, 0.0, 0.0, 0.0,
            sqrt_tau_at_least(self._wrongs) if ordered else 1.0,
            self._stream if bounds else "", tuple(counts), tuple(correct),
        )  # fmt: skip

"""What a window knows of predictions whose truth came, as counts and sums: windows merge by adding.

`Scores` counts; `row` gives the columns of the stream "truth" (edgemon.wire); `merge` adds rows of windows, versions or
devices; `figures` turns a row into what a person reads. One formula each, for agent and receiver.
"""

from __future__ import annotations

import math

from edgemon.drift.confidence import BINS
from edgemon.performance.outcome import Classified, Measured
from edgemon.records import Row
from edgemon.std import json
from edgemon.std.collections.abc import Mapping
from edgemon.typed import Any

# Classes told apart by name; the others are one, OTHER, whose pairs count as right or wrong all the same.
MAX_CLASSES = 32
OTHER = "(other)"

_SUMS = ("n", "correct", "brier_n", "brier_sum", "error_sum", "abs_error_sum", "sq_error_sum")
_VECTORS = ("ece_n", "ece_correct", "ece_confidence")


class Scores:
    """One window of one (model, version).

    Confidences are counted in BINS equal bins over [0, 1] (the last holds 1 too), as edgemon.drift.confidence has them.
    Memory: at most (MAX_CLASSES + 1)^2 counts.  push is O(1).
    """

    __slots__ = (
        "_abs_error", "_brier", "_brier_n", "_cells", "_classes", "_confidence", "_confident", "_correct",
        "_error", "_right", "_sq_error", "n",
    )  # fmt: skip

    def __init__(self) -> None:
        self._classes: dict[str, int] = {}  # kept from window to window, so that they merge exactly
        self.reset()

    def reset(self) -> None:
        """The next window."""
        self.n = self._correct = self._brier_n = 0
        self._brier = self._error = self._abs_error = self._sq_error = 0.0
        self._cells: dict[tuple[int, int], int] = {}
        self._confident = [0] * BINS
        self._right = [0] * BINS
        self._confidence = [0.0] * BINS

    def push(self, outcome: Classified | Measured) -> None:
        """Count one pair."""
        self.n += 1
        if isinstance(outcome, Measured):
            error = outcome.error
            self._error += error
            self._abs_error += abs(error)
            self._sq_error += error * error
            return
        correct = outcome.correct
        self._correct += correct
        cell = (self._class(outcome.true), self._class(outcome.predicted))
        self._cells[cell] = self._cells.get(cell, 0) + 1
        if outcome.brier is not None:
            self._brier_n += 1
            self._brier += outcome.brier
        if (confidence := outcome.confidence) is not None:
            place = min(BINS - 1, int(confidence * BINS))
            self._confident[place] += 1
            self._right[place] += correct
            self._confidence[place] += confidence

    def _class(self, name: str) -> int:
        """Its number; -1, the last in the list of names, for what has none of its own."""
        classes = self._classes
        number = classes.get(name)
        if number is None:
            if len(classes) >= MAX_CLASSES:
                return -1
            number = classes[name] = len(classes)
        return number

    def row(self) -> Row:
        """The window in the vocabulary of `agg` rows; {} if nothing came."""
        if not self.n:
            return {}
        row: Row = {"n": self.n}
        if not self._cells:
            return row | {
                "error_sum": self._error, "abs_error_sum": self._abs_error, "sq_error_sum": self._sq_error,
            }  # fmt: skip
        table = {
            "classes": [*self._classes, OTHER],
            "counts": sorted([true, predicted, n] for (true, predicted), n in self._cells.items()),
        }
        row |= {"correct": self._correct, "confusion": json.dumps(table, ensure_ascii=False)}
        if self._brier_n:
            row |= {"brier_n": self._brier_n, "brier_sum": self._brier}
        if any(self._confident):
            row |= {
                "ece_n": list(self._confident), "ece_correct": list(self._right),
                "ece_confidence": list(self._confidence),
            }  # fmt: skip
        return row


def merge(into: dict[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the counts and sums of `row` to `into`, which begins as {}; what else is in it is passed over.

    confusion: in `row` as the JSON text that it is on the wire, in `into` as {true: {predicted: n}}.
    """
    for name in _SUMS:
        if (value := row.get(name)) is not None:
            into[name] = into.get(name, 0) + value
    for name in _VECTORS:
        if (items := row.get(name)) is not None:
            before = into.get(name) or [0] * len(items)
            into[name] = [a + b for a, b in zip(before, items, strict=True)]
    if (text := row.get("confusion")) is not None:
        confusion = into.setdefault("confusion", {})
        table = json.loads(text)
        names = table["classes"]
        for true, predicted, n in table["counts"]:
            of = confusion.setdefault(names[true], {})
            of[names[predicted]] = of.get(names[predicted], 0) + n
    return into


def figures(merged: Mapping[str, Any]) -> dict[str, Any]:
    """What merged rows say; {} where they hold no pair.

    Classification: accuracy; accuracy_se, its standard error; classes, name -> {"n": of truth, "precision", "recall"
    (None where it is 0 / 0)}; brier; ece, the expected calibration error sum_b n_b / n |right_b - confidence_b| over
    the bins (Naeini, Cooper, Hauskrecht, AAAI 2015). Regression: mae, rmse, bias.

    >>> scores = Scores()
    >>> scores.push(Measured(3.0)), scores.push(Measured(-1.0))
    (None, None)
    >>> figures(merge({}, scores.row()))["mae"]
    2.0
    """
    n = merged.get("n")
    if not n:
        return {}
    if "abs_error_sum" in merged:
        return {
            "n": n,
            "mae": merged["abs_error_sum"] / n,
            "rmse": math.sqrt(merged["sq_error_sum"] / n),
            "bias": merged["error_sum"] / n,
        }
    accuracy = merged.get("correct", 0) / n
    found: dict[str, Any] = {
        "n": n,
        "accuracy": accuracy,
        "accuracy_se": math.sqrt(accuracy * (1.0 - accuracy) / n),
        "classes": _classes(merged.get("confusion") or {}),
    }
    if merged.get("brier_n"):
        found["brier"] = merged["brier_sum"] / merged["brier_n"]
    if confident := merged.get("ece_n"):
        gaps = zip(merged["ece_correct"], merged["ece_confidence"], strict=True)
        found["ece"] = sum(abs(right - sure) for right, sure in gaps) / sum(confident)
    return found


def _classes(confusion: dict[str, dict[str, int]]) -> dict[str, dict[str, Any]]:
    predicted: dict[str, int] = {}
    for of in confusion.values():
        for name, n in of.items():
            predicted[name] = predicted.get(name, 0) + n
    found = {}
    for name in sorted({*confusion, *predicted} - {OTHER}):
        of = confusion.get(name, {})
        n, right, told = sum(of.values()), of.get(name, 0), predicted.get(name, 0)
        found[name] = {
            "n": n,
            "precision": right / told if told else None,
            "recall": right / n if n else None,
        }
    return found

"""Tumbling windows: what happened to one stream of one model between two instants of the monotonic clock.

A window holds mergeable state only (counts, moments, a quantile sketch, counts against the profile's bins), so
that a receiver can add windows of an hour, or of a fleet, without approximation beyond the sketch's own 1 %.
"""

from __future__ import annotations

from edgemon._core.gauge import NumberWindow
from edgemon._core.hist import Histogram
from edgemon._core.moments import Moments
from edgemon._core.sketch import QuantileSketch
from edgemon.records import Row
from edgemon.std import json
from edgemon.std.collections.abc import Sequence

# Distinct categories counted by name in one window of a text stream; the others add up under OTHER.
MAX_CATEGORIES = 32
OTHER = "(other)"
# Longer ones are counted by their beginning, so that all names of a window fit into one row of a batch.
MAX_CATEGORY_CHARACTERS = 128


class StreamWindow(NumberWindow):
    """Accumulates one stream between two closes.

    Numbers: finite values enter moments, sketch and histogram; NaN and ±inf are counted by name and enter none of
    them. Text: counted by category, at most MAX_CATEGORIES names of MAX_CATEGORY_CHARACTERS.
    Memory is fixed after the first value. Numbers are counted in C (gauge.NumberWindow), `missing` too.

    edges: the profile's inner bin edges, or None where there is no profile.
    """

    __slots__ = ("_edges", "categories", "wrong_type")

    def __init__(self, edges: Sequence[float] | None = None) -> None:
        self._edges = edges
        self.categories: dict[str, int] = {}
        self.wrong_type = 0

    def number(self, value: float) -> None:
        """Count one number, NaN and ±inf included."""
        if self.moments is None:
            edges = self._edges
            self.begin(Moments(), QuantileSketch(), Histogram(edges) if edges is not None else None)
        self.push(value)

    def text(self, value: str) -> bool:
        """Count one category. False: under OTHER, the names are used up."""
        categories = self.categories
        if len(value) > MAX_CATEGORY_CHARACTERS:
            value = value[: MAX_CATEGORY_CHARACTERS - 1] + "…"
        if value in categories:
            categories[value] += 1
        elif len(categories) < MAX_CATEGORIES:
            categories[value] = 1
        else:
            categories[OTHER] = categories.get(OTHER, 0) + 1
            return False
        return True

    def row(self) -> Row:
        """The window's content in the vocabulary of `agg` rows (edgemon.wire); {} if nothing was seen."""
        moments = self.moments
        row: Row = {}
        if moments is not None and moments.count:
            row = {
                "n": moments.count, "mean": moments.mean, "m2": moments.m2, "min": moments.min, "max": moments.max,
                "sketch": self.sketch.to_bytes(),  # type: ignore[union-attr]
            }  # fmt: skip
            if self.hist is not None:
                row["hist"] = self.hist.counts()
        if self.categories:
            row["cats"] = json.dumps(self.categories, ensure_ascii=False, sort_keys=True)
        for name in ("missing", "nan", "pinf", "ninf", "wrong_type"):
            if count := getattr(self, name):
                row[name] = count
        if row:
            row.setdefault("n", 0)
        return row

    def reset(self) -> None:
        """Start the next window; keeps what was allocated."""
        if self.moments is not None:
            self.moments.reset()
            self.sketch.reset()  # type: ignore[union-attr]
            if self.hist is not None:
                self.hist.reset()
        self.categories.clear()
        self.missing = self.nan = self.pinf = self.ninf = self.wrong_type = 0

"""Drift of a stream of categories: an alarm that keeps its promise, and what it looks like.

The alarm. For three guesses q of what the law may have become, R <- (R + 1) q(x) / p*(x), with p* the
law closest to q of those that the reference's counts allow (multinomial.py, with the proof). The
alarm comes when the mean of the three R reaches A. A quarter of the stream's budget pays for the
reference's own uncertainty, the rest is N / A. The guesses:

- the shares in the last full window, and those in the last few blocks, shrunk towards the
  reference's and made anew every few values;
- the reference with a tenth of the mass on categories that it never saw.

Not valid where predictions depend on those before (drift.md, section 3): a class that comes in runs
alarms too early.

The size. Total variation distance between window and reference, and the two-sample G statistic with
its p-value, for events and reports; neither decides an alarm, but `min_effect` can hold one back.
"""

from __future__ import annotations

import math

from edgemon.drift.counts import compare, total_variation
from edgemon.drift.esr import REFERENCE_SHARE, alarm_level
from edgemon.drift.multinomial import allowed, bet
from edgemon.drift.profile import FeatureProfile
from edgemon.drift.threshold import BlindDetectorError
from edgemon.std.array import array
from edgemon.std.collections.abc import Sequence
from edgemon.typed import Any, NamedTuple

# Unseen categories that are counted by name, each of at most so many characters.
MAX_UNSEEN = 16
MAX_NAME = 64
# The window is cut into so many blocks. At the end of each the guess of what is recent is made anew,
# the one of the window at every fifth.
_BLOCKS_PER_WINDOW = 20
_BLOCKS_PER_WINDOW_GUESS = 5
# Of what a block counts towards "recent", so much is left a block later: a memory of four blocks.
_KEPT = 0.75
# Share that the third guess gives to what the reference never saw.
_UNSEEN_SHARE = 0.1
# Below this p-value the window still differs, above it an alarm may clear.
_CLEAR_P = 1e-3
_EXPLAINED = 10


class CategoricalState(NamedTuple):
    """A detector now.

    tv: total variation distance, 0 to 1.  n: values in its window.  evidence: R, an alarm at
    `threshold`.
    """

    tv: float
    n: int
    evidence: float
    threshold: float
    drifted: bool


class CategoricalDetector:
    """The categories of one stream against its profile, with a latch.

    Raised at the first value at which the evidence reaches its threshold and the total variation
    distance of the window (of the values seen, while it fills) is at least min_effect; then latched.
    Cleared when, for a whole window of values, as seen once a block, tv was below clear_ratio *
    min_effect or p above 0.001; the evidence starts anew at 0.

    feature: of kind "text", with at least one row.  window: >= 1 values.  at_most: P(any false alarm
    in per_predictions values), for this stream; over the reference's draw as well as the stream's.
    min_effect: 0 to 1.  BlindDetectorError when a stream of nothing but new categories would take
    more than a window to alarm.

    Memory, fixed: 2 bytes a value of the window, some 60 a category (14 in arrays, the rest is a
    dictionary; names are the profile's), 250 a cell (at most 64) and 2 KB.  Time of a push: O(1),
    and O(cells log cells) once a block, which is a 20th of the window, or four times as many values
    as there are cells; O(categories) at a transition.

    >>> from edgemon.drift.build import ProfileBuilder
    >>> builder = ProfileBuilder("colours")
    >>> for i in range(1000):
    ...     builder.text("class", "red" if i % 2 else "blue")
    ...     builder.row_done()
    >>> feature = builder.finish().features[0]
    >>> detector = CategoricalDetector(feature, window=100, at_most=0.01, per_predictions=10**6)
    >>> [detector.push("red") for _ in range(60)].index("started")
    43
    >>> detector.state().tv
    0.5
    """

    __slots__ = (
        "_alarm_sum", "_below", "_block", "_block_end", "_cell", "_clear_ratio", "_counts",
        "_e_new", "_e_recent", "_e_window", "_feature", "_head", "_highs", "_index", "_known",
        "_lows", "_min_effect", "_r_new", "_r_recent", "_r_window", "_recent", "_reference",
        "_ring", "_shares", "_threshold", "_unseen", "_until_window_guess", "_window", "drifted",
        "pushed",
    )  # fmt: skip

    def __init__(
        self,
        feature: FeatureProfile,
        window: int,
        at_most: float,
        per_predictions: int,
        *,
        min_effect: float = 0.0,
        clear_ratio: float = 0.8,
    ) -> None:
        if feature.kind != "text" or feature.n < 1:
            raise ValueError(f"{feature.name} has no categories")
        if not (window >= 1 and per_predictions >= 1 and 0.0 < at_most < 1.0):
            raise ValueError(
                f"no alarm for a window of {window}, {at_most!r} in {per_predictions} predictions"
            )
        self._feature = feature
        self._window = window
        self._min_effect = min_effect
        self._clear_ratio = clear_ratio
        # Category k of the reference, all texts without a name, the unseen ones by name, and the
        # empty places of the ring.
        self._index = {name: k for k, name in enumerate(feature.categories)}
        self._known = known = len(feature.categories)
        self._reference = array("Q", feature.categories.values())
        self._reference.append(feature.other)
        self._unseen = [""] * MAX_UNSEEN
        self._counts = array("I", [0]) * (known + MAX_UNSEEN + 2)
        self._ring = array("H" if len(self._counts) <= 65_536 else "I", [0]) * window
        missed = REFERENCE_SHARE * at_most
        self._threshold = alarm_level(per_predictions, at_most - missed)
        self._cell, self._shares, self._lows, self._highs = allowed(
            self._reference[:known], feature.other, missed
        )
        cells = len(self._shares)
        self._cell.extend([cells - 1] * MAX_UNSEEN)
        self._refuse_blindness()
        new = [(1.0 - _UNSEEN_SHARE) * share for share in self._shares]
        new[-1] += _UNSEEN_SHARE
        self._e_new = bet(new, self._lows, self._highs)
        self._block = max(1, window // _BLOCKS_PER_WINDOW, 4 * cells)
        self._head = self._block_end = self._until_window_guess = 0
        self._alarm_sum = self._r_window = self._r_recent = self._r_new = 0.0
        self._recent: list[float] = []
        self.drifted = False
        self.pushed = 0
        self.reset()

    def _refuse_blindness(self) -> None:
        growth = -math.log(min(self._highs))
        values = math.log(self._threshold) / growth if growth > 0.0 else math.inf
        if values > self._window:
            remedy = f", or a window of {math.ceil(values)}" if values < 1e9 else ""
            raise BlindDetectorError(
                f"with {self._feature.n} rows in the reference, not even a window of {self._window} "
                "full of what was rarest could raise an alarm; what would do: a reference of more "
                f"rows{remedy}"
            )

    def push(self, category: str) -> str | None:
        """Take one value; "started" or "cleared" at a transition, else None."""
        self.pushed = pushed = self.pushed + 1
        index = self._index.get(category)
        if index is None:
            index = self._new(category)
        counts, ring, head = self._counts, self._ring, self._head
        counts[ring[head]] -= 1
        counts[index] += 1
        ring[head] = index
        self._head = head - 1 if head else self._window - 1
        cell = self._cell[index]
        self._recent[cell] += 1.0
        self._r_window = a = (self._r_window + 1.0) * self._e_window[cell]
        self._r_recent = b = (self._r_recent + 1.0) * self._e_recent[cell]
        self._r_new = c = (self._r_new + 1.0) * self._e_new[cell]
        if pushed == self._block_end:
            return self._end_block()
        return self._reached() if a + b + c > self._alarm_sum else None

    def _new(self, category: str) -> int:
        """The index of a category that the reference does not have: its own while there is room.

        A name gives its place up when it has left the window.
        """
        known = self._known
        if not 0 < len(category) <= MAX_NAME:
            return known
        for slot in range(MAX_UNSEEN):
            index = known + 1 + slot
            if not self._counts[index]:
                if self._index.get(self._unseen[slot]) == index:
                    del self._index[self._unseen[slot]]
                self._unseen[slot] = category
                self._index[category] = index
                return index
        return known

    def _end_block(self) -> str | None:
        """New guesses for the values to come; a look whether the effect is there, or gone."""
        self._block_end += self._block
        self._e_recent = self._bet_on(self._recent)
        self._recent = [_KEPT * count for count in self._recent]
        self._until_window_guess -= 1
        if self._until_window_guess <= 0 and self.n == self._window:
            self._until_window_guess = _BLOCKS_PER_WINDOW_GUESS
            in_window = [0] * len(self._shares)
            for count, cell in zip(self._counts, self._cell, strict=False):
                in_window[cell] += count
            self._e_window = self._bet_on(in_window)
        if not self.drifted:
            # What `_reached` held back is looked at again.
            self._alarm_sum = 3.0 * self._threshold
            return self._reached() if self._evidence() > self._threshold else None
        if self._differs():
            self._below = -1
            return None
        self._below = self._below + self._block if self._below >= 0 else 0
        if self._below < self._window:
            return None
        self.drifted = False
        self._start_evidence()
        return "cleared"

    def _bet_on(self, counts: Sequence[float]) -> list[float]:
        """The bet on a law like these counts; the reference weighs as much as half a value a cell."""
        weight = 0.5 * len(counts)
        total = sum(counts) + weight
        guess = [(n + weight * s) / total for n, s in zip(counts, self._shares, strict=True)]
        return bet(guess, self._lows, self._highs)

    def _reached(self) -> str | None:
        # Until the next block, or until the alarm is cleared, no sum passes this.
        self._alarm_sum = math.inf
        if self.tv() < self._min_effect:
            return None
        self.drifted = True
        self._below = -1
        return "started"

    def _differs(self) -> bool:
        """Latched: is the window still unlike the reference?"""
        if self.tv() < self._clear_ratio * self._min_effect:
            return False
        return compare(*self._pair()).p <= _CLEAR_P

    def _evidence(self) -> float:
        return (self._r_window + self._r_recent + self._r_new) / 3.0

    def plan(self, at_most: float, per_predictions: int) -> None:
        """Another number of values that the promise covers; at_most as at the beginning."""
        self._threshold = alarm_level(per_predictions, (1.0 - REFERENCE_SHARE) * at_most)
        if self._alarm_sum < math.inf:
            self._alarm_sum = 3.0 * self._threshold

    def _start_evidence(self) -> None:
        self._r_window = self._r_recent = self._r_new = 0.0
        self._alarm_sum = 3.0 * self._threshold

    def _pair(self) -> tuple[Sequence[int], list[int]]:
        """Counts of reference and window: each known category, then all unseen ones together."""
        known = self._known
        return self._reference, [*self._counts[:known], sum(self._counts[known:-1])]

    def tv(self) -> float:
        """Total variation distance of the window from the reference; 0 while it is empty.
        O(categories)."""
        return total_variation(*self._pair())

    def state(self) -> CategoricalState:
        """O(categories)."""
        return CategoricalState(self.tv(), self.n, self._evidence(), self._threshold, self.drifted)

    def reset(self) -> None:
        """Forget the window, the evidence and the latch."""
        for index in range(len(self._counts)):
            self._counts[index] = 0
        self._counts[-1] = self._window
        for place in range(self._window):
            self._ring[place] = len(self._counts) - 1
        self._head = 0
        self._recent = [0.0] * len(self._shares)
        self._block_end = self.pushed + self._block
        self._until_window_guess = 0
        self._e_window = self._e_recent = [1.0] * len(self._shares)
        self._start_evidence()
        self._below = -1  # values since the window was first seen to be as before, -1: it was not
        self.drifted = False

    @property
    def stream(self) -> str:
        return self._feature.name

    @property
    def n(self) -> int:
        """Values in its window now."""
        return self._window - self._counts[-1]

    @property
    def window(self) -> int:
        """Values that the window holds when it is full."""
        return self._window

    def unseen(self) -> dict[str, int]:
        """How often each category that the reference never saw is in the window: the first
        MAX_UNSEEN different ones by name; what is beyond them, empty or long as "(other)"."""
        named = zip(self._unseen, self._counts[self._known + 1 : -1], strict=True)
        found = {name: count for name, count in named if count}
        if other := self._counts[self._known]:
            found["(other)"] = found.get("(other)", 0) + other
        return found

    def latest(self) -> list[int]:
        """The category of each value in the window, oldest first: its place in the reference's
        `categories`, or at least their number for what the reference does not have."""
        head, n = self._head, self.n
        newest_first = [*self._ring[head + 1 :], *self._ring[: head + 1]][:n]
        return newest_first[::-1]

    def to_state(self) -> dict[str, object]:
        """For a checkpoint, msgpack-able: all that values have changed."""
        return {
            "ring": self._ring.tobytes(),
            "unseen": self._unseen,
            "r": [self._r_window, self._r_recent, self._r_new, self._alarm_sum],
            "e": [self._e_window, self._e_recent, self._recent],
            "at": [self._head, self._block_end, self._until_window_guess, self._below, self.pushed],
            "drifted": self.drifted,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """As it was. ValueError, KeyError or TypeError when that is no state of such a detector; the
        detector is then in no good state."""
        ring = array(self._ring.typecode, state["ring"])
        unseen = [str(name) for name in state["unseen"]]
        lists = [[float(number) for number in numbers] for numbers in state["e"]]
        if len(ring) != self._window or len(unseen) != MAX_UNSEEN or max(ring) >= len(self._counts):
            raise ValueError(f"{self.stream}: its window is another")
        if [len(numbers) for numbers in lists] != [len(self._shares)] * 3:
            raise ValueError(f"{self.stream}: its categories are others")
        self._ring, self._unseen = ring, unseen
        for index in range(len(self._counts)):
            self._counts[index] = 0
        for index in ring:
            self._counts[index] += 1
        known = self._known
        self._index = {name: k for k, name in enumerate(self._feature.categories)}
        self._index |= {name: known + 1 + slot for slot, name in enumerate(unseen) if name}
        self._r_window, self._r_recent, self._r_new, alarm_sum = map(float, state["r"])
        # The promise may cover another number of predictions by now.
        self._alarm_sum = 3.0 * self._threshold if alarm_sum < math.inf else math.inf
        self._e_window, self._e_recent, self._recent = lists
        self._head, self._block_end, self._until_window_guess, self._below, self.pushed = map(
            int, state["at"]
        )
        if not 0 <= self._head < self._window:
            raise ValueError(f"{self.stream}: its window is another")
        self.drifted = bool(state["drifted"])

    @property
    def memory_bytes(self) -> int:
        """Of its arrays and tables, without names and what Python adds to each object."""
        arrays = (self._ring, self._counts, self._reference, self._cell)
        return sum(len(a) * a.itemsize for a in arrays) + 8 * (7 * len(self._shares) + MAX_UNSEEN)

    def explain(self) -> dict[str, object]:
        """What is known of the window now, for an event; JSON-serialisable. O(categories).

        "categories": the ten whose share moved most, each [reference share, share now].
        """
        reference, window = self._pair()
        m, n = sum(reference), max(1, self.n)
        shares = {
            name: [r / m, w / n]
            for name, r, w in zip(self._feature.categories, reference, window, strict=False)
        }
        moved = sorted(shares, key=lambda name: -abs(shares[name][1] - shares[name][0]))
        test = compare(reference, window)
        return {
            "stream": self.stream,
            "n": self.n,
            "m": m,
            "tv": total_variation(reference, window),
            "g": test.g,
            "chi_square": test.chi_square,
            "df": test.df,
            "p": test.p,
            "evidence": min(self._evidence(), 1e300),
            "threshold": self._threshold,
            "values_seen": self.pushed,
            "categories": {name: shares[name] for name in moved[:_EXPLAINED]},
            "unseen": self.unseen(),
            "unseen_reference": reference[-1] / m,
        }

    def message(self, what: str) -> str:
        """One line for a person, for the transition that `push` just told."""
        reference, window = self._pair()
        tv = total_variation(reference, window)
        if what == "cleared":
            p = compare(reference, window).p
            return f"{self.stream} is as before: TV = {tv:.3f}, p = {p:.2g}"
        shares: dict[str, list[float]] = self.explain()["categories"]  # type: ignore[assignment]
        parts = [f"{name!r} {was:.1%} -> {now:.1%}" for name, (was, now) in shares.items()][:3]
        if unseen := self.unseen():
            parts.insert(0, f"new: {', '.join(map(repr, unseen))}")
        return f"{self.stream} drifted: TV = {tv:.3f}; {', '.join(parts)}"

"""What a vector of confidences says: how sure the model is, of which class, and by how much."""

from __future__ import annotations

from math import inf

from edgemon._core.confidence import brief
from edgemon._core.moments import Moments
from edgemon.std.array import array
from edgemon.typed import NamedTuple

# Equal bins over [0, 1]: bin i holds i/20 <= x < (i + 1)/20, the last one 1 too.
BINS = 20


class Confidence(NamedTuple):
    """One vector of k >= 1 confidences in brief.

    confidence: its largest entry; NaN when there is a NaN.  position: of that entry, the first of equals.
    entropy: nats, of the vector scaled to a sum of 1; 0 to ln k.  margin: the largest entry less the
    second largest (less 0 when k is 1).  valid: all entries in [0, 1], and they add up to 1.
    A vector with a negative or infinite entry, a NaN, or nothing above 0 has no entropy: NaN.
    """

    confidence: float
    position: int
    entropy: float
    margin: float
    valid: bool


def summarize(vector: list[float]) -> Confidence:
    """The vector in brief. ValueError when it is empty; bool or text in it is TypeError. O(k).

    >>> summarize([0.25, 0.5, 0.25])
    Confidence(confidence=0.5, position=1, entropy=1.0397207708399179, margin=0.25, valid=True)
    """
    return Confidence._make(brief(vector))


class ConfidenceCounts:
    """What the vectors of a window had in common. Mergeable, exactly (the means up to rounding).

    counts: of the largest entry, in BINS equal bins.  outside: largest entries below 0, above 1 or
    NaN.  invalid: vectors that are no distribution, see Confidence.valid; they are counted in all
    else too, where they have a number.  entropy, margin: Moments, nats and 1.
    Memory: 160 bytes of counts and two Moments.  push is O(1).

    >>> counts = ConfidenceCounts()
    >>> counts.push(summarize([0.25, 0.5, 0.25]))
    >>> counts.push(summarize([3.0, 5.0, 2.0]))
    >>> counts.counts[10], counts.outside, counts.invalid, counts.margin.mean
    (1, 1, 1, 1.125)
    """

    __slots__ = ("counts", "entropy", "invalid", "margin", "outside")

    def __init__(self) -> None:
        self.counts = array("Q", [0]) * BINS
        self.outside = self.invalid = 0
        self.entropy = Moments()
        self.margin = Moments()

    def push(self, vector: Confidence) -> None:
        """Count one vector."""
        confidence, _, entropy, margin, valid = vector
        if 0.0 <= confidence < 1.0:
            self.counts[int(confidence * BINS)] += 1
        elif confidence == 1.0:
            self.counts[BINS - 1] += 1
        else:
            self.outside += 1
        if entropy == entropy:
            self.entropy.push(entropy)
        if -inf < margin < inf:
            self.margin.push(margin)
        if not valid:
            self.invalid += 1

    def merge(self, other: ConfidenceCounts) -> None:
        """Adds all of `other`."""
        for i, count in enumerate(other.counts):
            self.counts[i] += count
        self.outside += other.outside
        self.invalid += other.invalid
        self.entropy.merge(other.entropy)
        self.margin.merge(other.margin)

    def reset(self) -> None:
        """As new."""
        self.__init__()  # type: ignore[misc]

    @property
    def total(self) -> int:
        """Vectors seen."""
        return sum(self.counts) + self.outside

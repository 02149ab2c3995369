"""Tables of counts: do two come from one law, how far apart are they, and what follows what."""

from __future__ import annotations

import math

from edgemon.drift.special import chi_square_sf
from edgemon.std.array import array
from edgemon.std.collections.abc import Iterable, Sequence
from edgemon.typed import NamedTuple

# Names that a table of transitions tells apart.
MAX_CLASSES = 16
_MIN_EXPECTED = 5.0


class Comparison(NamedTuple):
    """A two-sample test of categories. chi_square: Pearson's, p: its upper tail.  g: the likelihood
    ratio statistic; g / 2 is in nats.  df: degrees of freedom, the cells compared less one.
    """

    g: float
    chi_square: float
    df: int
    p: float


def compare(reference: Sequence[int], window: Sequence[int]) -> Comparison:
    """Do two lists of counts, category by category, come from one law?

    Small counts: the chi-square tail wants some five expected values a cell. Categories of which the
    reference expects fewer in the window are taken together, and if that is still too few, the next
    larger joins them. The choice looks at the reference only: chosen by the window's counts too, p
    would be biased. p is that of Pearson's statistic, which keeps its level better than G at such
    counts (Larntz, JASA 73, 1978). One look: it knows nothing of the many that a stream takes.
    Fewer than two cells, or an empty side: (0, 0, 0, 1). O(categories log categories).

    >>> test = compare([500, 500], [60, 40])
    >>> test.df, round(test.chi_square, 4), round(test.p, 4)
    (1, 3.6376, 0.0565)
    """
    m, n = sum(reference), sum(window)
    if not m or not n:
        return Comparison(0.0, 0.0, 0, 1.0)
    cells: list[tuple[int, int]] = []
    few_r = few_w = 0
    for r, w in sorted(zip(reference, window, strict=True), key=lambda pair: pair[0]):
        enough = r * n >= _MIN_EXPECTED * m
        if not enough or ((few_r or few_w) and few_r * n < _MIN_EXPECTED * m):
            few_r, few_w = few_r + r, few_w + w
        else:
            cells.append((r, w))
    if few_r or few_w:
        cells.append((few_r, few_w))
    if len(cells) < 2:
        return Comparison(0.0, 0.0, 0, 1.0)
    g = chi_square = 0.0
    for r, w in cells:
        for seen, size in ((r, m), (w, n)):
            expected = (r + w) * size / (m + n)
            chi_square += (seen - expected) ** 2 / expected
            g += 2.0 * seen * math.log(seen / expected) if seen else 0.0
    df = len(cells) - 1
    return Comparison(max(0.0, g), chi_square, df, chi_square_sf(chi_square, df))


def total_variation(reference: Sequence[int], window: Sequence[int]) -> float:
    """Half the sum of |share - share| over all categories: 0 for equal shares, 1 for none in common.

    The largest difference in the probability of any set of categories. No units. Healthy windows of
    n values and k categories lie about sqrt(k / (2 pi n)) away, not 0. An empty side: 0.
    O(categories).

    >>> total_variation([50, 50], [3, 1])
    0.25
    """
    m, n = sum(reference), sum(window)
    if not m or not n:
        return 0.0
    return sum(abs(w * m - r * n) for r, w in zip(reference, window, strict=True)) / (2 * m * n)


class TransitionCounts:
    """How often each class follows each other in a stream of classes. Mergeable.

    names: the classes told apart, the first MAX_CLASSES of them; all others count as one more class,
    "other", the last row and column. Fixed from the beginning, so that tables of windows, or of
    devices with one profile, add up exactly.
    Memory: 8 (k + 1)**2 bytes for k names.  push is O(1).

    >>> counts = TransitionCounts(["cat", "dog"])
    >>> for name in ("cat", "cat", "dog", "newt", "cat"):
    ...     counts.push(name)
    >>> counts.matrix()
    [[1, 1, 0], [0, 0, 1], [1, 0, 0]]
    """

    __slots__ = ("_counts", "_index", "_last", "_width", "names")

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)[:MAX_CLASSES]
        self._index = {name: i for i, name in enumerate(self.names)}
        if len(self._index) < len(self.names):
            raise ValueError("a class is named twice")
        self._width = len(self.names) + 1
        self._counts = array("Q", [0]) * (self._width * self._width)
        self._last = -1  # offset of the row of the class before, -1: there is none

    def push(self, name: str) -> None:
        """The next class of the stream."""
        index = self._index.get(name, self._width - 1)
        if self._last >= 0:
            self._counts[self._last + index] += 1
        self._last = index * self._width

    def interrupt(self) -> None:
        """The next class does not follow the last: a gap, or another stream."""
        self._last = -1

    def merge(self, other: TransitionCounts) -> None:
        """Adds the counts of `other`. ValueError unless it has the same names."""
        if self.names != other.names:
            raise ValueError("tables of different classes do not add up")
        for i, count in enumerate(other._counts):
            self._counts[i] += count

    def matrix(self) -> list[list[int]]:
        """Row: the class before; column: the class after."""
        width = self._width
        return [list(self._counts[i : i + width]) for i in range(0, width * width, width)]

    def reset(self) -> None:
        """All counts 0; the class before stays, so that windows of one stream lose no transition."""
        for i in range(len(self._counts)):
            self._counts[i] = 0

    @property
    def total(self) -> int:
        return sum(self._counts)

    def state(self) -> tuple[tuple[str, ...], list[int]]:
        """(names, counts row by row)."""
        return self.names, list(self._counts)

    @staticmethod
    def from_state(state: tuple[Sequence[str], Sequence[int]]) -> TransitionCounts:
        """What `state` gave, with no class before. ValueError where it is not a table."""
        names, counts = state
        made = TransitionCounts(names)
        if len(names) > MAX_CLASSES or len(counts) != len(made._counts) or min(counts) < 0:
            raise ValueError(f"{len(counts)} counts are no table of {len(names)} classes")
        made._counts = array("Q", counts)
        return made

    @property
    def memory_bytes(self) -> int:
        """Of the counts."""
        return len(self._counts) * self._counts.itemsize


def transition_distance(a: Sequence[Sequence[int]], b: Sequence[Sequence[int]]) -> float:
    """How differently two streams go on from where they are: 0 the same, 1 nothing in common.

    The total variation distance between the two conditional laws of each row, averaged with the
    row's share of all transitions, itself the mean of both sides. A row that only one side has
    counts 1. It is blind to how often a class occurs as such (`total_variation` sees that). An empty
    side: 0. Biased upwards by chance: about sqrt(k / (2 pi n)) for n transitions a row. Symmetric.

    >>> transition_distance([[9, 1], [1, 9]], [[5, 5], [5, 5]])
    0.4
    """
    total_a, total_b = sum(map(sum, a)), sum(map(sum, b))
    if not total_a or not total_b:
        return 0.0
    distance = 0.0
    for row_a, row_b in zip(a, b, strict=True):
        here_a, here_b = sum(row_a), sum(row_b)
        apart = total_variation(row_a, row_b) if here_a and here_b else 1.0
        distance += 0.5 * (here_a / total_a + here_b / total_b) * apart
    return distance

"""Makes a profile from values that come by, in memory that does not grow with their number."""

from __future__ import annotations

from edgemon.drift.autocorrelation import sqrt_tau, sqrt_tau_of_categories
from edgemon.drift.profile import BINS, MAX_POINTS, FeatureProfile, Profile, reduce_sorted
from edgemon.errors import EdgemonError
from edgemon.std import random
from edgemon.std.array import array
from edgemon.std.collections.abc import Generator, Iterable
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.performance.labelled import LabelledRows

# Values kept of each stream for one point of the reference; beyond that, a uniform random choice of
# them.
KEPT_PER_POINT = 10
# The first values of a stream, in order, from which its autocorrelation is estimated.
TAU_ROWS = 20_000
MAX_CATEGORIES = 1_000
_SEED = 0x65646765

_ORDER = ("output", "confidence", "entropy", "class", "latency")


class KindError(EdgemonError):
    """A stream holds numbers and texts."""

    exit_code = 4


class _Numbers:
    """A numeric stream: the first TAU_ROWS values, and a random choice of `capacity` of all.

    The choice is Vitter's algorithm R with a fixed seed.
    """

    __slots__ = ("_capacity", "_chance", "first", "high", "kept", "low", "n")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._chance = random.Random(_SEED)
        self.n = 0
        self.low, self.high = float("inf"), float("-inf")
        self.kept = array("d")
        self.first = array("d")

    def add(self, x: float) -> None:
        x += 0.0  # -0.0 and 0.0 are one value: it is written as 0.0
        self.n += 1
        if x < self.low:
            self.low = x
        if x > self.high:
            self.high = x
        if len(self.first) < TAU_ROWS:
            self.first.append(x)
        if len(self.kept) < self._capacity:
            self.kept.append(x)
        else:
            slot = int(self._chance.random() * self.n)
            if slot < self._capacity:
                self.kept[slot] = x


class _Texts:
    """A text stream: counts of the first MAX_CATEGORIES different texts, the others together; and
    of the first TAU_ROWS texts which each was, by the order of first appearance."""

    __slots__ = ("_numbers", "categories", "first", "n", "other")

    def __init__(self) -> None:
        self.n = 0
        self.other = 0
        self.first = array("H")
        self._numbers: dict[str, int] = {}
        self.categories: dict[str, int] = {}

    def add(self, text: str) -> None:
        self.n += 1
        if text in self.categories:
            self.categories[text] += 1
        elif len(self.categories) < MAX_CATEGORIES:
            self.categories[text] = 1
            self._numbers[text] = len(self._numbers)
        else:
            self.other += 1
        if len(self.first) < TAU_ROWS:
            self.first.append(self._numbers.get(text, MAX_CATEGORIES))


class ProfileBuilder:
    """Collects predictions value by value.

    For each: `number` or `text` once a stream that has a value, then `row_done`; where its truth is known, it
    is a `labelled.pair` too. A stream without a
    value in a row is missing there; so is NaN. KindError where numbers and texts meet in one
    stream. Memory: 8 * (10 * max_points + TAU_ROWS) bytes a stream, whatever the number of rows. Up
    to 10 * max_points rows the reference is made from all of them, above from a uniform random
    choice with a fixed seed.
    """

    def __init__(self, name: str, max_points: int = MAX_POINTS, *, ordered: bool = True) -> None:
        if max_points < BINS:
            raise ValueError(f"max_points must be at least {BINS}, not {max_points}")
        self.name = name
        self.max_points = max_points
        self._ordered = ordered
        self.rows = 0
        self._numbers: dict[str, _Numbers] = {}
        self._texts: dict[str, _Texts] = {}
        self._labelled: LabelledRows | None = None
        self._seen: dict[str, None] = {}  # order of first appearance, with or without a value

    @property
    def labelled(self) -> LabelledRows:
        """The rows whose truth is known."""
        if self._labelled is None:
            from edgemon.performance.labelled import LabelledRows  # the agent knows of none

            self._labelled = LabelledRows(self.max_points * KEPT_PER_POINT)
        return self._labelled

    def declare(self, stream: str) -> None:
        """Give the stream its place in the order, before it has a value."""
        self._seen.setdefault(stream)

    def number(self, stream: str, x: float) -> None:
        """One value of a numeric stream."""
        column = self._numbers.get(stream)
        if column is None:
            if stream in self._texts:
                raise KindError(f"stream {stream!r} held text, now the number {x!r}")
            self.declare(stream)
            column = self._numbers[stream] = _Numbers(self.max_points * KEPT_PER_POINT)
        if x == x:
            column.add(x)

    def text(self, stream: str, text: str) -> None:
        """One value of a text stream."""
        column = self._texts.get(stream)
        if column is None:
            if stream in self._numbers:
                raise KindError(f"stream {stream!r} held numbers, now the text {text!r}")
            self.declare(stream)
            column = self._texts[stream] = _Texts()
        column.add(text)

    def row_done(self, count: int = 1) -> None:
        """`count` predictions are complete."""
        self.rows += count

    @property
    def empty_streams(self) -> list[str]:
        """Streams that were named and never had a value; they are not in the profile."""
        return [stream for stream in self._seen if not self._count(stream)]

    def finish(self) -> Profile:
        """The profile: output, confidence, entropy, class, latency, then features as they appeared."""
        steps = self.steps()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                profile: Profile = end.value
                return profile

    def steps(self) -> Generator[None, None, Profile]:
        """`finish` in steps, one a stream, for who must not be away for long: some 20 ms each."""
        names = sorted(self._seen, key=lambda s: _ORDER.index(s) if s in _ORDER else len(_ORDER))
        features = []
        for name in names:
            if self._count(name):
                features.append(self._feature(name))
                yield
        labelled = None
        if self._labelled is not None:
            edges = {feature.name: feature.edges for feature in features}
            labelled = self._labelled.finish(edges, ordered=self._ordered)
        return Profile(self.name, tuple(features), self.rows, self.max_points, labelled)

    @property
    def streams(self) -> int:
        """How many were named."""
        return len(self._seen)

    def _count(self, stream: str) -> int:
        column = self._numbers.get(stream) or self._texts.get(stream)
        return column.n if column is not None else 0

    def _feature(self, stream: str) -> FeatureProfile:
        missing = max(0, self.rows - self._count(stream))
        texts = self._texts.get(stream)
        if texts is not None:
            categories = dict(sorted(texts.categories.items()))
            order = texts.first if self._ordered else array("H")
            return FeatureProfile(
                stream, "text", texts.n, missing, array("d"), array("I"), 0.0, 0.0, (),
                sqrt_tau_of_categories(order), len(order), categories, texts.other,
            )  # fmt: skip
        column = self._numbers[stream]
        first = column.first if self._ordered else array("d")
        values, counts = distinct(sorted(column.kept))
        values, counts = reduce_sorted(values, counts, self.max_points)
        feature = FeatureProfile(
            stream, "numeric", column.n, missing, values, counts, column.low, column.high, (),
            sqrt_tau(first), len(first), {}, 0,
        )  # fmt: skip
        return feature._replace(
            edges=tuple(feature.quantiles(tuple(k / BINS for k in range(1, BINS))))
        )


def distinct(ordered: Iterable[float]) -> tuple[array[float], array[int]]:
    """Sorted numbers -> the different ones, and how often each comes.

    >>> distinct([1.0, 2.0, 2.0])
    (array('d', [1.0, 2.0]), array('I', [1, 2]))
    """
    values, counts = array("d"), array("I")
    for value in ordered:
        if values and values[-1] == value:
            counts[-1] += 1
        else:
            values.append(value)
            counts.append(1)
    return values, counts


def numeric_feature(
    stream: str, values: Iterable[float], max_points: int = MAX_POINTS
) -> FeatureProfile:
    """The profile of one stream of numbers (not NaN), in the order in which they came."""
    builder = ProfileBuilder("", max_points)
    for value in values:
        builder.number(stream, value)
        builder.row_done()
    return builder.finish().features[0]

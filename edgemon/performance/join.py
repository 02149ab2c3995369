"""Truth meets prediction by id, within a table of bounded size and age.

Either may come first. What happens to each is one of these, and everything but the first is counted:

- joined: a prediction and a label of one id, the label's version empty or the prediction's. The pair is given out once.
- a second label of an id: the first one holds ("twice").
- a label that says another version than its prediction: it finds nothing ("other_version"), the prediction waits on.
- a label whose prediction does not come within `ttl_s`, because it never had that id, is older, or was forgotten
  ("no_prediction"); or for which there is no room so long ("full").
- an id that a new prediction reuses: the new one takes its place; the old one, where it had no truth yet, is forgotten
  ("reused").
- a prediction without a label: forgotten after `ttl_s` ("expired"), or when it is the oldest and room is needed
  ("full").
"""

from __future__ import annotations

from edgemon._core.join import Waiting, join_id
from edgemon.metrics import Counters
from edgemon.typed import NamedTuple, TypeAlias

JOINED = "edgemon_truth_joined_labels_total"
UNMATCHED = "edgemon_truth_unmatched_labels_total"
FORGOTTEN = "edgemon_truth_forgotten_predictions_total"

Output: TypeAlias = float | str | list[float]


class Pair(NamedTuple):
    """A prediction of `version` and its truth."""

    version: str
    output: Output
    label: float | str


MAX_VERSIONS = 1024  # with something that waits


class _Versions:
    """The names of what waits as the small numbers that stand beside it."""

    __slots__ = ("_names", "_numbers")

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._numbers: dict[str, int] = {}

    def name(self, number: int) -> str:
        return self._names[number]

    def has_room(self, name: str) -> bool:
        return name in self._numbers or len(self._names) < MAX_VERSIONS

    def number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = next(free for free in range(MAX_VERSIONS) if free not in self._names)
            self._numbers[name], self._names[number] = number, name
        return number

    def keep(self, numbers: set[int]) -> None:
        """Let go of all others."""
        self._names = {number: self._names[number] for number in numbers}
        self._numbers = {name: number for number, name in self._names.items()}


class JoinTable:
    """The predictions of one model, all its versions, that wait for their truth, and labels that came before theirs.

    keep: of each at most; 1 or more.  max_bytes: of each, about.  ttl_s: longest wait in seconds.  seed: of join_id.
    All are O(1) for a prediction or a label; now_s is monotonic.

    >>> table = JoinTable(keep=100, max_bytes=1 << 20, ttl_s=3600.0, counters=Counters(), seed=1)
    >>> table.predicted("a-17", "1", 0.9, now_s=0.0)
    >>> table.labelled("a-17", "", 1.0, now_s=60.0)
    Pair(version='1', output=0.9, label=1.0)
    """

    __slots__ = ("_counters", "_labels", "_predictions", "_seed", "_versions")

    def __init__(
        self, keep: int, max_bytes: int, ttl_s: float, counters: Counters, seed: int
    ) -> None:
        self._counters = counters
        self._seed = seed
        self._predictions = Waiting(keep, max_bytes, ttl_s)
        self._labels = Waiting(keep, max_bytes, ttl_s)
        self._versions = _Versions()

    def predicted(self, identifier: str, version: str, output: Output, now_s: float) -> Pair | None:
        """A prediction with an id; a pair where its label is here already."""
        self.expire(now_s)
        return self._predicted(join_id(self._seed, identifier), version, output, now_s)

    def predicted_block(self, ids: bytes, version: str, outputs: bytes, now_s: float) -> list[Pair]:
        """Predictions of one version that are numbers: their join_ids and values, of 8 bytes each as this machine has
        them."""
        self.expire(now_s)
        number = self._number(version)
        reused, full, early = self._predictions.put_numbers(
            ids, outputs, number, now_s, self._labels
        )
        self._forgotten(reused, "reused")
        self._forgotten(full, "full")
        if not early:
            return []
        known, values = memoryview(ids).cast("Q"), memoryview(outputs).cast("d")
        pairs = [self._predicted(known[row], version, values[row], now_s) for row in early]
        return [pair for pair in pairs if pair is not None]

    def _predicted(self, known: int, version: str, output: Output, now_s: float) -> Pair | None:
        pair = self._early(known, version, output)
        self._forgotten(self._predictions.take(known), "reused")
        value = output if pair is None else None
        number = self._number(version)
        self._forgotten(self._predictions.put(known, number, value, now_s), "full")
        return pair

    def _early(self, known: int, version: str, output: Output) -> Pair | None:
        """With the label that came before."""
        label = self._labels.find(known)
        if label is None or self._versions.name(label[0]) not in ("", version):
            return None
        self._labels.take(known)
        truth = label[1]
        assert truth is not None and not isinstance(truth, list)
        self._counters.add(JOINED)
        return Pair(version, output, truth)

    def labelled(
        self, identifier: str, version: str, label: float | str, now_s: float
    ) -> Pair | None:
        """A truth; a pair where its prediction is here."""
        self.expire(now_s)
        known = join_id(self._seed, identifier)
        entry = self._predictions.find(known)
        if entry is None:
            self._wait(known, version, label, now_s)
            return None
        number, output = entry
        own = self._versions.name(number)
        if version not in ("", own):
            self._counters.add(UNMATCHED, reason="other_version")
            return None
        if output is None:
            self._counters.add(UNMATCHED, reason="twice")
            return None
        # Its place stays until it is old, so that a second label is known as such.
        self._predictions.answer(known)
        self._counters.add(JOINED)
        return Pair(own, output, label)

    def _wait(self, known: int, version: str, label: float | str, now_s: float) -> None:
        if self._labels.find(known) is not None:
            self._counters.add(UNMATCHED, reason="twice")
            return
        number = self._number(version)
        self._unmatched(self._labels.put(known, number, label, now_s), "full")

    def _number(self, version: str) -> int:
        if not self._versions.has_room(version):
            self._versions.keep(self._predictions.tags() | self._labels.tags())
            if not self._versions.has_room(version):
                self.forget("full")
                self._versions.keep(set())
        return self._versions.number(version)

    def _forgotten(self, count: int, reason: str) -> None:
        if count:
            self._counters.add(FORGOTTEN, count, reason=reason)

    def _unmatched(self, count: int, reason: str) -> None:
        if count:
            self._counters.add(UNMATCHED, count, reason=reason)

    def expire(self, now_s: float) -> None:
        """Forget what is too old."""
        self._forgotten(self._predictions.expire(now_s), "expired")
        self._unmatched(self._labels.expire(now_s), "no_prediction")

    def forget(self, reason: str) -> None:
        """Let go of everything."""
        self._forgotten(self._predictions.clear(), reason)
        self._unmatched(self._labels.clear(), reason)

    @property
    def waiting(self) -> int:
        """Predictions in the table, those that have their truth among them."""
        return len(self._predictions)

    @property
    def early(self) -> int:
        """Labels that wait for their prediction."""
        return len(self._labels)

    @property
    def size_bytes(self) -> int:
        """What both are charged with."""
        return self._predictions.bytes + self._labels.bytes

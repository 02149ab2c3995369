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

from array import array
from collections import OrderedDict
from collections.abc import Sequence

from edgemon.metrics import Counters
from edgemon.typed import NamedTuple, TypeAlias

JOINED = "edgemon_truth_joined_labels_total"
UNMATCHED = "edgemon_truth_unmatched_labels_total"
FORGOTTEN = "edgemon_truth_forgotten_predictions_total"

Output: TypeAlias = float | str | list[float]
# Of one entry beside its id and its value: objects and their places, measured on CPython 3.11.
ENTRY_BYTES = 320


class Pair(NamedTuple):
    """A prediction of `version` and its truth."""

    version: str
    output: Output
    label: float | str


# (version, value: None once it was joined, bytes that it is charged with, when it came).  A tuple: half of the cost.
_Entry: TypeAlias = tuple[str, "float | str | bytes | None", int, float]


class _Waiting:
    """Entries by id, the oldest first: at most `keep`, `max_bytes` and `ttl_s` old."""

    __slots__ = ("_keep", "_max_bytes", "_ttl_s", "bytes", "entries")

    def __init__(self, keep: int, max_bytes: int, ttl_s: float) -> None:
        self._keep, self._max_bytes, self._ttl_s = keep, max_bytes, ttl_s
        # Not a dict: the first of one whose first ones were removed is far away.
        self.entries: OrderedDict[str, _Entry] = OrderedDict()
        self.bytes = 0

    def take(self, identifier: str) -> _Entry | None:
        entry = self.entries.pop(identifier, None)
        if entry is not None:
            self.bytes -= entry[2]
        return entry

    def put(self, identifier: str, entry: _Entry) -> int:
        """As the newest, in place of none; how many that were not joined had to go for it, itself among them where it
        alone is too large."""
        entries = self.entries
        entries[identifier] = entry
        self.bytes += entry[2]
        lost = 0
        while len(entries) > self._keep or self.bytes > self._max_bytes:
            lost += self._drop_oldest()
        return lost

    def expire(self, now_s: float) -> int:
        """How many that were not joined became too old."""
        lost = 0
        while self.entries:
            oldest = next(iter(self.entries.values()))
            if now_s - oldest[3] < self._ttl_s:
                break
            lost += self._drop_oldest()
        return lost

    def clear(self) -> int:
        """How many that were not joined were there."""
        lost = sum(value is not None for _, value, _, _ in self.entries.values())
        self.entries.clear()
        self.bytes = 0
        return lost

    def _drop_oldest(self) -> bool:
        _, (_, value, size, _) = self.entries.popitem(last=False)
        self.bytes -= size
        return value is not None


class JoinTable:
    """The predictions of one model, all its versions, that wait for their truth, and labels that came before theirs.

    keep: of each at most; 1 or more.  max_bytes: of each, about.  ttl_s: longest wait in seconds.
    `predicted` and `labelled` are O(1); now_s is monotonic.

    >>> table = JoinTable(keep=100, max_bytes=1 << 20, ttl_s=3600.0, counters=Counters())
    >>> table.predicted("a-17", "1", 0.9, now_s=0.0)
    >>> table.labelled("a-17", "", 1.0, now_s=60.0)
    Pair(version='1', output=0.9, label=1.0)
    """

    __slots__ = ("_counters", "_labels", "_predictions")

    def __init__(self, keep: int, max_bytes: int, ttl_s: float, counters: Counters) -> None:
        self._counters = counters
        self._predictions = _Waiting(keep, max_bytes, ttl_s)
        self._labels = _Waiting(keep, max_bytes, ttl_s)

    def predicted(self, identifier: str, version: str, output: Output, now_s: float) -> Pair | None:
        """A prediction with an id; a pair where its label is here already."""
        pairs = self.predicted_many([identifier], version, [output], now_s)
        return pairs[0] if pairs else None

    def predicted_many(
        self,
        identifiers: Sequence[str],
        version: str,
        outputs: Sequence[Output],
        now_s: float,
    ) -> list[Pair]:
        """Predictions of one version, in their order."""
        self.expire(now_s)
        predictions, labels = self._predictions, self._labels.entries
        reused = full = 0
        pairs: list[Pair] = []
        for identifier, output in zip(identifiers, outputs, strict=True):
            size = ENTRY_BYTES + len(identifier)
            value: float | str | bytes | None
            if isinstance(output, float):
                value = output
            else:
                value, extra = _pack(output)
                size += extra
            if identifier in predictions.entries:
                before = predictions.take(identifier)
                reused += before is not None and before[1] is not None
            if labels and (pair := self._early(identifier, version, output)) is not None:
                pairs.append(pair)
                value = None
            full += predictions.put(identifier, (version, value, size, now_s))
        if reused:
            self._counters.add(FORGOTTEN, reused, reason="reused")
        if full:
            self._counters.add(FORGOTTEN, full, reason="full")
        return pairs

    def _early(self, identifier: str, version: str, output: Output) -> Pair | None:
        """With the label that came before."""
        label = self._labels.entries.get(identifier)
        if label is None or label[0] not in ("", version):
            return None
        self._labels.take(identifier)
        truth = label[1]
        assert truth is not None and not isinstance(truth, bytes)
        self._counters.add(JOINED)
        return Pair(version, output, truth)

    def labelled(
        self, identifier: str, version: str, label: float | str, now_s: float
    ) -> Pair | None:
        """A truth; a pair where its prediction is here."""
        self.expire(now_s)
        entry = self._predictions.entries.get(identifier)
        if entry is None:
            self._wait(identifier, version, label, now_s)
            return None
        own, value, size, at_s = entry
        if version not in ("", own):
            self._counters.add(UNMATCHED, reason="other_version")
            return None
        if value is None:
            self._counters.add(UNMATCHED, reason="twice")
            return None
        # Its place stays until it is old, so that a second label is known as such.
        self._predictions.entries[identifier] = (own, None, size, at_s)
        self._counters.add(JOINED)
        return Pair(own, _unpack(value), label)

    def _wait(self, identifier: str, version: str, label: float | str, now_s: float) -> None:
        if identifier in self._labels.entries:
            self._counters.add(UNMATCHED, reason="twice")
            return
        size = ENTRY_BYTES + len(identifier) + (len(label) if isinstance(label, str) else 0)
        if full := self._labels.put(identifier, (version, label, size, now_s)):
            self._counters.add(UNMATCHED, full, reason="full")

    def expire(self, now_s: float) -> None:
        """Forget what is too old."""
        if expired := self._predictions.expire(now_s):
            self._counters.add(FORGOTTEN, expired, reason="expired")
        if unmatched := self._labels.expire(now_s):
            self._counters.add(UNMATCHED, unmatched, reason="no_prediction")

    def forget(self, reason: str) -> None:
        """Let go of everything."""
        if lost := self._predictions.clear():
            self._counters.add(FORGOTTEN, lost, reason=reason)
        if lost := self._labels.clear():
            self._counters.add(UNMATCHED, lost, reason=reason)

    @property
    def waiting(self) -> int:
        """Predictions in the table, those that have their truth among them."""
        return len(self._predictions.entries)

    @property
    def early(self) -> int:
        """Labels that wait for their prediction."""
        return len(self._labels.entries)

    @property
    def size_bytes(self) -> int:
        """What both are charged with."""
        return self._predictions.bytes + self._labels.bytes


def _pack(output: Output) -> tuple[float | str | bytes, int]:
    """What is kept of an output, and the bytes that it takes."""
    if isinstance(output, list):
        packed = array("d", output).tobytes()
        return packed, len(packed)
    return output, len(output) if isinstance(output, str) else 0


def _unpack(value: float | str | bytes) -> Output:
    if isinstance(value, bytes):
        return array("d", value).tolist()
    return value

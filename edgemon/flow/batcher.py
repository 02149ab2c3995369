"""The open batch: rows of one kind collect here until they are many, large or old enough.

One open batch a kind carries the rows of all models, so that the cost of a message is shared. Its sequence number
is given when it opens: the journal replays its rows under the same number after a crash, and a receiver that has
them already sees a duplicate, never a second copy.
"""

from __future__ import annotations

from edgemon import wire
from edgemon.records import MONO_NS, Batch, Row, Rows
from edgemon.std.collections.abc import Callable, Sequence
from edgemon.typed import Any, NamedTuple


class Anchor(NamedTuple):
    """The two clocks at one instant, and how far the wall clock may be off (None = not synchronised)."""

    boot: bytes
    wall_ns: int
    mono_ns: int
    clock_error_ms: float | None


class Identity(NamedTuple):
    """What every batch of this agent says of its origin."""

    device: str
    fleet: str
    stream: bytes
    resource: dict[str, str]


class BatchLimits(NamedTuple):
    """A batch closes at whichever comes first. max_bytes bounds the uncompressed body, envelope included."""

    max_rows: int
    max_bytes: int
    max_age_s: float
    layout: str = "columns"
    max_columns: int = 1024


class OpenBatch:
    """Collects rows of one kind.

    next_seq: gives the sequence number when a batch opens.  anchor: reads the clocks at that instant.
    """

    __slots__ = (
        "_anchor", "_bound", "_count", "_dropped", "_named", "_next_seq", "_opened", "_parts", "_unjournaled", "anchor",
        "identity", "kind", "limits", "seq",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        limits: BatchLimits,
        identity: Identity,
        next_seq: Callable[[str], int],
        anchor: Callable[[], Anchor],
    ) -> None:
        self.kind = kind
        self.limits = limits
        self.identity = identity
        self.seq = 0
        self.anchor: Anchor | None = None
        self._next_seq = next_seq
        self._anchor = anchor
        self._dropped = 0
        self._opened = 0.0
        self._begin()

    def _begin(self) -> None:
        identity = self.identity
        self._named = False  # has a number and an anchor
        self._parts: list[Row | Rows] = []
        self._count = 0
        self._unjournaled = 0  # parts before this one are in the journal
        self._bound = wire.BodyBound(
            identity.device, identity.fleet, identity.resource, self.limits.layout
        )

    def __len__(self) -> int:
        return self._count

    def try_add(self, row: Row, mono_ns: int) -> bool:
        """Append the row unless the batch could then pass a limit; whether it did.

        mono_ns: when it happened; it becomes the row's `t`, µs since the anchor. A row that an empty batch does
        not take can never be shipped.
        """
        anchor = self.anchor if self._named else self._anchor()
        assert anchor is not None
        row["t"] = (mono_ns - anchor.mono_ns) // 1000
        if self._count >= self.limits.max_rows or not self._bound.try_add(
            row, self.limits.max_bytes, self.limits.max_columns
        ):
            return False
        self._append(row, 1, anchor, mono_ns)
        return True

    def try_add_rows(self, rows: Rows) -> int:
        """As `try_add` of each, with its MONO_NS, until one is not taken: how many were."""
        anchor = self.anchor if self._named else self._anchor()
        assert anchor is not None
        cells = dict(rows.cells)
        moments: list[Any] = cells.pop(MONO_NS)
        same, since_ns = rows.same, anchor.mono_ns
        if moments[0] == moments[-1]:  # they never go back
            same = same | {"t": (moments[0] - since_ns) // 1000}
        else:
            cells["t"] = [(mono_ns - since_ns) // 1000 for mono_ns in moments]
        rows = Rows(rows.n, same, cells)
        limits = self.limits
        most = min(rows.n, limits.max_rows - self._count)
        while most > 0:
            part = rows if most == rows.n else rows.part(0, most)
            if self._bound.try_add_rows(part, limits.max_bytes, limits.max_columns):
                self._append(part, most, anchor, moments[0])
                return most
            most //= 2
        return 0

    def _append(self, part: Row | Rows, count: int, anchor: Anchor, mono_ns: int) -> None:
        if not self._named:
            self._name(anchor)
        if not self._count:
            self._opened = mono_ns / 1e9
        self._parts.append(part)
        self._count += count

    def name(self) -> Anchor:
        """Give the batch its number and anchor before its first row; what has them will get one."""
        if not self._named:
            self._name(self._anchor())
        assert self.anchor is not None
        return self.anchor

    def _name(self, anchor: Anchor) -> None:
        self.seq = self._next_seq(self.kind)
        self.anchor = anchor
        self._named = True

    def count_dropped(self, rows: int) -> None:
        """Rows of this kind that were lost: the next batch says so."""
        self._dropped += rows

    def due_at(self) -> float | None:
        """Monotonic seconds at which age closes the batch; None while it is empty."""
        return self._opened + self.limits.max_age_s if self._count else None

    def full(self) -> bool:
        return self._count >= self.limits.max_rows

    def take_unjournaled(self) -> list[Row | Rows]:
        """Rows added since the last call: what the journal does not have yet."""
        parts = self._parts[self._unjournaled :]
        self._unjournaled = len(self._parts)
        return parts

    def close(self) -> Batch:
        """Hand the rows over as a batch and start anew."""
        assert self.anchor is not None and self._parts, "closing an empty batch"
        batch = make_batch(
            self.kind, self.seq, self.anchor, self.identity, self._parts, self._dropped
        )
        self._dropped = 0
        self._begin()
        return batch


def make_batch(
    kind: str,
    seq: int,
    anchor: Anchor,
    identity: Identity,
    rows: Sequence[Row | Rows],
    dropped: int = 0,
) -> Batch:
    """Rows -> batch. The journal's replay uses the anchor of the boot in which the rows were written."""
    return Batch(
        kind=kind,
        seq=seq,
        device=identity.device,
        fleet=identity.fleet,
        stream=identity.stream,
        boot=anchor.boot,
        wall_ns=anchor.wall_ns,
        mono_ns=anchor.mono_ns,
        clock_error_ms=anchor.clock_error_ms,
        dropped=dropped,
        resource=identity.resource,
        rows=wire.count_rows(rows),
        columns=wire.columns_from_rows(rows),
    )

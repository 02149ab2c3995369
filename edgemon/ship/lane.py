"""One kind's way out: a row of batches in order, or a backlog with a second row for what is new.

While a backlog drains, what the device measures now would wait behind it for hours. So the row is
split: `old` ends at the last batch that was durable when the backlog was noticed, `fresh` begins
after it. The cursor follows `old`; once `old` is done the rows are one again. What was done of
`fresh` is not written down before that: a restart sends it again, and the receiver drops it.
"""

from __future__ import annotations

from edgemon.ship.progress import Progress


class Lane:
    """old: what the cursor follows.  fresh: what is newer than the backlog, or None.

    >>> lane = Lane(0)
    >>> lane.old.take(1); lane.split(5); lane.part_of(6) is lane.fresh
    True
    >>> lane.fresh.take(6); lane.finish(6), lane.acked
    (False, 0)
    >>> lane.finish(1), lane.close_old(), lane.acked          # 2 to 5 are gone from the spool
    (True, True, 6)
    """

    __slots__ = ("_closed", "end", "fresh", "old")

    def __init__(self, acked: int) -> None:
        self.old = Progress(acked)
        self.fresh: Progress | None = None
        self.end = 0  # of the backlog, while there is one
        self._closed = False  # nothing more of the backlog will be taken

    @property
    def acked(self) -> int:
        """Everything up to this seq is done."""
        return self.old.acked

    @property
    def parts(self) -> tuple[Progress, ...]:
        return (self.old,) if self.fresh is None else (self.old, self.fresh)

    @property
    def used(self) -> bool:
        return self.old.taken > 0

    def part_of(self, seq: int) -> Progress:
        return self.fresh if self.fresh is not None and seq > self.end else self.old

    def split(self, end: int) -> None:
        """What is above `end` has a row of its own from now on."""
        self.fresh = Progress(end)
        self.end = end
        self._closed = False

    def close_old(self) -> bool:
        """The spool holds nothing more of the backlog. True when `acked` moved."""
        self._closed = True
        return self._join()

    def finish(self, seq: int) -> bool:
        """See Progress.finish."""
        moved = self.part_of(seq).finish(seq)
        return self._join() or (moved and self.part_of(seq) is self.old)

    def confirm(self, seq: int, first: int = 0) -> bool:
        """See Progress.confirm."""
        before = self.acked
        for part in self.parts:
            part.confirm(seq, first)
        self._join()
        return self.acked != before

    def rewind(self) -> None:
        """See Progress.rewind."""
        self._closed = False
        for part in self.parts:
            part.rewind()

    def _join(self) -> bool:
        if self.fresh is None:
            return False
        done = self.old.acked >= self.end or (self._closed and not self.old.under_way)
        if done:
            self.old, self.fresh = self.fresh, None
        return done

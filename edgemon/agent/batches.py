"""The open batches of all kinds, their journal, and the way to the spool's writer thread."""

from __future__ import annotations

from edgemon.agent.journal import BEGUN, OPEN, WINDOWS, Replayed, pack, pack_windows
from edgemon.agent.loop import Loop, Timer
from edgemon.flow.batcher import Anchor, BatchLimits, Identity, OpenBatch, make_batch
from edgemon.metrics import Counters
from edgemon.records import KINDS, MONO_NS, Batch, Row, Rows
from edgemon.spool.worker import SpoolWorker
from edgemon.std.collections.abc import Callable
from edgemon.wire import count_rows

DROPPED_ROWS = "edgemon_batch_dropped_rows_total"
# Events are not journaled: their batch closes in the turn of the loop in which they happen.
_AT_ONCE = "event"
# Rows of this kind may wait for others before they come here.
_WAITED_FOR = "pred"
# A batch may leave so much before it is too old, where the loop is awake then: with the next sample of the device,
# whose tick comes a little before the age of the first row, which that tick added.
_EARLY_S = 0.05


class Batches:
    """Takes rows, closes batches when they are due, keeps the journal of the open ones.

    next_seq: the spool's.  anchor: reads the clocks.  on_submitted: called after each batch was handed over.
    open_windows: the rows that the open windows would give now; see `checkpoint`.  begun_windows: empty rows of those
    that began and are not in the journal; see `await_windows`. Both with MONO_NS.  give_rows: has captured rows
    added that wait elsewhere; see `await_rows`.
    """

    def __init__(
        self,
        loop: Loop,
        worker: SpoolWorker,
        identity: Identity,
        limits: BatchLimits,
        journal_interval_s: float,
        next_seq: Callable[[str], int],
        anchor: Callable[[], Anchor],
        counters: Counters,
        on_submitted: Callable[[], None],
    ) -> None:
        self.open_windows: Callable[[], list[Row]] = list
        self.begun_windows: Callable[[], list[Row]] = list
        self.give_rows: Callable[[], None] = lambda: None
        self._windows_kept = False  # the journal of the open agg batch has some
        self._loop = loop
        self._worker = worker
        self._identity = identity
        self._limits = limits
        self._anchor = anchor
        self._journal_interval_s = journal_interval_s
        self._counters = counters
        self._on_submitted = on_submitted
        self._open = {kind: OpenBatch(kind, limits, identity, next_seq, anchor) for kind in KINDS}
        self._age: dict[str, Timer] = {}
        self._journal_timer: Timer | None = None

    def reconfigure(
        self, identity: Identity, limits: BatchLimits, journal_interval_s: float
    ) -> None:
        """New limits hold from the next batch of each kind on."""
        self._identity = identity
        self._limits = limits
        self._journal_interval_s = journal_interval_s
        self.close_all()  # what is open keeps the limits and the origin with which it began
        for batch in self._open.values():
            batch.limits, batch.identity = limits, identity

    def open_rows(self) -> dict[str, int]:
        """Rows waiting in open batches, by kind."""
        self.give_rows()
        return {kind: len(batch) for kind, batch in self._open.items()}

    def number(self, kind: str) -> int:
        """The seq of the batch that the latest row of the kind is in; 0 before there was one."""
        return self._open[kind].seq

    # -- rows in

    def add(self, kind: str, row: Row, mono_ns: int, *, promised: bool = True) -> None:
        """Append one row; a row that alone passes the limits is dropped and counted.

        promised: it is in the journal within the interval. Other rows wait for one that is, or for their batch: a
        device that is idle is not woken for them.
        """
        batch = self._open[kind]
        if not batch.try_add(row, mono_ns):
            self.close(kind)
            if not batch.try_add(row, mono_ns):
                self._counters.add(DROPPED_ROWS, reason="row_too_large")
                batch.count_dropped(1)
                return
        self._added(kind, batch, 1, promised)

    def await_rows(self) -> None:
        """`give_rows` has some from now on. They have a number, and leave in time, as if they were here."""
        batch = self._open[_WAITED_FOR]
        batch.name()
        self._write_soon()
        if _WAITED_FOR not in self._age:
            self._close_at(_WAITED_FOR, self._loop.now() + batch.limits.max_age_s)

    def await_windows(self) -> None:
        """`begun_windows` has some from now on: a crash must not take them untold."""
        self._write_soon()

    def add_rows(self, kind: str, rows: Rows) -> None:
        """As `add` of each, with its MONO_NS."""
        batch = self._open[kind]
        while rows.n:
            added = batch.try_add_rows(rows)
            if added:
                self._added(kind, batch, added, True)
            elif len(batch):
                self.close(kind)
            else:
                self._counters.add(DROPPED_ROWS, reason="row_too_large")
                batch.count_dropped(1)
                added = 1
            rows = rows.part(added, rows.n)

    def _added(self, kind: str, batch: OpenBatch, rows: int, promised: bool) -> None:
        if len(batch) == rows:
            self._schedule(kind, batch)
        if batch.full():
            self.close(kind)
        elif promised and kind != _AT_ONCE:
            self._write_soon()

    def _write_soon(self) -> None:
        if self._journal_timer is None:
            self._journal_timer = self._loop.call_at(
                self._loop.now() + self._journal_interval_s, self.write_journal
            )

    def _schedule(self, kind: str, batch: OpenBatch) -> None:
        due = self._loop.now() if kind == _AT_ONCE else batch.due_at()
        assert due is not None
        self._close_at(kind, due)

    def _close_at(self, kind: str, due_s: float) -> None:
        if timer := self._age.get(kind):
            timer.cancel()
        self._age[kind] = self._loop.call_at(due_s, lambda: self.close(kind), early_s=_EARLY_S)

    # -- batches out

    def close(self, kind: str) -> None:
        """Hand the open batch of a kind to the writer thread."""
        if kind == _WAITED_FOR:
            self.give_rows()
        batch = self._open[kind]
        if timer := self._age.pop(kind, None):
            timer.cancel()
        if batch:
            closed = batch.close()
            if kind == WINDOWS and self._windows_kept:
                # With the closed batch its journal goes, and what that has of windows that are still open.
                self.checkpoint()
            self._submit(closed)

    def close_all(self) -> None:
        for kind in KINDS:
            self.close(kind)

    def _submit(self, batch: Batch) -> None:
        if not self._worker.submit_batch(batch):
            self._worker.drop_batch(batch.kind, batch.seq, batch.rows)
            self._counters.add(DROPPED_ROWS, batch.rows, reason="writer_queue_full")
            self._open[batch.kind].count_dropped(batch.rows)
        self._on_submitted()

    # -- journal

    def write_journal(self) -> None:
        """Hand over the rows that the journal does not have yet."""
        self.give_rows()
        if self._journal_timer is not None:
            self._journal_timer.cancel()
            self._journal_timer = None
        for kind, batch in self._open.items():
            if kind == _AT_ONCE or not (rows := batch.take_unjournaled()):
                continue
            assert batch.anchor is not None
            payload = pack(batch.anchor, rows)
            count = count_rows(rows)
            if not self._worker.journal_rows(kind, batch.seq, payload, rows=count):
                self._counters.add("edgemon_batch_unjournaled_rows_total", count)
        if begun := self.begun_windows():  # behind the rows of those that they follow
            self._keep_windows(begun, BEGUN)

    def checkpoint(self) -> None:
        """Have the journal hold what the open windows hold; a crash costs them what comes after it."""
        rows = self.open_windows()
        if not rows:
            self._windows_kept = False
            return
        self.write_journal()  # closed windows first: what stands behind the chunk takes its place
        self._keep_windows(rows, OPEN)

    def _keep_windows(self, rows: list[Row], sort: int) -> None:
        self._windows_kept = True
        batch = self._open[WINDOWS]
        anchor = batch.name()
        for row in rows:
            mono_ns = row.pop(MONO_NS)
            assert isinstance(mono_ns, int)
            row["t"] = (mono_ns - anchor.mono_ns) // 1000
        if not self._worker.journal_rows(WINDOWS, batch.seq, pack_windows(anchor, rows, sort)):
            self._counters.add("edgemon_batch_unjournaled_rows_total", len(rows))

    def sync(self, token: int) -> bool:
        """All that was added before is to be on disk; the worker's `poll` gives the token back.

        False where too many tokens wait already.
        """
        self.write_journal()
        self.close(_AT_ONCE)
        return self._worker.sync(token)

    def replay(self, batch: Replayed) -> None:
        """Send what a journal of an earlier life holds, under its own number."""
        if batch.unknown:
            self._counters.add("edgemon_batch_unknown_journals_total", batch.unknown)
        if batch.anchor is None or not batch.rows:
            self._worker.drop_batch(batch.kind, batch.seq, 0)
        else:
            if batch.dropped:
                self._counters.add(DROPPED_ROWS, batch.dropped, reason="open_windows")
            self._submit(
                make_batch(
                    batch.kind, batch.seq, batch.anchor, self._identity, batch.rows, batch.dropped
                )
            )

    def fits(self, rows: list[Row]) -> bool:
        """Whether they may be one batch under the limits of now."""
        one = OpenBatch(WINDOWS, self._limits, self._identity, lambda _: 1, self._anchor)
        return all(one.try_add(dict(row), 0) for row in rows)

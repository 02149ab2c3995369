"""SpoolWorker: the one thread that writes to the spool, so that a disk which stalls never stops ingest.

The main thread hands over batches, journal chunks and sync tokens, and never waits: the queue is bounded in
bytes, and a full queue refuses. What must be taken all the same (a batch was given up, a journal is not whole) joins
what of its sort waits already, so that a disk which hangs for a day does not fill the memory. What comes back is
collected by `poll`; `fileno` is readable when there is something. An idle worker holds no timer: it wakes when it is
given something to do, or when what it wrote is due to be synced.
"""

from __future__ import annotations

import math
import os
import time

from edgemon.metrics import Counters
from edgemon.records import KINDS, Batch
from edgemon.spool.gaps import Gap
from edgemon.spool.writer import Spool
from edgemon.std import threading
from edgemon.std.collections import deque
from edgemon.std.collections.abc import Callable, Iterable
from edgemon.std.contextlib import suppress
from edgemon.typed import NamedTuple

QUEUE_SIZE_BYTES = 16 << 20
MAX_WAITING_TOKENS = 65_536
# After a sync that failed, the next attempt without a reason waits so long.
RETRY_S = 5.0
_JOB_BYTES = 128
# Chunks of several kinds are handed over together: one sync is for all of them.
_CHUNK_PAUSE_S = 0.005
_NOT_JOURNALED = KINDS[0]


class News(NamedTuple):
    """What happened since the last `poll`.

    synced: tokens before which everything is durable, in order.  not_synced: tokens that the disk refused;
    what was submitted before them is in memory, or in a gap.  durable: kind -> highest durable seq, kinds
    that moved only.  gaps: what is lost.  failure: what the disk (or the encoder) said last, "" when well.
    """

    synced: list[int]
    not_synced: list[int]
    durable: dict[str, int]
    gaps: list[Gap]
    failure: str


class _Job(NamedTuple):
    """Something to do. cost: bytes that it takes from the queue's bound.  token: a sync when not None.

    kind: the batch's that it belongs to.
    """

    run: Callable[[], None] | None
    cost: int
    token: int | None = None
    kind: str = ""


class SpoolWorker:
    """The writer thread over an open Spool. All public methods are the main thread's.

    encode: Batch -> one zstd frame; called in the writer thread.
    sync: "interval": a batch is synced at once where the last sync is `sync_interval_s` ago, else then; "always": after
    every batch, or run of them that came together. Tokens, journal chunks and events are synced at once in either:
    the rows of a chunk have waited for an interval before they were handed over, and alarms are not to wait.
    wake: calls what wakes an idle writer thread, soon; at once by default. An owner with a loop has it called at the
    end of a turn: what one turn hands over is then synced together.
    """

    def __init__(
        self,
        spool: Spool,
        encode: Callable[[Batch], bytes],
        *,
        counters: Counters,
        sync: str = "interval",
        sync_interval_s: float = 1.0,
        queue_size_bytes: int = QUEUE_SIZE_BYTES,
        clock: Callable[[], float] = time.monotonic,
        wake: Callable[[Callable[[], None]], None] = lambda notify: notify(),
    ) -> None:
        self._spool = spool
        self._encode = encode
        self._counters = counters
        self._sync_always = sync == "always"
        self._sync_interval_s = sync_interval_s
        self._queue_size_bytes = queue_size_bytes
        self._clock = clock
        self._wake = wake
        self._waking = False  # the main thread's: `_notify` is going to be called
        self._changed = threading.Condition()
        # Guarded by _changed:
        self._jobs: deque[_Job] = deque()
        self._queued_bytes = 0
        self._waiting_tokens = 0
        self._stopping = False
        self._news = _no_news()
        # Of what is queued without a cost, by kind: the [seq, rows] of batches that follow each other and are given
        # up, nothing else of the kind behind them; the journals that are not whole; whether `maintain` is asked for.
        self._dropping: dict[str, list[int]] = {}
        self._giving_up: dict[str, set[int]] = {}
        self._maintaining = False
        # The main thread's:
        self._gaps_to_ship: list[int] = []
        # The writer thread's:
        self._due_s: float | None = None
        self._synced_s = -math.inf
        self._soon = False
        self._gaps: list[Gap] = []
        self._durable = {kind: spool.durable_seq(kind) for kind in spool.kinds}
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="edgemon-spool", daemon=True)

    # -- the main thread's side

    def start(self) -> None:
        """Begin. Gaps that the spool found at open are the first news."""
        self._thread.start()
        self.maintain()

    def fileno(self) -> int:
        """Readable when `poll` has something to say; for a selector."""
        return self._event_fd

    @property
    def queued_bytes(self) -> int:
        """Estimated bytes that are handed over and not yet written."""
        return self._queued_bytes

    def submit_batch(
        self, batch: Batch, *, size_bytes: int | None = None, settles: Iterable[int] | None = None
    ) -> bool:
        """Hand a batch over to be encoded and appended. False: the queue is full, nothing was taken.

        size_bytes: the memory it takes, estimated when None.
        settles: ids of the gaps whose rows it carries. None: with an event batch, all gaps that `poll`
        gave out before and that no batch carries yet; so their rows belong in the next event batch.
        """
        cost = _JOB_BYTES + (batch_bytes(batch) if size_bytes is None else size_bytes)
        ids = () if settles is None else tuple(settles)
        if settles is None and batch.kind == "event":
            ids = tuple(self._gaps_to_ship)
        taken = self._put(_Job(lambda: self._append(batch, ids), cost, kind=batch.kind))
        if taken and ids:
            self._gaps_to_ship = [gap for gap in self._gaps_to_ship if gap not in ids]
        return taken

    def drop_batch(self, kind: str, seq: int, rows: int) -> None:
        """The caller gives up a batch that was refused: its number becomes a gap at once."""
        with self._changed:
            self._giving_up.get(kind, set()).discard(seq)
            if (waiting := self._dropping.get(kind)) is not None:
                waiting[:] = (
                    seq,
                    waiting[1] + rows,
                )  # the spool takes the numbers that it passes over along
                return
            dropped = self._dropping[kind] = [seq, rows]
        self._put(
            _Job(lambda: self._spool.drop(kind, dropped[0], dropped[1], "dropped"), 0), force=True
        )

    def journal_rows(self, kind: str, seq: int, payload: bytes, *, rows: int = 0) -> bool:
        """Hand captured rows of the open batch over. False: the queue is full.

        A refused chunk is never mistaken for a durable one: tokens are refused until its batch is durable.
        """
        cost = _JOB_BYTES + len(payload)
        if self._put(_Job(lambda: self._journal(kind, seq, payload, rows), cost, kind=kind)):
            return True
        with self._changed:
            if (waiting := self._giving_up.get(kind)) is not None:
                waiting.add(seq)
                return False
            given_up = self._giving_up[kind] = {seq}
        self._put(_Job(lambda: self._give_up(kind, given_up), 0), force=True)
        return False

    def sync(self, token: int) -> bool:
        """Ask for a token once all that was handed over before is durable. False: too many wait."""
        with self._changed:
            if self._waiting_tokens >= MAX_WAITING_TOKENS:
                return False
            self._waiting_tokens += 1
        return self._put(_Job(None, 0, token), force=True)

    def run(self, write: Callable[[], None], size_bytes: int) -> bool:
        """Have another small file written by this thread, which may wait for the disk. False: the queue
        is full. write: catches what the disk raises. size_bytes: what it holds in memory."""
        return self._put(_Job(write, _JOB_BYTES + size_bytes))

    def maintain(self) -> None:
        """Free what the shipper has delivered, soon. Done after every sync of batches anyway."""
        with self._changed:
            if self._maintaining:
                return
            self._maintaining = True
        self._put(_Job(self._maintain, 0), force=True)

    def poll(self) -> News:
        """What happened since the last call. Never blocks."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event_fd)
        with self._changed:
            news, self._news = self._news, _no_news()
            news = news._replace(failure=self._spool.failure)
        self._gaps_to_ship += [gap.id for gap in news.gaps]
        return news

    def stop(self, deadline_s: float) -> bool:
        """Write and sync what is queued, then end. False: not within `deadline_s` (the disk hangs).

        `poll` works once more afterwards; `Spool.close` is the caller's.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(deadline_s)
        if self._thread.is_alive():
            self._spool.abandon()
            return False
        return True

    def close(self) -> None:
        """Give the file descriptor back; after `stop`."""
        if self._event_fd >= 0:
            fd, self._event_fd = self._event_fd, -1
            os.close(fd)

    def _put(self, job: _Job, *, force: bool = False) -> bool:
        """Queue a job. One that alone is over the bound is taken when nothing else waits."""
        with self._changed:
            full = self._queued_bytes + job.cost > self._queue_size_bytes
            if self._stopping or (full and self._queued_bytes and not force):
                return False
            self._jobs.append(job)
            if job.kind:
                self._dropping.pop(job.kind, None)
            self._queued_bytes += job.cost
        if not self._waking:
            self._waking = True
            self._wake(self._notify)
        return True

    def _notify(self) -> None:
        self._waking = False
        with self._changed:
            self._changed.notify()

    # -- the writer thread's side

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._stopping:
                    left_s = None if self._due_s is None else self._due_s - self._clock()
                    if left_s is not None and left_s <= 0:
                        break
                    self._changed.wait(left_s)
                jobs, self._jobs = self._jobs, deque()
                self._dropping, self._giving_up, self._maintaining = {}, {}, False
                stopping = self._stopping
            self._turn(jobs, stopping)
            if stopping:
                return

    def _turn(self, jobs: deque[_Job], stopping: bool) -> None:
        """Do the jobs, sync once for all of them if it is time, tell the news."""
        tokens = []
        for job in jobs:
            if job.token is not None:
                tokens.append(job.token)
            if job.run is not None:
                try:
                    job.run()
                except Exception as error:
                    # A border: one thing that cannot be written must not end the thread for the rest.
                    self._spool.report_failure("worker", f"{type(error).__name__}: {error}")
            if job.cost:
                with self._changed:
                    self._queued_bytes -= job.cost
        now = self._clock()
        spool = self._spool
        if spool.dirty:
            due_s = now + _CHUNK_PAUSE_S if self._soon else self._synced_s + self._sync_interval_s
            self._due_s = due_s if self._due_s is None else min(self._due_s, due_s)
        self._soon = False
        due = self._due_s is not None and now >= self._due_s
        synced = True
        if tokens or due or stopping or self._sync_always or spool.wants_sync:
            synced = self._sync()
        self._tell(tokens, synced, bool(jobs))

    def _sync(self) -> bool:
        """Sync; and free what was delivered, when batches became durable."""
        synced = self._spool.sync()
        self._synced_s = self._clock()
        self._due_s = self._synced_s + RETRY_S if self._spool.dirty else None
        if any(self._spool.durable_seq(kind) != seq for kind, seq in self._durable.items()):
            self._maintain()
        return synced

    def _maintain(self) -> None:
        self._gaps += self._spool.maintain()

    def _journal(self, kind: str, seq: int, payload: bytes, rows: int) -> None:
        self._spool.journal(kind, seq, payload, rows=rows)
        self._soon = True

    def _give_up(self, kind: str, seqs: set[int]) -> None:
        for seq in sorted(seqs):
            self._spool.give_up_journal(kind, seq)

    def _append(self, batch: Batch, settles: tuple[int, ...]) -> None:
        try:
            frame = self._encode(batch)
        except Exception as error:
            self._spool.drop(batch.kind, batch.seq, batch.rows, "not_encoded")
            self._spool.report_failure("encode", f"{type(error).__name__}: {error}")
            return
        first_wall_ms, last_wall_ms = wall_range_ms(batch)
        self._spool.append(
            batch.kind,
            batch.seq,
            frame,
            rows=batch.rows,
            first_wall_ms=first_wall_ms,
            last_wall_ms=last_wall_ms,
            settles=settles,
        )
        if batch.kind == _NOT_JOURNALED:
            self._soon = True

    def _tell(self, tokens: list[int], synced: bool, worked: bool) -> None:
        durable = {}
        for kind, before in self._durable.items():
            seq = self._spool.durable_seq(kind)
            if seq != before:
                self._durable[kind] = durable[kind] = seq
        gaps, self._gaps = self._gaps + self._spool.take_gaps(), []
        with self._changed:
            self._waiting_tokens -= len(tokens)
            (self._news.synced if synced else self._news.not_synced).extend(tokens)
            self._news.durable.update(durable)
            self._news.gaps.extend(gaps)
        if tokens or durable or gaps or worked:
            os.eventfd_write(self._event_fd, 1)


def _no_news() -> News:
    return News([], [], {}, [], "")


def wall_range_ms(batch: Batch) -> tuple[int, int]:
    """Wall clock of the first and the last row, ms since 1970, by the batch's two clocks at one instant."""
    times = [
        value
        for column in batch.columns
        if column.name == "t"
        for value in column.values
        if isinstance(value, (int, float))
    ]
    first_us = min(times, default=0)
    last_us = max(times, default=0)
    return (
        int((batch.wall_ns + first_us * 1000) // 1_000_000),
        int((batch.wall_ns + last_us * 1000) // 1_000_000),
    )


def batch_bytes(batch: Batch) -> int:
    """An estimate of the memory that a batch takes: 8 bytes a slot, 24 a number, more for text."""
    size = 0
    for column in batch.columns:
        size += 8 * len(column.values)
        if column.type in ("f8", "i8", "f4"):
            size += 24 * len(column.values)
        elif column.type in ("str", "bin"):
            size += sum(50 + len(v) for v in column.values if isinstance(v, (str, bytes)))
        else:
            size += sum(56 + 32 * len(v) for v in column.values if isinstance(v, list))
    return size

"""The writer thread: it never stops the main thread, and tells the truth about what is durable."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edgemon.agent.loop import Loop
from edgemon.metrics import Counters
from edgemon.records import Batch, Column
from edgemon.spool.cursor import Cursor
from edgemon.spool.worker import News, SpoolWorker, batch_bytes, wall_range_ms
from edgemon.spool.writer import Spool
from tests.spool.helpers import DIRECTORY, Settings, covered, frame_of, new_spool, seqs
from tests.spool.memory_fs import MemoryFileSystem

DEADLINE_S = 30.0


def batch(seq: int, kind: str = "pred", rows: int = 10) -> Batch:
    column = Column("t", "i8", [1000 * row for row in range(rows)])
    return Batch(
        kind,
        seq,
        "dev",
        "fleet",
        bytes(16),
        bytes(16),
        5_000_000_000,
        7,
        None,
        0,
        {},
        rows,
        [column],
    )


def encode(batch: Batch) -> bytes:
    if batch.rows == 0:
        raise ValueError("nothing to encode")
    return frame_of(batch.kind, batch.seq)


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Rig:
    """A spool over a fake disk, its worker, and all the news so far."""

    def __init__(self, fs: MemoryFileSystem, **options: object) -> None:
        self.fs = fs
        self.spool: Spool = new_spool(fs, Settings())
        self.spool.open()
        arguments = {"sync_interval_s": 3600.0} | options
        self.worker = SpoolWorker(self.spool, encode, counters=Counters(), **arguments)  # type: ignore[arg-type]
        self.synced: list[int] = []
        self.not_synced: list[int] = []
        self.durable: dict[str, int] = {}
        self.gaps: set[int] = set()
        self.lost_rows = 0
        self.failures: set[str] = set()
        self.wake_ups = 0

    def poll(self) -> News:
        news = self.worker.poll()
        self.wake_ups += 1
        self.synced += news.synced
        self.not_synced += news.not_synced
        self.durable |= news.durable
        self.gaps |= covered(news.gaps, "pred")
        self.lost_rows += sum(gap.rows for gap in news.gaps)
        self.failures.add(news.failure)
        return news

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for news until the condition holds."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            left = end - time.monotonic()
            assert left > 0, "nothing happened in time"
            if select.select([self.worker.fileno()], [], [], min(left, 0.2))[0]:
                self.poll()

    def submit(self, kind: str = "pred", rows: int = 10) -> int:
        seq = self.spool.next_seq(kind)
        assert self.worker.submit_batch(batch(seq, kind, rows))
        return seq


Maker = Callable[..., Rig]


@pytest.fixture
def make(fs: MemoryFileSystem) -> Iterator[Maker]:
    rigs: list[Rig] = []

    def maker(**options: object) -> Rig:
        rigs.append(Rig(fs, **options))
        rigs[-1].worker.start()
        return rigs[-1]

    yield maker
    fs.before = None
    for rig in rigs:
        assert rig.worker.stop(DEADLINE_S)
        rig.spool.close()
        rig.worker.close()


class Stall:
    """A sync that hangs until it is let go."""

    def __init__(self, fs: MemoryFileSystem) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()
        fs.before = self

    def __call__(self, operation: str, path: str) -> None:
        if operation == "sync" and "3-pred" in path:
            self.reached.set()
            assert self.released.wait(DEADLINE_S)


def stalled(rig: Rig) -> Stall:
    """The disk hangs, with one batch on its way to it."""
    stall = Stall(rig.fs)
    rig.submit()
    rig.worker.sync(1)
    assert stall.reached.wait(DEADLINE_S)
    return stall


def test_a_token_comes_back_once_everything_before_it_is_durable(make: Maker) -> None:
    rig = make()
    rig.submit()
    rig.submit()
    rig.worker.sync(7)
    rig.until(lambda: rig.synced == [7])
    assert rig.durable == {"pred": 2}
    assert seqs(rig.fs, "pred") == [1, 2]


def test_a_token_covers_the_rows_of_an_open_batch_without_closing_it(make: Maker) -> None:
    rig = make()
    seq = rig.spool.next_seq("pred")
    assert rig.worker.journal_rows("pred", seq, b"rows", rows=3)
    rig.worker.sync(1)
    rig.until(lambda: rig.synced == [1])
    assert rig.durable == {}
    rig.fs.kill()
    spool = new_spool(rig.fs)
    spool.open()
    assert [(p.seq, p.payloads) for p in spool.pending_journals()] == [(1, [b"rows"])]
    rig.worker.stop(DEADLINE_S)
    rig.spool.abandon()


def test_tokens_with_nothing_to_write_come_back_in_order_and_touch_no_file(make: Maker) -> None:
    rig = make()
    rig.until(lambda: not rig.worker.poll().gaps)
    rig.fs.calls.clear()
    for token in range(20):
        rig.worker.sync(token)
    rig.until(lambda: len(rig.synced) == 20)
    assert rig.synced == list(range(20))
    assert rig.fs.calls["sync"] == rig.fs.calls["write"] == 0


def test_what_is_written_is_synced_after_the_interval(make: Maker) -> None:
    rig = make(sync_interval_s=0.05)
    rig.submit()
    rig.until(lambda: rig.durable == {"pred": 1})


def test_a_batch_after_a_long_pause_is_synced_at_once_and_the_next_one_waits(make: Maker) -> None:
    """An idle device is woken once for it, and one sync an interval is no more than there were."""
    clock = Clock()
    rig = make(sync_interval_s=60.0, clock=clock)
    rig.submit()
    rig.until(lambda: rig.durable == {"pred": 1})
    assert rig.worker._due_s is None
    clock.now_s += 59.0
    rig.submit()
    rig.until(lambda: rig.worker._due_s == clock.now_s + 1.0)
    assert rig.durable == {"pred": 1}
    clock.now_s += 1.0
    rig.submit()
    rig.until(lambda: rig.durable == {"pred": 3})


def test_an_owner_with_a_loop_is_asked_once_a_turn_to_wake_the_thread(make: Maker) -> None:
    waking: list[Callable[[], None]] = []
    rig = make(wake=waking.append)
    for first in (1, 2):
        for kind in ("pred", "agg", "sys"):
            rig.submit(kind)
        assert len(waking) == 1
        waking.pop()()
        rig.worker.sync(first)
        waking.pop()()
        rig.until(lambda: rig.durable == {"pred": first, "agg": first, "sys": first})  # noqa: B023


def test_what_is_handed_over_where_no_loop_turns_any_more_is_written(make: Maker) -> None:
    """An agent that stops reads what its clients have written, in one go, behind its last turn."""
    rig = make(wake=Loop().call_last)
    for _ in range(3):
        rig.submit()
        rig.worker.sync(1)
        rig.until(lambda: rig.synced == [1])
        rig.synced.clear()


def test_a_chunk_is_synced_at_once_and_several_together(fs: MemoryFileSystem, make: Maker) -> None:
    rig = make(sync_interval_s=3600.0)
    rig.worker.sync(1)
    rig.until(lambda: rig.synced == [1])
    fs.calls.clear()
    for kind in ("pred", "agg", "sys"):
        rig.worker.journal_rows(kind, rig.spool.next_seq(kind), b"rows")
    rig.until(lambda: len(fs.paths("/spool/journal")) == 3 and not rig.spool.dirty)
    assert fs.calls["sync"] <= 4
    rig.fs.kill()
    spool = new_spool(fs)
    spool.open()
    assert [p.kind for p in spool.pending_journals()] == ["agg", "sys", "pred"]
    rig.worker.stop(DEADLINE_S)
    rig.spool.abandon()


def test_with_sync_always_every_batch_is_synced_at_once(make: Maker) -> None:
    rig = make(sync="always")
    rig.submit()
    rig.until(lambda: rig.durable == {"pred": 1})


def test_an_idle_worker_neither_syncs_nor_wakes_up(make: Maker) -> None:
    rig = make(sync_interval_s=0.01)
    rig.submit()
    rig.until(lambda: rig.durable == {"pred": 1})
    rig.fs.calls.clear()
    rig.wake_ups = 0
    assert not select.select([rig.worker.fileno()], [], [], 0.3)[0]
    assert rig.wake_ups == 0
    assert not rig.fs.calls
    assert rig.worker._due_s is None


def test_a_stalled_disk_stops_nobody_who_submits(make: Maker) -> None:
    rig = make()
    stall = stalled(rig)
    began = time.monotonic()
    for _ in range(100):
        rig.submit()
    rig.worker.sync(2)
    assert rig.worker.poll().synced == []
    assert rig.worker.queued_bytes > 0
    assert time.monotonic() - began < DEADLINE_S / 2, "somebody waited for the disk"
    stall.released.set()
    rig.until(lambda: rig.synced == [1, 2])
    assert rig.durable == {"pred": 101}
    assert rig.worker.queued_bytes == 0


def test_a_full_queue_refuses_and_what_was_refused_is_a_gap(
    fs: MemoryFileSystem, make: Maker
) -> None:
    rig = make(queue_size_bytes=2000)
    stall = stalled(rig)
    refused = []
    for _ in range(20):
        seq = rig.spool.next_seq("pred")
        if not rig.worker.submit_batch(batch(seq)):
            refused.append(seq)
            rig.worker.drop_batch("pred", seq, 10)
    assert 0 < len(refused) < 20
    assert rig.worker.queued_bytes <= 2000
    stall.released.set()
    rig.worker.sync(2)
    rig.until(lambda: rig.synced == [1, 2])
    assert rig.gaps == set(refused)
    assert set(seqs(fs, "pred")) == set(range(1, 22)) - set(refused)


def test_a_disk_that_hangs_does_not_fill_the_memory_with_what_was_refused(make: Maker) -> None:
    """Every minute a batch whose rows and which itself are refused, for days; and a shipper that asks for room."""
    rig = make(queue_size_bytes=2000)
    stall = stalled(rig)
    for _ in range(4):
        rig.submit()
    first, waiting = 6, 0
    for seq in range(first, first + 1000):
        assert rig.spool.next_seq("pred") == seq
        assert not rig.worker.journal_rows("pred", seq, b"x" * 2000)
        assert not rig.worker.submit_batch(batch(seq))
        rig.worker.drop_batch("pred", seq, 10)
        rig.worker.maintain()
        waiting = waiting or len(rig.worker._jobs)
        assert len(rig.worker._jobs) == waiting <= 20
    assert not rig.worker._giving_up["pred"]
    stall.released.set()
    rig.worker.sync(2)
    rig.until(lambda: 2 in rig.synced)
    assert rig.gaps == set(range(first, first + 1000))
    assert rig.lost_rows == 10 * 1000
    rig.submit()
    rig.worker.sync(3)
    rig.until(lambda: 3 in rig.synced)


def test_a_batch_that_was_taken_after_one_that_was_not_is_appended(
    fs: MemoryFileSystem, make: Maker
) -> None:
    """What is given up joins only what waits right before it of its kind."""
    rig = make(queue_size_bytes=2000)
    stall = stalled(rig)
    dropped = []
    for _ in range(3):
        dropped.append(rig.spool.next_seq("pred"))
        rig.worker.drop_batch("pred", dropped[-1], 10)
        rig.submit(rows=1)
    stall.released.set()
    rig.worker.sync(2)
    rig.until(lambda: 2 in rig.synced)
    assert rig.gaps == set(dropped)
    assert len(seqs(fs, "pred")) == 4


def test_a_batch_over_the_bound_is_taken_when_nothing_else_waits(make: Maker) -> None:
    rig = make(queue_size_bytes=100)
    rig.submit(rows=1000)
    rig.worker.sync(1)
    rig.until(lambda: rig.synced == [1])


def test_refused_rows_are_never_mistaken_for_durable_ones(make: Maker) -> None:
    rig = make(queue_size_bytes=2000)
    stall = stalled(rig)
    seq = rig.spool.next_seq("pred")
    while rig.worker.journal_rows("pred", seq, b"x" * 300):
        pass
    rig.worker.sync(2)
    stall.released.set()
    rig.until(lambda: rig.not_synced == [2])
    rig.worker.submit_batch(batch(seq))
    rig.worker.sync(3)
    rig.until(lambda: rig.synced == [1, 3])


def test_tokens_are_refused_while_the_disk_is_full_and_taken_when_it_is_not(
    fs: MemoryFileSystem, make: Maker
) -> None:
    rig = make()
    fs.capacity_bytes = sum(fs.size(path) for path in fs.paths())
    rig.submit()
    rig.worker.sync(1)
    rig.until(lambda: rig.not_synced == [1])
    assert any("ENOSPC" in failure for failure in rig.failures)
    fs.capacity_bytes = None
    rig.worker.sync(2)
    rig.until(lambda: rig.synced == [2])
    assert seqs(fs, "pred") == [1]
    assert rig.poll().failure == ""


def test_a_disk_that_fails_ends_nothing(fs: MemoryFileSystem, make: Maker) -> None:
    rig = make()
    for operation in ("write", "sync", "open"):
        fs.fail(operation, errno.EIO, times=1000)
    rig.submit()
    rig.worker.sync(1)
    rig.until(lambda: rig.not_synced == [1])
    fs.heal()
    rig.submit()
    rig.worker.sync(2)
    rig.until(lambda: rig.synced == [2])
    assert seqs(fs, "pred") == [1, 2]


def test_a_batch_that_cannot_be_encoded_is_a_gap_and_the_next_goes_on(make: Maker) -> None:
    rig = make()
    rig.submit(rows=0)
    rig.submit()
    rig.worker.sync(1)
    rig.until(lambda: rig.synced == [1])
    assert rig.gaps == {1}
    assert seqs(rig.fs, "pred") == [2]


def test_a_mistake_of_the_caller_does_not_end_the_thread(make: Maker) -> None:
    rig = make()
    rig.worker.submit_batch(batch(5))
    rig.worker.submit_batch(batch(5))
    rig.worker.submit_batch(batch(6))
    rig.worker.sync(1)
    rig.until(lambda: rig.synced == [1])
    assert seqs(rig.fs, "pred") == [5, 6]


def test_gaps_are_settled_by_the_event_batch_that_follows_their_news(
    fs: MemoryFileSystem, make: Maker
) -> None:
    rig = make()
    rig.worker.drop_batch("pred", rig.spool.next_seq("pred"), 10)
    rig.until(lambda: rig.gaps == {1})
    rig.submit("event")
    rig.worker.sync(1)
    rig.until(lambda: rig.synced == [1])
    rig.worker.stop(DEADLINE_S)
    rig.spool.close()
    spool = new_spool(fs)
    spool.open()
    assert spool.take_gaps() == []


def test_gaps_that_no_batch_carried_are_the_first_news_after_a_restart(make: Maker) -> None:
    rig = make()
    rig.worker.drop_batch("pred", rig.spool.next_seq("pred"), 10)
    rig.until(lambda: rig.gaps == {1})
    rig.worker.stop(DEADLINE_S)
    rig.spool.close()
    again = make()
    again.until(lambda: again.gaps == {1})


def test_what_was_delivered_is_freed_when_the_main_thread_asks(
    fs: MemoryFileSystem, make: Maker
) -> None:
    rig = make()
    for _ in range(60):
        rig.submit()
    rig.worker.sync(1)
    rig.until(lambda: rig.synced == [1])
    before = len(fs.listdir("/spool/3-pred"))
    cursor = Cursor(fs, DIRECTORY)
    cursor.advance("pred", 60)
    cursor.store()
    rig.worker.maintain()
    rig.until(lambda: len(fs.listdir("/spool/3-pred")) == 1)
    assert before > 1


def test_stop_writes_and_syncs_what_is_queued(fs: MemoryFileSystem, make: Maker) -> None:
    rig = make()
    for _ in range(50):
        rig.submit()
    rig.worker.sync(9)
    assert rig.worker.stop(DEADLINE_S)
    rig.poll()
    assert rig.synced == [9]
    assert seqs(fs, "pred") == list(range(1, 51))
    assert not rig.worker.submit_batch(batch(51))


def test_stop_gives_up_on_a_disk_that_hangs_within_its_deadline(fs: MemoryFileSystem) -> None:
    rig = Rig(fs)
    rig.worker.start()
    stall = stalled(rig)
    began = time.monotonic()
    assert not rig.worker.stop(0.05)
    assert not rig.spool.close()
    assert time.monotonic() - began < DEADLINE_S / 2
    stall.released.set()
    rig.worker._thread.join(DEADLINE_S)
    rig.worker.close()


def test_the_time_range_of_a_batch_is_by_its_two_clocks() -> None:
    assert wall_range_ms(batch(1, rows=3)) == (5000, 5002)
    assert wall_range_ms(batch(1)._replace(columns=[])) == (5000, 5000)


def test_the_memory_of_a_batch_is_estimated_from_its_values() -> None:
    columns = [
        Column("a", "f8", [1.0] * 10),
        Column("b", "str", ["x" * 50] * 10),
        Column("c", "v8:3", [[1.0, 2.0, 3.0]] * 10),
    ]
    assert batch_bytes(batch(1)._replace(columns=columns)) == 320 + 1080 + 1600


def test_the_event_descriptor_is_given_back(fs: MemoryFileSystem) -> None:
    rig = Rig(fs)
    fd = rig.worker.fileno()
    rig.worker.stop(1)
    rig.worker.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_events_do_not_wait_for_the_interval(make: Maker) -> None:
    rig = make()  # with an interval of an hour
    rig.submit("event")
    rig.until(lambda: rig.durable.get("event") == 1)

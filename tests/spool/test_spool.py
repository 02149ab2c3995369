"""The writer: numbers, durability, journals, the bound, and a disk that refuses."""

from __future__ import annotations

import errno
from random import Random

import pytest

from edgemon.errors import LockedError, StorageError
from edgemon.metrics import Counters
from edgemon.records import KINDS
from edgemon.spool.cursor import Cursor
from edgemon.spool.opening import PendingJournal
from edgemon.spool.writer import Spool
from tests.spool.helpers import (
    DIRECTORY,
    Settings,
    append,
    append_seq,
    covered,
    new_spool,
    read_all,
    seqs,
)
from tests.spool.memory_fs import MemoryFileSystem


@pytest.fixture
def fs() -> MemoryFileSystem:
    return MemoryFileSystem()


def opened(fs: MemoryFileSystem, settings: Settings | None = None, memory: int = 1 << 20) -> Spool:
    spool = new_spool(fs, settings, memory_size_bytes=memory)
    spool.open()
    return spool


def reopened(fs: MemoryFileSystem, settings: Settings | None = None) -> Spool:
    """After kill -9: what was written is in the page cache."""
    fs.kill()
    return opened(fs, settings)


def after_power_cut(fs: MemoryFileSystem, seed: int = 0) -> Spool:
    fs.lose_power(Random(seed))
    return opened(fs)


def acknowledge(fs: MemoryFileSystem, kind: str, seq: int) -> None:
    cursor = Cursor(fs, DIRECTORY)
    cursor.advance(kind, seq)
    cursor.store()


# -- numbers


def test_numbers_begin_at_one_and_go_on_after_every_way_to_stop(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    assert [append(spool, "pred") for _ in range(3)] == [1, 2, 3]
    assert spool.next_seq("agg") == 1
    spool.close()
    spool = opened(fs)
    assert spool.next_seq("pred") == 4
    append_seq(spool, "pred", 4)
    spool.sync()
    assert reopened(fs).next_seq("pred") == 5
    assert after_power_cut(fs).next_seq("pred") == 5


def test_numbers_go_on_when_everything_was_delivered_and_freed(fs: MemoryFileSystem) -> None:
    settings = Settings(segment_size_bytes=200)
    spool = opened(fs, settings)
    for _ in range(5):
        append(spool, "pred")
    spool.sync()
    acknowledge(fs, "pred", 5)
    spool.maintain()
    spool.close()
    for path in fs.paths(DIRECTORY):
        if "pred" in path:
            fs.unlink(path)
    fs.unlink("/spool/cursor")
    spool = opened(fs, settings)
    assert spool.next_seq("pred") == 6
    assert spool.take_gaps() == []


def test_numbers_go_on_when_everything_was_evicted(fs: MemoryFileSystem) -> None:
    settings = Settings(segment_size_bytes=400, max_size_bytes=1600)
    spool = opened(fs, settings)
    for _ in range(3):
        append(spool, "pred")
    spool.sync()
    for _ in range(10):
        append(spool, "event", size=300)
    spool.sync()
    assert seqs(fs, "pred") == []
    assert reopened(fs, settings).next_seq("pred") == 4


def test_numbers_go_on_behind_a_cursor_that_lies_ahead(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "pred")
    spool.close()
    acknowledge(fs, "pred", 50)
    spool = opened(fs)
    assert spool.next_seq("pred") == 51
    assert spool.take_gaps() == []


def test_the_stream_id_stays_until_the_spool_is_wiped(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "pred")
    first = spool.stream_id
    assert len(first) == 16
    spool.close()
    assert opened(fs).stream_id == first
    fs.kill()
    for path in fs.paths(DIRECTORY):
        fs.unlink(path)
    assert opened(fs).stream_id != first


def test_without_memory_of_used_numbers_a_new_stream_begins_and_numbers_go_on(
    fs: MemoryFileSystem,
) -> None:
    spool = opened(fs)
    first = spool.stream_id
    append(spool, "pred")
    append(spool, "pred")
    spool.close()
    fs.unlink("/spool/watermark")
    spool = new_spool(fs)
    assert spool.open().new_stream
    assert spool.stream_id != first
    assert append(spool, "pred") == 3
    spool.sync()
    assert [record.stream for record in read_all(fs, "pred")] == [first, first, spool.stream_id]


def test_a_number_out_of_order_is_refused(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append_seq(spool, "pred", 2)
    with pytest.raises(ValueError, match="pred 2 comes after 2"):
        append_seq(spool, "pred", 2)
    with pytest.raises(ValueError, match="not open any more"):
        spool.journal("pred", 1, b"rows")


def test_numbers_that_are_passed_over_become_a_gap(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append_seq(spool, "pred", 4)
    (gap,) = spool.take_gaps()
    assert (gap.from_seq, gap.to_seq, gap.reason) == (1, 3, "dropped")


def test_a_dropped_batch_is_a_gap_and_its_journal_goes(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    seq = spool.next_seq("pred")
    spool.journal("pred", seq, b"rows", rows=5)
    spool.drop("pred", seq, 5, "not_encoded")
    (gap,) = spool.take_gaps()
    assert (gap.from_seq, gap.reason, gap.rows) == (1, "not_encoded", 5)
    assert fs.listdir("/spool/journal") == []
    assert reopened(fs).pending_journals() == []


# -- durability


def test_nothing_is_handed_out_before_it_is_durable(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "pred")
    assert seqs(fs, "pred") == []
    assert spool.sync()
    assert seqs(fs, "pred") == [1]
    append(spool, "pred")
    assert seqs(fs, "pred") == [1]
    assert spool.durable_seq("pred") == 1


def test_what_was_synced_survives_every_power_cut() -> None:
    for seed in range(30):
        fs = MemoryFileSystem()
        spool = opened(fs)
        for _ in range(5):
            append(spool, "pred", size=900)  # several segments
        assert spool.sync()
        append(spool, "pred", size=900)
        after_power_cut(fs, seed)
        assert seqs(fs, "pred")[:5] == [1, 2, 3, 4, 5]


def test_a_batch_that_survived_unsynced_is_synced_before_it_is_handed_out() -> None:
    for seed in range(30):
        fs = MemoryFileSystem()
        append(opened(fs), "pred")
        reopened(fs)
        assert seqs(fs, "pred") == [1]
        after_power_cut(fs, seed)
        assert seqs(fs, "pred") == [1]


def test_a_sync_without_anything_new_touches_no_file(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "pred")
    spool.journal("agg", spool.next_seq("agg"), b"rows")
    spool.sync()
    fs.calls.clear()
    assert spool.sync()
    assert not fs.calls


def test_an_ordinary_sync_costs_one_fsync_a_file_and_little_more_than_the_batch(
    fs: MemoryFileSystem,
) -> None:
    counters = Counters()
    spool = Spool(fs, Settings(segment_size_bytes=1 << 20), counters=counters)
    spool.open()
    append(spool, "pred", size=1000)
    spool.sync()
    syncs = counters.get("edgemon_spool_fsyncs_total")
    written = counters.get("edgemon_spool_written_bytes_total")
    append(spool, "pred", size=1000)
    spool.sync()
    assert counters.get("edgemon_spool_fsyncs_total") - syncs == 1
    assert counters.get("edgemon_spool_written_bytes_total") - written < 1300


def test_a_second_writer_is_refused_and_told_who_has_it(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    with pytest.raises(LockedError, match="process"):
        opened(fs)
    spool.close()
    opened(fs)


def test_a_directory_that_cannot_be_written_is_a_storage_error(fs: MemoryFileSystem) -> None:
    fs.fail("make_dir", errno.EROFS)
    with pytest.raises(StorageError, match="/spool cannot be written: Read-only"):
        opened(fs)


# -- journals


def test_rows_of_an_open_batch_come_back_under_the_same_number() -> None:
    for seed in range(30):
        fs = MemoryFileSystem()
        spool = opened(fs)
        seq = spool.next_seq("pred")
        spool.journal("pred", seq, b"one")
        spool.journal("pred", seq, b"two")
        assert spool.sync()
        spool = after_power_cut(fs, seed)
        assert spool.pending_journals() == [PendingJournal("pred", 1, [b"one", b"two"])]
        assert spool.pending_journals() == []
        assert spool.next_seq("pred") == 2
        append_seq(spool, "pred", 1)
        spool.sync()
        assert reopened(fs).pending_journals() == []
        assert seqs(fs, "pred") == [1]


def test_a_journal_goes_on_after_a_restart(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    seq = spool.next_seq("pred")
    spool.journal("pred", seq, b"one")
    spool = reopened(fs)
    spool.pending_journals()
    spool.journal("pred", seq, b"two")
    spool.sync()
    spool = reopened(fs)
    assert spool.pending_journals() == [PendingJournal("pred", 1, [b"one", b"two"])]


def test_two_open_batches_of_a_kind_come_back_in_order(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    for payload in (b"one", b"two"):
        spool.journal("pred", spool.next_seq("pred"), payload)
    spool.sync()
    spool = reopened(fs)
    assert [(p.seq, p.payloads) for p in spool.pending_journals()] == [(1, [b"one"]), (2, [b"two"])]


def test_a_journal_stays_until_its_batch_is_durable(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    seq = spool.next_seq("pred")
    spool.journal("pred", seq, b"rows")
    spool.sync()
    append_seq(spool, "pred", seq)
    assert fs.listdir("/spool/journal") == ["pred-0000000000000001.zst"]
    spool.sync()
    assert fs.listdir("/spool/journal") == []


@pytest.mark.parametrize("freed", [False, True], ids=["waits", "was shipped and freed"])
def test_a_journal_that_outlives_its_batch_is_not_replayed(
    fs: MemoryFileSystem, freed: bool
) -> None:
    """Batch appended and synced, journal unlinked; the power goes before the unlink is durable."""
    spool = opened(fs)
    seq = spool.next_seq("pred")
    spool.journal("pred", seq, b"rows")
    spool.sync()
    journal = fs.read("/spool/journal/pred-0000000000000001.zst", 0, 999)
    append_seq(spool, "pred", seq)
    spool.sync()
    if freed:
        acknowledge(fs, "pred", seq)
        spool.close()
        fs.unlink("/spool/3-pred/0000000000000001.zst")
    fs.put("/spool/journal/pred-0000000000000001.zst", journal)
    spool = reopened(fs)
    assert spool.pending_journals() == []
    assert fs.listdir("/spool/journal") == []
    assert spool.take_gaps() == []
    assert spool.next_seq("pred") == 2


def test_a_journal_of_an_evicted_batch_is_not_replayed(fs: MemoryFileSystem) -> None:
    settings = Settings(segment_size_bytes=400, max_size_bytes=1600)
    spool = opened(fs, settings)
    seq = spool.next_seq("pred")
    spool.journal("pred", seq, b"rows")
    spool.sync()
    journal = fs.read("/spool/journal/pred-0000000000000001.zst", 0, 999)
    append_seq(spool, "pred", seq)
    spool.sync()
    for _ in range(10):
        append(spool, "event", size=300)
    spool.sync()
    assert covered(spool.take_gaps(), "pred") == {1}
    fs.put("/spool/journal/pred-0000000000000001.zst", journal)
    assert reopened(fs, settings).pending_journals() == []


def test_a_journal_rescues_a_durable_batch_whose_segment_is_lost(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    seq = spool.next_seq("pred")
    spool.journal("pred", seq, b"rows")
    spool.sync()
    journal = fs.read("/spool/journal/pred-0000000000000001.zst", 0, 999)
    append_seq(spool, "pred", seq)
    spool.close()
    fs.put("/spool/journal/pred-0000000000000001.zst", journal)
    fs.unlink("/spool/3-pred/0000000000000001.zst")
    spool = opened(fs)
    assert spool.pending_journals() == [PendingJournal("pred", 1, [b"rows"])]
    assert fs.listdir("/spool/journal") == ["pred-0000000000000001.zst"]
    assert spool.take_gaps() == []


def test_a_damaged_chunk_leaves_the_others_and_a_partial_gap(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    seq = spool.next_seq("pred")
    for payload in (b"one", b"two", b"three"):
        spool.journal("pred", seq, payload, rows=1)
    spool.close()
    path = "/spool/journal/pred-0000000000000001.zst"
    fs.flip_bit(path, 8 * (fs.size(path) // 2))
    spool = opened(fs)
    assert spool.pending_journals() == [PendingJournal("pred", 1, [b"one", b"three"])]
    (gap,) = spool.take_gaps()
    assert (gap.from_seq, gap.to_seq, gap.partial) == (1, 1, True)
    # Cut out and known: the next start says the same once more, not twice.
    spool = reopened(fs)
    assert [p.payloads for p in spool.pending_journals()] == [[b"one", b"three"]]
    assert spool.take_gaps() == [gap]


@pytest.mark.parametrize("can_cut", [True, False])
@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_chunk_that_the_disk_refused_is_written_elsewhere_and_kept_once(
    operation: str, can_cut: bool
) -> None:
    for seed in range(10):
        fs = MemoryFileSystem()
        spool = opened(fs)
        seq = spool.next_seq("pred")
        spool.journal("pred", seq, b"one")
        assert spool.sync()
        fs.fail(operation, errno.EIO, path_part="journal")
        if not can_cut:
            fs.fail("truncate", errno.EIO)
        spool.journal("pred", seq, b"two")
        assert spool.sync()
        assert spool.failure == ""
        spool = after_power_cut(fs, seed)
        assert spool.pending_journals() == [PendingJournal("pred", 1, [b"one", b"two"])]


def test_a_chunk_that_was_given_up_makes_syncs_fail_until_the_batch_is_durable(
    fs: MemoryFileSystem,
) -> None:
    spool = opened(fs)
    seq = spool.next_seq("pred")
    spool.journal("pred", seq, b"one")
    spool.give_up_journal("pred", seq)
    assert not spool.sync()
    append_seq(spool, "pred", seq)
    assert spool.sync()


# -- the bound


def used(fs: MemoryFileSystem) -> int:
    return sum(fs.size(path) for path in fs.paths(DIRECTORY) if path.endswith(".zst"))


def test_the_bound_is_never_passed_and_the_lowest_priority_goes_first(
    fs: MemoryFileSystem,
) -> None:
    settings = Settings(segment_size_bytes=2000, max_size_bytes=10_000)
    spool = opened(fs, settings)
    for kind in reversed(KINDS):
        for _ in range(4):
            append(spool, kind, size=300)
    for _ in range(20):
        append(spool, "agg", size=300)
        assert used(fs) <= settings.max_size_bytes
    spool.sync()
    assert seqs(fs, "pred") == []
    assert seqs(fs, "sys") == []
    assert seqs(fs, "event") == [1, 2, 3, 4]
    assert seqs(fs, "agg")[-1] == 24


def test_the_oldest_segment_of_a_kind_goes_first_and_its_range_is_a_gap(
    fs: MemoryFileSystem,
) -> None:
    settings = Settings(segment_size_bytes=1000, max_size_bytes=4000)
    spool = opened(fs, settings)
    for _ in range(20):
        append(spool, "pred", size=300, rows=7)
    spool.sync()
    left = seqs(fs, "pred")
    (gap,) = spool.take_gaps()
    assert left == list(range(left[0], 21))
    assert (gap.from_seq, gap.to_seq, gap.reason) == (1, left[0] - 1, "max_size")
    assert gap.rows == 7 * (left[0] - 1)
    assert gap.stream == spool.stream_id


def test_a_batch_never_evicts_a_higher_priority_but_is_lost_itself(fs: MemoryFileSystem) -> None:
    settings = Settings(segment_size_bytes=1000, max_size_bytes=4000)
    spool = opened(fs, settings)
    for _ in range(20):
        append(spool, "event", size=300)
    events = spool.usage().kinds["event"].batches
    spool.take_gaps()
    append(spool, "pred", size=900, rows=3)
    spool.sync()
    assert spool.usage().kinds["event"].batches == events
    assert [(g.kind, g.from_seq, g.rows) for g in spool.take_gaps()] == [("pred", 1, 3)]
    assert seqs(fs, "pred") == []


def test_delivered_segments_go_before_anything_is_evicted(fs: MemoryFileSystem) -> None:
    settings = Settings(segment_size_bytes=1000, max_size_bytes=4000)
    spool = opened(fs, settings)
    for _ in range(9):
        append(spool, "event", size=300)
    spool.sync()
    acknowledge(fs, "event", 9)
    for _ in range(8):
        append(spool, "pred", size=300)
    spool.sync()
    assert spool.take_gaps() == []
    assert seqs(fs, "pred") == list(range(1, 9))


def test_delivered_segments_are_freed_but_the_open_one(fs: MemoryFileSystem) -> None:
    spool = opened(fs, Settings(segment_size_bytes=1000))
    for _ in range(6):
        append(spool, "pred", size=300)
    spool.sync()
    acknowledge(fs, "pred", 6)
    assert spool.maintain() == []
    assert len(fs.listdir("/spool/3-pred")) == 1
    assert spool.usage().kinds["pred"].batches == 0


def test_a_gap_of_a_segment_that_was_delivered_in_part_has_the_rest_only(
    fs: MemoryFileSystem,
) -> None:
    settings = Settings(segment_size_bytes=2000, max_size_bytes=4000)
    spool = opened(fs, settings)
    for rows in (1, 10, 100):
        append(spool, "pred", size=300, rows=rows)
    spool.sync()
    acknowledge(fs, "pred", 1)
    for _ in range(12):
        append(spool, "event", size=300)
    (gap,) = (gap for gap in spool.take_gaps() if gap.kind == "pred")
    assert (gap.from_seq, gap.to_seq, gap.rows) == (2, 3, 110)


def test_a_gap_is_durable_before_its_data_are_gone() -> None:
    """Whenever the power goes in an eviction, each batch is there or in a gap."""
    settings = Settings(segment_size_bytes=1000, max_size_bytes=4000)
    for seed in range(40):
        fs = MemoryFileSystem()
        spool = opened(fs, settings)
        for _ in range(9):
            append(spool, "pred", size=300)
        spool.sync()
        for _ in range(5):
            append(spool, "pred", size=300)
        fs.lose_power(Random(seed))
        spool = opened(fs, settings)
        assert set(range(1, 10)) <= set(seqs(fs, "pred")) | covered(spool.take_gaps(), "pred")


def test_a_gap_comes_back_after_a_crash_until_the_batch_that_carries_it_is_durable(
    fs: MemoryFileSystem,
) -> None:
    spool = opened(fs)
    spool.drop("pred", spool.next_seq("pred"), 9, "not_encoded")
    (gap,) = spool.take_gaps()
    spool = reopened(fs)
    assert spool.take_gaps() == [gap]
    spool.append(
        "event", spool.next_seq("event"), b"x", rows=1, first_wall_ms=0, last_wall_ms=0,
        settles=[gap.id],
    )  # fmt: skip
    spool.close()
    assert opened(fs).take_gaps() == []


def test_a_smaller_bound_holds_from_the_next_start(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    for _ in range(40):
        append(spool, "pred", size=300)
    spool.close()
    spool = opened(fs, Settings(max_size_bytes=5000))
    assert used(fs) <= 5000
    assert set(seqs(fs, "pred")) | covered(spool.take_gaps(), "pred") == set(range(1, 41))


def test_usage_counts_what_waits(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    for _ in range(4):
        append(spool, "pred", rows=10)
    spool.journal("agg", spool.next_seq("agg"), b"rows")
    before = spool.usage()
    assert before.memory_bytes > 0
    spool.sync()
    acknowledge(fs, "pred", 1)
    usage = spool.usage()
    pred = usage.kinds["pred"]
    assert (pred.first_seq, pred.last_seq, pred.durable_seq, pred.acked_seq) == (1, 4, 4, 1)
    assert (pred.batches, pred.rows, pred.oldest_wall_ms) == (3, 30, 2000)
    assert usage.kinds["agg"] == (0, 0, 0, 0, 0, 0, 0, None)
    assert usage.size_bytes == pred.size_bytes + usage.journal_bytes == used(fs)
    assert (usage.segments, usage.memory_bytes, usage.failure) == (1, 0, "")


# -- a disk that refuses


def test_on_a_full_disk_old_data_make_room_for_new(fs: MemoryFileSystem) -> None:
    spool = opened(fs, Settings(segment_size_bytes=1000))
    for _ in range(9):
        append(spool, "pred", size=300)
    spool.sync()
    fs.capacity_bytes = sum(fs.size(path) for path in fs.paths())
    for _ in range(9):
        append(spool, "pred", size=300)
        assert spool.sync()
    gaps = covered(spool.take_gaps(), "pred")
    assert gaps
    assert set(seqs(fs, "pred")) == set(range(1, 19)) - gaps


def test_what_a_full_disk_does_not_take_stays_in_memory_and_is_written_later(
    fs: MemoryFileSystem,
) -> None:
    spool = opened(fs)
    fs.capacity_bytes = sum(fs.size(path) for path in fs.paths())
    append(spool, "event")
    assert not spool.sync()
    assert "ENOSPC" in spool.failure
    assert spool.usage().memory_bytes > 0
    fs.capacity_bytes = None
    assert spool.sync()
    assert spool.failure == ""
    assert seqs(fs, "event") == [1]
    assert spool.take_gaps() == []


def test_memory_is_bounded_and_the_lowest_priority_is_dropped_with_a_gap(
    fs: MemoryFileSystem,
) -> None:
    spool = opened(fs, memory=4000)
    fs.capacity_bytes = sum(fs.size(path) for path in fs.paths())
    append(spool, "event", size=300)
    for _ in range(20):
        append(spool, "pred", size=300)
        assert spool.usage().memory_bytes <= 4000
    fs.capacity_bytes = None
    spool.sync()
    (gap,) = spool.take_gaps()
    assert (gap.kind, gap.reason) == ("pred", "disk_full")
    assert seqs(fs, "event") == [1]
    assert set(seqs(fs, "pred")) == set(range(1, 21)) - covered([gap], "pred")


@pytest.mark.parametrize("operation", ["write", "sync", "sync_dir"])
def test_a_failing_segment_is_left_and_its_batches_are_written_again(operation: str) -> None:
    for seed in range(20):
        fs = MemoryFileSystem()
        spool = opened(fs)
        append(spool, "pred")
        assert spool.sync()
        append(spool, "pred")
        fs.fail(operation, errno.EIO, path_part="3-pred")
        append(spool, "pred")
        assert spool.sync()
        spool = after_power_cut(fs, seed)
        assert seqs(fs, "pred") == [1, 2, 3]
        assert spool.take_gaps() == []


def test_batches_in_doubt_that_cannot_be_cut_out_are_handed_out_once() -> None:
    fs = MemoryFileSystem()
    spool = opened(fs)
    append(spool, "pred")
    spool.sync()
    append(spool, "pred")
    append(spool, "pred")
    fs.fail("sync", errno.EIO, path_part="3-pred")
    fs.fail("truncate", errno.EIO)
    assert spool.sync()
    assert len(fs.listdir("/spool/3-pred")) == 2
    assert seqs(fs, "pred") == [1, 2, 3]
    spool = reopened(fs)
    assert seqs(fs, "pred") == [1, 2, 3]
    assert spool.usage().kinds["pred"].batches == 3


def test_a_failed_sync_at_open_is_not_taken_for_success() -> None:
    for seed in range(20):
        fs = MemoryFileSystem()
        append(opened(fs), "pred")
        fs.kill()
        fs.fail("sync", errno.EIO, path_part="3-pred")
        spool = opened(fs)
        assert seqs(fs, "pred") == []
        assert spool.sync()
        after_power_cut(fs, seed)
        assert seqs(fs, "pred") == [1]


def test_a_watermark_that_could_not_be_written_is_published_by_the_next_sync(
    fs: MemoryFileSystem,
) -> None:
    spool = opened(fs)
    append(spool, "event")
    fs.fail("write", errno.EIO, path_part="watermark")
    assert not spool.sync(), "a segment that vanished now would leave no trace"
    assert seqs(fs, "event") == []
    assert spool.dirty
    assert spool.sync()
    assert seqs(fs, "event") == [1]
    assert not spool.dirty


def test_a_disk_that_fails_altogether_is_counted_and_never_raised(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    for operation in ("write", "sync", "sync_dir", "open", "unlink", "truncate", "rename"):
        fs.fail(operation, errno.EIO, times=1000)
    for _ in range(5):
        append(spool, "pred")
        spool.journal("agg", 1, b"rows")
        assert not spool.sync()
        spool.maintain()
    assert "EIO" in spool.failure
    fs.heal()
    assert spool.sync()
    assert seqs(fs, "pred") == [1, 2, 3, 4, 5]


def test_a_full_disk_does_not_stop_a_start() -> None:
    fs = MemoryFileSystem()
    append(opened(fs), "pred")
    fs.kill()
    fs.capacity_bytes = 0
    spool = opened(fs)
    assert seqs(fs, "pred") == [1]
    append(spool, "pred")
    fs.capacity_bytes = None
    assert spool.sync()
    assert set(seqs(fs, "pred")) | covered(spool.take_gaps(), "pred") == {1, 2}

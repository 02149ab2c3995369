"""The writer: numbers and durability."""

from __future__ import annotations

import errno

import pytest

from edgemon.errors import LockedError, StorageError
from edgemon.metrics import Counters
from edgemon.spool.writer import Spool
from tests.spool.helpers import (
    DIRECTORY,
    Settings,
    acknowledge,
    after_power_cut,
    append,
    append_seq,
    new_spool,
    opened,
    read_all,
    reopened,
    seqs,
)
from tests.spool.memory_fs import MemoryFileSystem

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

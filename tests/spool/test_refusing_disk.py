"""A disk that refuses: what the spool says, keeps, and does when it works again."""

from __future__ import annotations

import errno

import pytest

from tests.spool.helpers import (
    Settings,
    after_power_cut,
    append,
    covered,
    opened,
    reopened,
    seqs,
)
from tests.spool.memory_fs import MemoryFileSystem


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

"""The bound of the spool: which segments go, in which order, and what is said of them."""

from __future__ import annotations

from random import Random

from edgemon.records import KINDS
from tests.spool.helpers import (
    DIRECTORY,
    Settings,
    acknowledge,
    append,
    covered,
    opened,
    reopened,
    seqs,
)
from tests.spool.memory_fs import MemoryFileSystem


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

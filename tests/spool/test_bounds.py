"""max_age, reserve_free and when_full: who goes, who stays, and that a gap says so."""

from __future__ import annotations

import contextlib
import errno
from random import Random

import pytest

from edgemon.spool.cursor import Cursor
from edgemon.spool.writer import Spool
from tests.spool.helpers import DIRECTORY, Settings, append, covered, new_spool, seqs
from tests.spool.helpers import opened as open_spool
from tests.spool.memory_fs import MemoryFileSystem

DAY_S = 86_400.0
NOON_MS = 1_750_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.wall_ms = NOON_MS

    def passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.wall_ms += int(1000 * seconds)


def opened(fs: MemoryFileSystem, settings: Settings, clock: Clock | None = None) -> Spool:
    clock = clock or Clock()
    spool = new_spool(fs, settings, now_s=lambda: clock.now_s, wall_ms=lambda: clock.wall_ms)
    spool.open()
    return spool


def put(spool: Spool, kind: str, clock: Clock, size: int = 300) -> int:
    from tests.spool.helpers import frame_of

    seq = spool.next_seq(kind)
    spool.append(
        kind,
        seq,
        frame_of(kind, seq, size),
        rows=10,
        first_wall_ms=clock.wall_ms - 50,
        last_wall_ms=clock.wall_ms,
    )
    spool.sync()
    return seq


def delivered(fs: MemoryFileSystem, kind: str, seq: int) -> None:
    cursor = Cursor(fs, DIRECTORY)
    cursor.advance(kind, seq)
    cursor.store()


def used(fs: MemoryFileSystem) -> int:
    return sum(fs.size(path) for path in fs.paths(DIRECTORY) if path.endswith(".zst"))


# -- max_age


def test_segments_older_than_max_age_go_and_leave_a_gap() -> None:
    fs, clock = MemoryFileSystem(), Clock()
    spool = opened(fs, Settings(segment_size_bytes=1000, max_age_s=DAY_S), clock)
    for _ in range(4):
        put(spool, "pred", clock)
    clock.passes(0.75 * DAY_S)
    for _ in range(4):
        put(spool, "pred", clock)
    clock.passes(0.5 * DAY_S)
    (gap,) = spool.maintain()
    assert (gap.kind, gap.from_seq, gap.to_seq, gap.reason, gap.rows) == (
        "pred",
        1,
        4,
        "max_age",
        40,
    )
    assert seqs(fs, "pred") == [5, 6, 7, 8]


def test_the_segment_that_is_being_written_goes_too_when_all_of_it_is_old() -> None:
    fs, clock = MemoryFileSystem(), Clock()
    spool = opened(fs, Settings(max_age_s=60.0), clock)
    put(spool, "sys", clock)
    clock.passes(61)
    assert covered(spool.maintain(), "sys") == {1}
    assert put(spool, "sys", clock) == 2
    assert seqs(fs, "sys") == [2]


def test_a_clock_that_steps_ages_nothing_that_this_run_has_written() -> None:
    fs, clock = MemoryFileSystem(), Clock()
    clock.wall_ms = 5_000  # 1970, as boards without a battery begin
    spool = opened(fs, Settings(max_age_s=DAY_S), clock)
    put(spool, "pred", clock)
    clock.wall_ms = NOON_MS
    assert spool.maintain() == []
    clock.wall_ms += int(1000 * 365 * DAY_S)
    assert spool.maintain() == []
    assert seqs(fs, "pred") == [1]


def test_after_a_restart_age_counts_from_the_wall_clock_of_the_rows() -> None:
    fs, clock = MemoryFileSystem(), Clock()
    settings = Settings(max_age_s=DAY_S)
    spool = opened(fs, settings, clock)
    put(spool, "pred", clock)
    spool.close()
    clock.wall_ms += int(1000 * 2 * DAY_S)
    clock.now_s = 1.0
    assert covered(opened(fs, settings, clock).take_gaps(), "pred") == {1}


def test_rows_without_a_plausible_date_are_kept_for_max_age_from_the_start() -> None:
    fs, clock = MemoryFileSystem(), Clock()
    settings = Settings(max_age_s=DAY_S)
    clock.wall_ms = 5_000
    spool = opened(fs, settings, clock)
    put(spool, "pred", clock)
    spool.close()
    clock.wall_ms = NOON_MS
    spool = opened(fs, settings, clock)
    assert spool.take_gaps() == []
    clock.passes(1.1 * DAY_S)
    assert covered(spool.maintain(), "pred") == {1}


def test_an_old_segment_that_was_delivered_leaves_no_gap() -> None:
    fs, clock = MemoryFileSystem(), Clock()
    spool = opened(fs, Settings(max_age_s=60.0), clock)
    put(spool, "pred", clock)
    delivered(fs, "pred", 1)
    clock.passes(61)
    assert spool.maintain() == []
    assert used(fs) == 0


def test_gaps_that_went_with_an_event_batch_are_shipped_again() -> None:
    fs, clock = MemoryFileSystem(), Clock()
    spool = opened(fs, Settings(max_age_s=60.0), clock)
    put(spool, "pred", clock)
    clock.passes(61)
    (gap,) = spool.maintain()
    seq = spool.next_seq("event")
    spool.append("event", seq, b"x" * 50, rows=1, first_wall_ms=0, last_wall_ms=0, settles=[gap.id])
    spool.sync()
    assert spool.take_gaps() == []
    clock.passes(61)  # nobody came for the event either
    assert [(g.kind, g.from_seq) for g in spool.maintain()] == [("pred", 1), ("event", 1)]


# -- reserve_free


def test_the_reserve_of_the_file_system_is_kept_free_at_the_cost_of_the_oldest_rows() -> None:
    fs = MemoryFileSystem(capacity_bytes=40_000)
    spool = opened(fs, Settings(segment_size_bytes=1000, reserve_free_bytes=20_000))
    for _ in range(100):
        append(spool, "pred", size=300)
        spool.sync()
        assert fs.free_bytes(DIRECTORY) >= 20_000
    gaps = spool.take_gaps()
    assert {gap.reason for gap in gaps} == {"reserve_free"}
    assert covered(gaps, "pred") | set(seqs(fs, "pred")) == set(range(1, 101))
    assert len(seqs(fs, "pred")) > 5


def test_events_may_use_the_reserve_when_nothing_below_them_is_left() -> None:
    fs = MemoryFileSystem(capacity_bytes=40_000)
    spool = opened(fs, Settings(segment_size_bytes=1000, reserve_free_bytes=30_000))
    for _ in range(3):
        append(spool, "pred", size=300)
    fs.put("/other", bytes(fs.free_bytes(DIRECTORY) - 10_000))
    append(spool, "event", size=300)
    append(spool, "pred", size=300)
    assert spool.sync()
    assert seqs(fs, "event") == [1]
    assert seqs(fs, "pred") == []
    assert covered(spool.take_gaps(), "pred") == {1, 2, 3, 4}


def test_the_spool_grows_again_when_others_have_made_room() -> None:
    fs = MemoryFileSystem(capacity_bytes=40_000)
    spool = opened(fs, Settings(segment_size_bytes=1000, reserve_free_bytes=20_000))
    fs.put("/other", bytes(25_000))
    append(spool, "pred")
    spool.sync()
    fs.unlink("/other")
    append(spool, "pred")
    spool.sync()
    assert seqs(fs, "pred") == [2]
    assert spool.failure == ""


# -- when_full


def test_drop_newest_keeps_the_oldest_rows_of_a_kind() -> None:
    fs = MemoryFileSystem()
    spool = opened(
        fs, Settings(segment_size_bytes=1000, max_size_bytes=4000, when_full="drop_newest")
    )
    for _ in range(30):
        append(spool, "pred", size=300)
        spool.sync()
    kept = seqs(fs, "pred")
    assert kept == list(range(1, len(kept) + 1))
    gaps = spool.take_gaps()
    assert {gap.reason for gap in gaps} == {"max_size"}
    assert covered(gaps, "pred") == set(range(len(kept) + 1, 31))
    assert used(fs) <= 4000


def test_with_drop_newest_events_still_evict_what_is_below_them() -> None:
    fs = MemoryFileSystem()
    spool = opened(
        fs, Settings(segment_size_bytes=1000, max_size_bytes=4000, when_full="drop_newest")
    )
    for _ in range(12):
        append(spool, "pred", size=300)
    append(spool, "event", size=900)
    assert spool.sync()
    assert seqs(fs, "event") == [1]
    assert 1 in covered(spool.take_gaps(), "pred")


def blocked(fs: MemoryFileSystem) -> Spool:
    """A spool that blocks, as full as an agent would make it."""
    spool = opened(fs, Settings(segment_size_bytes=1000, max_size_bytes=8000, when_full="block"))
    while spool.room_bytes():
        append(spool, "pred", size=300)
        spool.sync()
    return spool


def test_block_says_in_time_that_there_is_no_room_and_evicts_nothing() -> None:
    fs = MemoryFileSystem()
    spool = blocked(fs)
    last = append(spool, "pred", size=300)  # what was under way still fits
    assert spool.sync()
    assert seqs(fs, "pred") == list(range(1, last + 1))
    assert spool.take_gaps() == []
    assert used(fs) <= 6000


def test_with_block_predictions_that_came_too_late_wait_in_memory_until_there_is_room() -> None:
    fs = MemoryFileSystem()
    spool = blocked(fs)
    for _ in range(6):
        last = append(spool, "pred", size=300)
    assert not spool.sync()
    assert "max_size" in spool.failure
    assert spool.usage().memory_bytes
    assert spool.room_bytes() == 0
    delivered(fs, "pred", last - 6)
    spool.maintain()
    assert spool.sync()
    assert spool.failure == ""
    assert spool.room_bytes()
    assert seqs(fs, "pred", last - 6) == list(range(last - 5, last + 1))
    assert spool.take_gaps() == []


def test_with_block_events_have_room_of_their_own_and_evict_no_prediction() -> None:
    fs = MemoryFileSystem()
    spool = blocked(fs)
    predictions = seqs(fs, "pred")
    for _ in range(30):
        append(spool, "sys", size=300)
        spool.sync()
    append(spool, "event", size=800)
    assert spool.sync()
    assert seqs(fs, "event") == [1]
    assert seqs(fs, "pred") == predictions
    assert used(fs) <= 8000
    assert not covered(spool.take_gaps(), "pred")


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
def test_only_block_makes_applications_wait(when_full: str) -> None:
    spool = opened(
        MemoryFileSystem(),
        Settings(segment_size_bytes=1000, max_size_bytes=4000, when_full=when_full),
    )
    for _ in range(30):
        append(spool, "pred", size=300)
    assert spool.room_bytes() is None


def test_a_full_spool_that_blocks_is_emptied_to_the_last_segment_by_deliveries() -> None:
    fs = MemoryFileSystem()
    spool = blocked(fs)
    delivered(fs, "pred", max(seqs(fs, "pred")))
    spool.maintain()
    assert used(fs) == 0
    assert spool.room_bytes() == 5000


# -- what a person asks


def test_nothing_is_freed_until_it_is_durable_that_it_was_delivered() -> None:
    """The cursor is seen before its fsync, which fails here, and the watermark's as well."""
    for seed in range(20):
        fs = MemoryFileSystem()
        spool = open_spool(fs, Settings(segment_size_bytes=1000))
        for _ in range(20):
            append(spool, "pred")
        spool.sync()
        cursor = Cursor(fs, DIRECTORY)
        for seq in (1, 20):
            cursor.advance("pred", seq)
            fs.fail("sync", errno.EIO, path_part="cursor", skip=seq == 1)
            with contextlib.suppress(OSError):
                cursor.store()
        fs.fail("sync", errno.EIO, path_part="watermark")
        spool.maintain()
        fs.lose_power(Random(seed))
        fs.heal()
        assert open_spool(fs).take_gaps() == []


def test_the_oldest_row_that_waits_is_that_of_the_first_batch_behind_the_cursor() -> None:
    fs, clock = MemoryFileSystem(), Clock()
    spool = opened(fs, Settings(), clock)
    for _ in range(5):
        put(spool, "pred", clock)
        clock.passes(10)
    assert spool.usage().kinds["pred"].oldest_wall_ms == NOON_MS - 50
    delivered(fs, "pred", 3)
    assert spool.usage().kinds["pred"].oldest_wall_ms == NOON_MS + 30_000 - 50
    delivered(fs, "pred", 5)
    assert spool.usage().kinds["pred"].oldest_wall_ms is None

"""Journals of open batches: what a crash leaves of them, and what they cost."""

from __future__ import annotations

import errno

import pytest

from edgemon.spool.opening import PendingJournal
from tests.spool.helpers import (
    Settings,
    acknowledge,
    after_power_cut,
    append,
    append_seq,
    covered,
    opened,
    reopened,
    seqs,
)
from tests.spool.memory_fs import MemoryFileSystem


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

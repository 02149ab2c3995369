"""The small files: slots, watermark, cursor, gap ledger, quarantine; and names."""

from __future__ import annotations

import errno
from random import Random

import pytest

from edgemon.records import KINDS
from edgemon.spool import layout, slots
from edgemon.spool.cursor import SLOT_BYTES, Cursor, cursor_is_whole, read_cursor
from edgemon.spool.gaps import MAX_ENTRIES, GapLedger
from edgemon.spool.quarantine import Quarantine
from edgemon.spool.slots import SlotFile
from edgemon.spool.watermark import Watermark, nothing, pack, read_watermark, slot_file, unpack
from tests.spool.memory_fs import PAGE_BYTES, MemoryFileSystem

S = bytes(16)


@pytest.fixture
def fs() -> MemoryFileSystem:
    fs = MemoryFileSystem()
    fs.make_dir("/d")
    return fs


# -- slots


def test_the_last_stored_payload_is_loaded(fs: MemoryFileSystem) -> None:
    file = SlotFile(fs, "/d/s", 64)
    assert file.load() is None
    for payload in (b"one", b"two", b"three", b""):
        file.store(payload, sync=False)
        assert SlotFile(fs, "/d/s", 64).load() == payload


def test_a_store_after_a_load_goes_on_counting(fs: MemoryFileSystem) -> None:
    SlotFile(fs, "/d/s", 64).store(b"one", sync=True)
    again = SlotFile(fs, "/d/s", 64)
    again.load()
    again.store(b"two", sync=True)
    assert SlotFile(fs, "/d/s", 64).load() == b"two"


def test_damage_of_the_newest_slot_leaves_the_one_before(fs: MemoryFileSystem) -> None:
    file = SlotFile(fs, "/d/s", 64)
    file.store(b"one", sync=True)
    file.store(b"two", sync=True)
    fs.flip_bit("/d/s", 8 * 17)  # generation 2 lies in slot 0
    assert SlotFile(fs, "/d/s", 64).load() == b"one"


def test_every_flipped_bit_is_noticed(fs: MemoryFileSystem) -> None:
    SlotFile(fs, "/d/s", 64).store(b"only", sync=True)
    for bit in range(8 * 64, 8 * (64 + slots.OVERHEAD_BYTES + 4)):
        fs.flip_bit("/d/s", bit)
        assert SlotFile(fs, "/d/s", 64).load() is None
        fs.flip_bit("/d/s", bit)


def test_a_synced_store_survives_a_power_cut_in_the_next_one() -> None:
    for seed in range(50):
        fs = MemoryFileSystem()
        fs.make_dir("/d")
        file = SlotFile(fs, "/d/s", 64)
        file.store(b"safe", sync=True)
        file.store(b"doubt", sync=False)
        fs.lose_power(Random(seed))
        assert SlotFile(fs, "/d/s", 64).load() in (b"safe", b"doubt")


def test_a_store_after_a_sync_that_failed_spares_the_slot_that_is_durable() -> None:
    for seed in range(50):
        fs = MemoryFileSystem()
        fs.make_dir("/d")
        file = SlotFile(fs, "/d/s", PAGE_BYTES)
        safe, refused, doubt = (bytes([number]) * 2000 for number in range(3))  # sectors may tear
        file.store(safe, sync=True)
        fs.fail("sync", errno.EIO)
        with pytest.raises(OSError, match="error"):
            file.store(refused, sync=True)
        file.store(doubt, sync=False)
        fs.lose_power(Random(seed))
        assert SlotFile(fs, "/d/s", PAGE_BYTES).load() in (safe, refused, doubt)


def test_a_store_works_on_a_disk_that_is_full(fs: MemoryFileSystem) -> None:
    file = SlotFile(fs, "/d/s", 64)
    file.store(b"", sync=True)
    fs.capacity_bytes = 0
    for _ in range(3):
        file.store(b"x" * (64 - slots.OVERHEAD_BYTES), sync=True)


def test_a_payload_that_does_not_fit_is_refused(fs: MemoryFileSystem) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        SlotFile(fs, "/d/s", 64).store(b"x" * 60, sync=False)


# -- watermark


def test_a_watermark_is_read_back_by_another_process(fs: MemoryFileSystem) -> None:
    assert read_watermark(fs, "/d") is None
    mark = Watermark(dict(zip(KINDS, (1, 2, 3, 4), strict=True)), dict.fromkeys(KINDS, 2**64 - 1))
    slot_file(fs, "/d").store(pack(mark), sync=False)
    assert read_watermark(fs, "/d") == mark


def test_a_payload_of_another_length_is_no_watermark() -> None:
    assert unpack(pack(nothing()) + b"x") is None
    assert unpack(None) is None


# -- cursor


def test_a_cursor_begins_at_zero_and_is_durable_once_stored(fs: MemoryFileSystem) -> None:
    cursor = Cursor(fs, "/d")
    assert not cursor.dirty
    cursor.advance("pred", 7)
    cursor.advance("pred", 5)
    assert cursor.acked("pred") == 7
    assert read_cursor(fs, "/d")["pred"] == 0
    cursor.store()
    fs.lose_power(Random(1))
    assert read_cursor(fs, "/d") == {"event": 0, "agg": 0, "sys": 0, "pred": 7}
    assert Cursor(fs, "/d").acked("pred") == 7


def test_storing_a_cursor_that_did_not_move_touches_no_file(fs: MemoryFileSystem) -> None:
    cursor = Cursor(fs, "/d")
    cursor.advance("agg", 1)
    cursor.store()
    fs.calls.clear()
    cursor.advance("agg", 1)
    cursor.store()
    assert not fs.calls


def test_a_damaged_cursor_counts_as_the_one_before_and_then_as_zeros(
    fs: MemoryFileSystem,
) -> None:
    cursor = Cursor(fs, "/d")
    for seq in (6, 7):
        cursor.advance("pred", seq)
        cursor.store()
    newest, older = 0, 8 * SLOT_BYTES
    for bit in range(8 * (slots.OVERHEAD_BYTES + 8 * len(KINDS))):
        fs.flip_bit("/d/cursor", newest + bit)
        assert read_cursor(fs, "/d")["pred"] == 6
        fs.flip_bit("/d/cursor", older + bit)
        assert read_cursor(fs, "/d") == dict.fromkeys(KINDS, 0)
        assert not cursor_is_whole(fs, "/d")
        fs.flip_bit("/d/cursor", newest + bit)
        assert read_cursor(fs, "/d")["pred"] == 7
        fs.flip_bit("/d/cursor", older + bit)


def test_storing_a_cursor_costs_one_sync_and_no_space(fs: MemoryFileSystem) -> None:
    cursor = Cursor(fs, "/d")
    cursor.advance("pred", 1)
    cursor.store()
    fs.capacity_bytes = 0
    fs.calls.clear()
    cursor.advance("pred", 2)
    cursor.store()
    assert fs.calls["sync"] == 1
    assert not fs.calls["sync_dir"]
    fs.lose_power(Random(1))
    assert read_cursor(fs, "/d")["pred"] == 2


def test_a_cursor_that_we_may_not_write_is_replaced(fs: MemoryFileSystem) -> None:
    """Root has put a copy of the spool back: the folder is ours, the file is not."""
    cursor = Cursor(fs, "/d")
    cursor.advance("pred", 1)
    cursor.store()
    again = Cursor(fs, "/d")
    again.advance("pred", 2)
    fs.fail("open", errno.EACCES)
    again.store()
    assert read_cursor(fs, "/d")["pred"] == 2


def test_a_cursor_that_was_removed_or_replaced_under_us_is_written_anew(
    fs: MemoryFileSystem,
) -> None:
    cursor, another = Cursor(fs, "/d"), Cursor(fs, "/d")
    cursor.advance("pred", 1)
    cursor.store()
    fs.unlink("/d/cursor")
    cursor.advance("pred", 2)
    cursor.store()
    assert read_cursor(fs, "/d")["pred"] == 2
    fs.unlink("/d/cursor")
    for seq in range(1, 6):  # of another shipper, and written more often than ours
        another.advance("agg", seq)
        another.store()
    cursor.advance("pred", 3)
    cursor.store()
    assert read_cursor(fs, "/d") == {"event": 0, "agg": 0, "sys": 0, "pred": 3}


def test_a_store_that_fails_leaves_the_old_cursor_and_can_be_tried_again(
    fs: MemoryFileSystem,
) -> None:
    cursor = Cursor(fs, "/d")
    cursor.advance("pred", 1)
    cursor.store()
    cursor.advance("pred", 2)
    fs.fail("write", errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        cursor.store()
    assert read_cursor(fs, "/d")["pred"] == 1
    cursor.store()
    assert read_cursor(fs, "/d")["pred"] == 2


# -- gaps


def test_gaps_come_out_once_and_again_after_a_restart_until_they_are_settled(
    fs: MemoryFileSystem,
) -> None:
    ledger = GapLedger(fs, "/d")
    ledger.load()
    ledger.add(S, "pred", 3, 5, "max_size", 30)
    ledger.save(sync=True)
    (gap,) = ledger.take()
    assert gap[1:] == (S, "pred", 3, 5, "max_size", 30, False)
    assert ledger.take() == []
    again = GapLedger(fs, "/d")
    again.load()
    assert again.take() == [gap]
    again.settle([gap.id])
    again.save(sync=True)
    last = GapLedger(fs, "/d")
    last.load()
    assert last.take() == []
    assert last.ranges("pred") == [(3, 5)]


def test_a_gap_grows_while_nobody_has_seen_it(fs: MemoryFileSystem) -> None:
    ledger = GapLedger(fs, "/d")
    ledger.add(S, "pred", 1, 2, "max_size", 20)
    ledger.add(S, "agg", 9, 9, "max_size", 1)
    ledger.add(S, "pred", 3, 4, "max_size", 20)
    assert [gap[2:6] for gap in ledger.take()] == [
        ("pred", 1, 4, "max_size"),
        ("agg", 9, 9, "max_size"),
    ]
    ledger.add(S, "pred", 5, 5, "max_size", 20)
    assert [gap[2:5] for gap in ledger.take()] == [("pred", 5, 5)]


def test_settled_neighbours_become_one_entry(fs: MemoryFileSystem) -> None:
    ledger = GapLedger(fs, "/d")
    for seq in range(1, 500):
        ledger.add(S, "pred", seq, seq, "max_size", 1)
        ledger.settle([gap.id for gap in ledger.take()])
    assert ledger.ranges("pred") == [(1, 499)]


def test_settled_gaps_below_what_was_freed_are_forgotten(fs: MemoryFileSystem) -> None:
    ledger = GapLedger(fs, "/d")
    for seq in (1, 5):
        ledger.add(S, "pred", seq, seq, "damaged", 1)
    first, _ = ledger.take()
    ledger.settle([first.id])
    ledger.forget(dict.fromkeys(KINDS, 5))
    assert ledger.ranges("pred") == [(5, 5)]


def test_the_ledger_is_bounded_and_forgets_no_number(fs: MemoryFileSystem) -> None:
    ledger = GapLedger(fs, "/d")
    lost = list(range(1, 1000, 3))
    for seq in lost:
        ledger.add(S, "pred", seq, seq, "damaged", 1)
        ledger.save(sync=True)
    assert len(ledger.ranges("pred")) == MAX_ENTRIES
    covered = {s for first, last in ledger.ranges("pred") for s in range(first, last + 1)}
    assert covered.issuperset(lost)
    assert sum(gap.rows for gap in ledger.take()) == len(lost)


def test_a_handed_back_gap_comes_out_again(fs: MemoryFileSystem) -> None:
    ledger = GapLedger(fs, "/d")
    ledger.add(S, "pred", 1, 1, "damaged", 1)
    (gap,) = ledger.take()
    ledger.hand_back([gap.id])
    assert ledger.take() == [gap]


def test_a_gap_is_told_as_an_event() -> None:
    fs = MemoryFileSystem()
    ledger = GapLedger(fs, "/d")
    ledger.add(b"\x01" * 16, "pred", 3, 5, "max_size", 30)
    event = ledger.take()[0].as_event()
    assert (event.type, event.severity) == ("gap", "warning")
    assert event.message == "batch pred 3–5 will not arrive (max_size, 30 rows)"
    assert event.data == {
        "stream": "01" * 16,
        "kind": "pred",
        "from_seq": 3,
        "to_seq": 5,
        "reason": "max_size",
        "rows": 30,
        "partial": False,
    }


# -- quarantine


def test_the_quarantine_lets_the_oldest_go(fs: MemoryFileSystem) -> None:
    quarantine = Quarantine(fs, "/d", 1000)
    for number in range(5):
        data = bytes([number]) * 400
        kept = quarantine.keep(f"s{number}", lambda o, n, d=data: d[o : o + n], 0, 400)  # type: ignore[misc]
        assert kept == 400
        assert quarantine.size_bytes() <= 1000
    assert fs.listdir("/d/quarantine") == ["00000004-s3-0.bin", "00000005-s4-0.bin"]
    assert fs.read("/d/quarantine/00000005-s4-0.bin", 0, 999) == b"\x04" * 400


def test_the_quarantine_cuts_what_alone_is_too_much(fs: MemoryFileSystem) -> None:
    quarantine = Quarantine(fs, "/d", 100)
    assert quarantine.keep("s", lambda _, n: bytes(n), 7, 5000) == 100
    assert quarantine.size_bytes() == 100


def test_a_full_disk_does_not_stop_the_quarantine(fs: MemoryFileSystem) -> None:
    fs.capacity_bytes = 10
    assert Quarantine(fs, "/d", 100).keep("s", lambda _, n: bytes(n), 0, 50) == 0


# -- names


@pytest.mark.parametrize(("seq", "copy"), [(1, 0), (2**64 - 1, 0), (255, 1), (255, 0x1F)])
def test_segment_and_journal_names_come_back(seq: int, copy: int) -> None:
    assert layout.parse_segment_name(layout.segment_name(seq, copy)) == (seq, copy)
    assert layout.parse_journal_name(layout.journal_name("agg", seq, copy)) == ("agg", seq, copy)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x.zst",
        "0000000000000001",
        "0000000000000001.zst.mending",
        "000000000000000G.zst",
        "0000000000000001-.zst",
        "0000000000000001-x.zst",
        "00000000000000001.zst",
        "0000000000000001-123456789.zst",
        "+000000000000001.zst",
    ],
)
def test_foreign_names_are_no_segments(name: str) -> None:
    assert layout.parse_segment_name(name) is None
    assert layout.parse_journal_name("pred-" + name) is None
    assert layout.parse_journal_name("other-0000000000000001.zst") is None

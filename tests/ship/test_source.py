"""The shipper's view of a real spool: a cursor that survives, and a spool that is replaced under it."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgemon.records import KINDS
from edgemon.ship.refused import Note
from edgemon.ship.sink import Parcel
from edgemon.ship.source import SpoolSource
from edgemon.spool.fs import OsFileSystem
from tests.ship.rig import Feeder, make_config

LIMIT = 1 << 20


def source_of(feeder: Feeder) -> SpoolSource:
    return SpoolSource(OsFileSystem(), feeder.directory, LIMIT)


def wipe(feeder: Feeder, home: Path) -> Feeder:
    """Remove the spool and make another one, as after a person cleaned up."""
    feeder.close()
    shutil.rmtree(feeder.directory)
    return Feeder(make_config(home))


def test_batches_come_in_order_with_the_stream_that_numbered_them(tmp_path: Path) -> None:
    feeder = Feeder(make_config(tmp_path))
    feeder.add("pred", 3)
    source = source_of(feeder)
    found = [source.next("pred", seq) for seq in range(3)]
    assert found == [
        Parcel("pred", seq, feeder.stream, feeder.sent["pred", seq], 0, 3) for seq in (1, 2, 3)
    ]
    assert source.next("pred", 3) is None
    assert source.next("event", 0) is None
    feeder.close()


def test_the_cursor_is_found_again(tmp_path: Path) -> None:
    feeder = Feeder(make_config(tmp_path))
    feeder.add("pred", 3)
    source = source_of(feeder)
    source.advance("pred", 2)
    source.store()
    assert source_of(feeder).acked() == {"event": 0, "agg": 0, "sys": 0, "pred": 2}
    feeder.close()


def test_the_agent_is_told_when_a_segment_can_be_freed_and_not_for_each_batch(
    tmp_path: Path,
) -> None:
    feeder = Feeder(
        make_config(tmp_path, spool='segment_size = "64KiB"', batch='max_bytes = "32KiB"')
    )
    feeder.add("pred", 12, noise=20_000)
    segments = sorted(path.stem for path in (tmp_path / "spool" / "3-pred").iterdir())
    firsts = [int(name, 16) for name in segments]
    assert len(firsts) >= 4
    told: list[int] = []
    acked = 0
    source = SpoolSource(OsFileSystem(), feeder.directory, LIMIT, lambda: told.append(acked))
    for seq in range(1, 13):
        assert source.next("pred", seq - 1) is not None
    for acked in range(1, 13):
        source.advance("pred", acked)
        source.store()
    assert told == [first - 1 for first in firsts[1:]]
    feeder.close()


def test_a_spool_made_anew_is_noticed_and_read_from_its_beginning(tmp_path: Path) -> None:
    feeder = Feeder(make_config(tmp_path))
    feeder.add("pred", 3)
    source = source_of(feeder)
    source.advance("pred", 3)
    source.store()
    assert not source.restarted()
    feeder = wipe(feeder, tmp_path)
    feeder.add("pred", 1)
    assert source.restarted()
    assert source.acked() == dict.fromkeys(KINDS, 0)
    parcel = source.next("pred", 0)
    assert parcel is not None and parcel.stream == feeder.stream
    assert not source.restarted()
    feeder.close()


def test_the_old_cursor_is_never_stored_into_a_new_spool(tmp_path: Path) -> None:
    feeder = Feeder(make_config(tmp_path))
    feeder.add("pred", 3)
    source = source_of(feeder)
    source.advance("pred", 3)
    feeder = wipe(feeder, tmp_path)
    source.store()
    assert feeder.cursor()["pred"] == 0
    feeder.close()


def test_a_spool_that_does_not_exist_yet_is_empty_and_found_once_it_does(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    source = SpoolSource(OsFileSystem(), config.spool.dir, LIMIT)
    assert source.stream() == ""
    assert all(source.next(kind, 0) is None for kind in KINDS)
    assert not source.restarted()
    feeder = Feeder(config)
    feeder.add("agg")
    assert source.restarted()
    parcel = source.next("agg", 0)
    assert parcel is not None and parcel.frame == feeder.sent["agg", 1]
    feeder.close()


def test_a_refused_batch_is_kept_whole_in_the_quarantine(tmp_path: Path) -> None:
    feeder = Feeder(make_config(tmp_path))
    feeder.add("pred")
    source = source_of(feeder)
    parcel = source.next("pred", 0)
    assert parcel is not None and source.quarantine(parcel, "no")
    (kept,) = (tmp_path / "spool" / "quarantine").iterdir()
    assert kept.read_bytes() == parcel.frame
    assert f"refused-pred-{feeder.stream}-0000000000000001" in kept.name
    feeder.close()


def test_a_batch_larger_than_the_quarantine_is_said_not_to_be_kept(tmp_path: Path) -> None:
    feeder = Feeder(make_config(tmp_path))
    feeder.add("pred", noise=10_000)
    source = SpoolSource(OsFileSystem(), feeder.directory, 1_000)
    parcel = source.next("pred", 0)
    assert parcel is not None and not source.quarantine(parcel, "no")
    feeder.close()


def test_a_batch_that_cannot_be_read_is_noted_before_it_is_passed(tmp_path: Path) -> None:
    feeder = Feeder(make_config(tmp_path))
    feeder.add("pred", 6)
    for seq in (3, 4):
        feeder.damage("pred", seq)
    notes: list[Note] = []
    may_note = False

    def note(one: Note) -> bool:
        if may_note:
            notes.append(one)
        return may_note

    source = SpoolSource(OsFileSystem(), feeder.directory, LIMIT, note=note)
    assert source.next("pred", 1) is not None
    assert source.next("pred", 2) is None, "it is passed only when that is written down"
    may_note = True
    parcel = source.next("pred", 2)
    assert parcel is not None and parcel.seq == 5
    assert source.next("pred", 2) == parcel
    assert [(one.kind, one.from_seq, one.to_seq, one.what) for one in notes] == [
        ("pred", 3, 4, "damaged")
    ]
    feeder.close()


def test_what_the_agent_knows_to_be_lost_or_delivered_is_not_noted(tmp_path: Path) -> None:
    feeder = Feeder(make_config(tmp_path))
    feeder.add("pred", 2)
    feeder.drop("pred")
    feeder.add("pred", 1)
    notes: list[Note] = []

    def note(one: Note) -> bool:
        notes.append(one)
        return True

    source = SpoolSource(OsFileSystem(), feeder.directory, LIMIT, note=note)
    parcel = source.next("pred", 2)
    assert parcel is not None and (parcel.seq, notes) == (4, [])
    # A cursor that was lost: what was delivered is not in the spool any more.
    source.advance("pred", 4)
    source.store()
    feeder.close()
    feeder = Feeder(make_config(tmp_path))  # it frees what was delivered
    feeder.add("pred", 1)
    (Path(feeder.directory) / "cursor").unlink()
    source = SpoolSource(OsFileSystem(), feeder.directory, LIMIT, note=note)
    parcel = source.next("pred", 0)
    assert parcel is not None and notes == []
    feeder.close()

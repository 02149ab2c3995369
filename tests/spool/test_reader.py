"""SpoolReader and Cursor beside a writer that appends, frees, evicts and mends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgemon.spool.cursor import Cursor
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.reader import SpoolReader
from tests.spool.helpers import (
    DIRECTORY,
    Settings,
    append,
    append_seq,
    name_in,
    opened,
    seqs,
)
from tests.spool.memory_fs import MemoryFileSystem


def following(reader: SpoolReader, after_seq: int = 0) -> list[int]:
    found = []
    while (record := reader.next("pred", after_seq)) is not None:
        assert name_in(record.frame) == f"pred {record.seq}"
        after_seq = record.seq
        found.append(after_seq)
    return found


def test_a_reader_may_come_before_the_spool(fs: MemoryFileSystem) -> None:
    reader = SpoolReader(fs, DIRECTORY)
    assert reader.next("pred", 0) is None
    spool = opened(fs)
    append(spool, "pred")
    spool.sync()
    assert following(reader) == [1]


def test_a_record_says_all_that_was_appended(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "pred", rows=12)
    spool.sync()
    record = SpoolReader(fs, DIRECTORY).next("pred", 0)
    assert record is not None
    assert record[:6] == ("pred", 1, spool.stream_id, 12, 1000, 1999)


def test_reading_begins_anywhere(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    for _ in range(30):
        append(spool, "pred", size=500)
    spool.sync()
    for after in (0, 1, 7, 15, 29, 30, 99):
        assert seqs(fs, "pred", after) == list(range(after + 1, 31))


def test_a_reader_follows_the_writer_over_segments(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    reader = SpoolReader(fs, DIRECTORY)
    found: list[int] = []
    for _ in range(40):
        append(spool, "pred", size=500)
        spool.sync()
        found += following(reader, found[-1] if found else 0)
    assert found == list(range(1, 41))


def test_reading_on_costs_no_search(fs: MemoryFileSystem) -> None:
    spool = opened(fs, Settings(segment_size_bytes=1 << 20, max_size_bytes=1 << 22))
    for _ in range(200):
        append(spool, "pred", size=500)
    spool.sync()
    reader = SpoolReader(fs, DIRECTORY)
    reader.next("pred", 0)
    fs.calls.clear()
    assert following(reader, 1) == list(range(2, 201))
    assert fs.calls["read"] <= 2 * 200 + 2
    assert fs.calls["listdir"] == 0


def test_kinds_do_not_mix(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    for kind in ("pred", "event", "pred", "agg"):
        append(spool, kind)
    spool.sync()
    assert [seqs(fs, kind) for kind in ("event", "agg", "sys", "pred")] == [[1], [1], [], [1, 2]]


def test_segments_that_vanish_are_stepped_over(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    for _ in range(30):
        append(spool, "pred", size=500)
    spool.sync()
    reader = SpoolReader(fs, DIRECTORY)
    first = reader.next("pred", 0)
    assert first is not None and first.seq == 1
    for path in fs.paths("/spool/3-pred")[:2]:
        fs.unlink(path)
    rest = following(reader, 1)
    assert rest == list(range(rest[0], 31))
    assert rest[0] > 2


def test_damage_is_skipped_and_counted(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    for _ in range(5):
        append(spool, "pred")
    spool.sync()
    path = fs.paths("/spool/3-pred")[0]
    record = fs.size(path) // 5
    fs.flip_bit(path, 8 * (record + 10))
    fs.flip_bit(path, 8 * (3 * record + 100))
    reader = SpoolReader(fs, DIRECTORY)
    assert following(reader) == [1, 3, 5]
    assert reader.damaged_bytes == 2 * record


def test_behind_a_loss_nothing_is_handed_out_that_is_not_durable(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "pred")
    spool.sync()
    append(spool, "pred")
    fs.flip_bit(fs.paths("/spool/3-pred")[0], 100)
    assert seqs(fs, "pred") == []
    spool.sync()
    assert seqs(fs, "pred") == [2]


def test_damage_at_the_end_gives_nothing_and_harms_nothing(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "pred")
    append(spool, "pred")
    spool.sync()
    path = fs.paths("/spool/3-pred")[0]
    fs.flip_bit(path, 8 * (fs.size(path) - 1))
    reader = SpoolReader(fs, DIRECTORY)
    assert following(reader) == [1]
    append_seq(spool, "pred", 3)
    spool.sync()
    assert following(reader, 1) == [3]


def test_a_reader_finds_its_place_in_a_segment_that_was_mended(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    for _ in range(6):
        append(spool, "pred")
    spool.sync()
    reader = SpoolReader(fs, DIRECTORY)
    reader.next("pred", 2)
    path = fs.paths("/spool/3-pred")[0]
    fs.flip_bit(path, 100)
    fs.kill()
    opened(fs)
    assert following(reader, 3) == [4, 5, 6]


def test_a_reader_skips_nothing_where_a_mended_segment_has_another_batch_at_its_place(
    fs: MemoryFileSystem,
) -> None:
    spool = opened(fs)
    for _ in range(6):
        append(spool, "pred")  # all of one size
    spool.sync()
    reader = SpoolReader(fs, DIRECTORY)
    assert following(reader, 0)[:3] == [1, 2, 3]
    reader.next("pred", 2)
    fs.flip_bit(fs.paths("/spool/3-pred")[0], 8 * 70)
    fs.kill()
    opened(fs)
    assert following(reader, 3) == [4, 5, 6]


def test_a_lost_watermark_hands_out_nothing_new_and_nothing_wrong(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "pred")
    spool.sync()
    fs.unlink("/spool/watermark")
    assert seqs(fs, "pred") == []


def test_segments_are_listed_with_what_they_hold(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "event", rows=1)
    for _ in range(3):
        append(spool, "pred", rows=10, size=1500)
    spool.sync()
    infos = list(SpoolReader(fs, DIRECTORY).segments(frames=True))
    assert [(i.kind, i.first_seq, i.last_seq, i.batches, i.rows) for i in infos] == [
        ("event", 1, 1, 1, 1),
        ("pred", 1, 2, 2, 20),
        ("pred", 3, 3, 1, 10),
    ]
    assert [(i.first_wall_ms, i.last_wall_ms) for i in infos[1:]] == [(1000, 2999), (3000, 3999)]
    assert all(i.damaged_bytes == 0 and i.size_bytes == fs.size(i.path) for i in infos)


def test_a_record_that_is_being_written_is_no_damage(fs: MemoryFileSystem) -> None:
    spool = opened(fs)
    append(spool, "pred")
    spool.sync()
    path = fs.paths("/spool/3-pred")[0]
    fs.put(path, fs.read(path, 0, 9999) + fs.read(path, 0, 50))
    (info,) = SpoolReader(fs, DIRECTORY).segments()
    assert (info.batches, info.damaged_bytes) == (1, 0)


WRITER = """
import sys
from edgemon.spool.fs import OsFileSystem
from tests.spool.helpers import Settings, append, new_spool
where = Settings(dir=sys.argv[1], segment_size_bytes=20_000, max_size_bytes=1 << 22)
spool = new_spool(OsFileSystem(), where)
spool.open()
for _ in range(300):
    append(spool, "pred", size=700)
    assert spool.sync()
    gaps = spool.maintain()
    assert not gaps, gaps
spool.close()
print("done", flush=True)
"""


def test_a_shipper_in_another_process_gets_every_batch_once_while_segments_are_freed(
    tmp_path: Path,
) -> None:
    directory = str(tmp_path / "spool")
    fs = OsFileSystem()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, directory], stdout=subprocess.PIPE, text=True
    ) as writer:
        reader = SpoolReader(fs, directory)
        cursor: Cursor | None = None
        found: list[int] = []
        ended = False
        while True:
            record = reader.next("pred", found[-1] if found else 0)
            if record is not None:
                assert name_in(record.frame) == f"pred {record.seq}"
                found.append(record.seq)
                cursor = cursor or Cursor(fs, directory)
                cursor.advance("pred", record.seq)
                if record.seq % 10 == 0:
                    cursor.store()
            elif ended:
                break
            else:
                ended = writer.poll() is not None
        assert writer.returncode == 0
    assert found == list(range(1, 301))
    assert reader.damaged_bytes == 0
    assert len(fs.listdir(directory + "/3-pred")) < 10

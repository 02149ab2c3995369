"""Open on whatever lies there: torn, damaged, missing, foreign and unreadable files."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon.spool.found import Recovery
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.gaps import missing_ranges
from edgemon.spool.writer import Spool
from tests.spool.helpers import (
    Settings,
    append,
    covered,
    new_spool,
    seqs,
)
from tests.spool.memory_fs import MemoryFileSystem

FIRST = "/spool/3-pred/0000000000000001.zst"


def filled(
    batches: int = 5, *, size: int = 100, settings: Settings | None = None
) -> MemoryFileSystem:
    """A spool that was stopped cleanly."""
    fs = MemoryFileSystem()
    spool = new_spool(fs, settings)
    spool.open()
    for _ in range(batches):
        append(spool, "pred", size=size, rows=10)
    spool.close()
    return fs


def recovered(fs: MemoryFileSystem, settings: Settings | None = None) -> tuple[Spool, Recovery]:
    spool = new_spool(fs, settings)
    return spool, spool.open()


def test_after_a_clean_stop_there_is_nothing_to_report() -> None:
    spool, report = recovered(filled())
    assert (report.segments, report.batches) == (1, 5)
    assert not report.found_damage
    assert report.events() == []
    assert spool.take_gaps() == []


def test_a_torn_tail_is_cut_off_and_kept_in_quarantine() -> None:
    fs = filled()
    whole = fs.read(FIRST, 0, 1 << 20)
    fs.put(FIRST, whole[:-30])
    spool, report = recovered(fs)
    record = len(whole) // 5
    assert report.torn_bytes == report.quarantined_bytes == record - 30
    assert fs.read(FIRST, 0, 1 << 20) == whole[: 4 * record]
    (kept,) = fs.paths("/spool/quarantine")
    assert fs.read(kept, 0, 1 << 20) == whole[4 * record : -30]
    (gap,) = spool.take_gaps()
    assert (gap.from_seq, gap.to_seq, gap.reason, gap.rows) == (5, 5, "damaged", 10)
    assert append(spool, "pred") == 6
    spool.sync()
    assert seqs(fs, "pred") == [1, 2, 3, 4, 6]


def test_a_torn_tail_without_a_readable_header_costs_one_number() -> None:
    """Somebody may have seen it: the number is never used for other rows."""
    fs = filled()
    fs.put(FIRST, fs.read(FIRST, 0, 1 << 20) + b"\0" * 40)
    spool, report = recovered(fs)
    assert report.torn_bytes == 40
    assert covered(spool.take_gaps(), "pred") == {6}
    assert append(spool, "pred") == 7


def test_damage_in_the_middle_is_cut_out_once_and_becomes_a_gap() -> None:
    fs = filled()
    fs.flip_bit(FIRST, 8 * (2 * fs.size(FIRST) // 5 + 100))
    spool, report = recovered(fs)
    assert (report.damaged_runs, report.gaps) == (1, 1)
    assert (
        report.quarantined_bytes
        == report.damaged_bytes
        == fs.size(fs.paths("/spool/quarantine")[0])
    )
    (event,) = report.events()
    assert (event.type, event.severity) == ("spool.mended", "warning")
    (gap,) = spool.take_gaps()
    assert (gap.from_seq, gap.to_seq, gap.reason, gap.rows) == (3, 3, "damaged", 10)
    assert seqs(fs, "pred") == [1, 2, 4, 5]
    fs.kill()
    spool, report = recovered(fs)
    assert not report.found_damage
    assert spool.take_gaps() == [gap]
    assert len(fs.paths("/spool/quarantine")) == 1


def test_what_is_left_of_a_mended_segment_survives_the_next_power_cut() -> None:
    for seed in range(20):
        fs = filled()
        fs.flip_bit(FIRST, 8 * (2 * fs.size(FIRST) // 5 + 100))
        recovered(fs)
        fs.lose_power(Random(seed))
        recovered(fs)
        assert seqs(fs, "pred") == [1, 2, 4, 5]


def test_a_segment_that_is_all_damage_goes_to_quarantine_and_into_a_gap() -> None:
    fs = filled(12, size=1500)
    path = fs.paths("/spool/3-pred")[1]
    size = fs.size(path)
    fs.put(path, Random(1).randbytes(size))
    spool, report = recovered(fs)
    assert report.torn_bytes == report.quarantined_bytes == size
    assert path not in fs.paths()
    gaps = covered(spool.take_gaps(), "pred")
    assert set(seqs(fs, "pred")) == set(range(1, 13)) - gaps
    assert len(gaps) == 2


def test_the_newest_segment_may_be_all_damage() -> None:
    fs = filled(12, size=1500)
    path = fs.paths("/spool/3-pred")[-1]
    fs.put(path, b"\xff" * 5000)
    spool, _ = recovered(fs)
    gaps = covered(spool.take_gaps(), "pred")
    assert set(seqs(fs, "pred")) == set(range(1, 13)) - gaps
    assert append(spool, "pred") == 13


def test_a_segment_that_somebody_deleted_is_a_gap() -> None:
    fs = filled(12, size=1500)
    fs.unlink(fs.paths("/spool/3-pred")[2])
    spool, report = recovered(fs)
    assert not report.found_damage
    (gap,) = spool.take_gaps()
    assert gap.reason == "missing"
    assert set(seqs(fs, "pred")) == set(range(1, 13)) - covered([gap], "pred")


def test_foreign_and_empty_files_are_tolerated() -> None:
    fs = filled()
    foreign = ["/spool/3-pred/notes.txt", "/spool/journal/x.zst", "/spool/3-pred/0001.zst"]
    for path in foreign:
        fs.put(path, b"not ours")
    fs.put("/spool/3-pred/00000000000000ff.zst", b"")
    spool, report = recovered(fs)
    assert report.foreign_files == 3
    assert set(foreign) <= set(fs.paths())
    assert "/spool/3-pred/00000000000000ff.zst" not in fs.paths()
    assert append(spool, "pred") == 6
    spool.sync()
    assert seqs(fs, "pred") == [1, 2, 3, 4, 5, 6]


def test_a_damaged_version_does_not_hide_the_batches_behind_it() -> None:
    fs = filled()
    fs.flip_bit(FIRST, 8 * 12)
    spool, report = recovered(fs)
    assert report.foreign_files == 0
    assert covered(spool.take_gaps(), "pred") == {1}
    assert seqs(fs, "pred")[0] == 2


def test_a_segment_of_a_newer_version_is_left_alone() -> None:
    fs = filled()
    data = fs.read(FIRST, 0, 1 << 20).replace(b"EMSP\x01", b"EMSP\x02")
    fs.put("/spool/3-pred/0000000000000006.zst", data)
    spool, report = recovered(fs)
    assert report.foreign_files == 1
    append(spool, "pred")
    spool.sync()
    assert fs.read("/spool/3-pred/0000000000000006.zst", 0, 1 << 20) == bytes(data)
    assert seqs(fs, "pred") == [1, 2, 3, 4, 5, 6]


def test_a_segment_of_another_kind_in_the_wrong_folder_is_quarantined() -> None:
    fs = filled()
    fs.put("/spool/1-agg/0000000000000001.zst", fs.read(FIRST, 0, 1 << 20))
    _, report = recovered(fs)
    assert report.quarantined_bytes > 0
    assert seqs(fs, "agg") == []
    assert seqs(fs, "pred") == [1, 2, 3, 4, 5]


def test_a_renamed_segment_gets_its_name_back() -> None:
    fs = filled(8, size=1500)
    last = fs.paths("/spool/3-pred")[-1]
    fs.rename(last, "/spool/3-pred/00000000000000ff.zst")
    spool, _ = recovered(fs)
    assert last in fs.paths()
    assert append(spool, "pred") == 9
    spool.sync()
    assert seqs(fs, "pred") == list(range(1, 10))


def test_a_copy_of_a_segment_is_handed_out_once() -> None:
    fs = filled(8, size=1500)
    first, second, *_ = fs.paths("/spool/3-pred")
    fs.put("/spool/3-pred/0000000000000001-1.zst", fs.read(first, 0, 1 << 20))
    fs.put(second.replace(".zst", "-a.zst"), fs.read(second, 0, 1 << 20))
    spool, _ = recovered(fs)
    assert seqs(fs, "pred") == list(range(1, 9))
    assert spool.usage().kinds["pred"].batches == 8


def test_sectors_that_cannot_be_read_cost_what_they_touch_only() -> None:
    fs = filled(4, size=9000, settings=Settings(segment_size_bytes=1 << 20))

    real_read = fs.read

    def read(path: str, offset: int, length: int) -> bytes:
        if path == FIRST and offset < 16_384 and offset + length > 12_288:
            raise OSError(errno.EIO, "Input/output error", path)
        return real_read(path, offset, length)

    fs.read = read  # type: ignore[method-assign]
    spool, _ = recovered(fs, Settings(segment_size_bytes=1 << 20))
    fs.read = real_read  # type: ignore[method-assign]  # the mended file lies elsewhere
    assert seqs(fs, "pred") == [1, 3, 4]
    assert covered(spool.take_gaps(), "pred") == {2}


def test_an_unreadable_file_does_not_stop_a_start() -> None:
    fs = filled(8, size=1500)
    unreadable = fs.paths("/spool/3-pred")[0]
    fs.fail("size", errno.EACCES, path_part=unreadable, times=1000)
    fs.fail("read", errno.EACCES, path_part=unreadable, times=1000)
    spool, report = recovered(fs)
    assert report.unreadable_files == 1
    gaps = covered(spool.take_gaps(), "pred")
    assert set(seqs(fs, "pred")) == set(range(1, 9)) - gaps
    append(spool, "pred")
    assert spool.sync()


def test_damage_that_cannot_be_mended_is_used_as_far_as_it_is_whole() -> None:
    fs = filled()
    fs.flip_bit(FIRST, 8 * (2 * fs.size(FIRST) // 5 + 100))
    fs.fail("rename", errno.EIO)
    fs.fail("open", errno.EIO, path_part=".mending")
    spool, report = recovered(fs)
    assert report.unrepaired_files == 1
    append(spool, "pred")
    spool.sync()
    assert seqs(fs, "pred") == [1, 2, 4, 5, 6]


def test_a_repair_that_was_interrupted_is_begun_again() -> None:
    fs = filled()
    fs.put(FIRST + ".mending", b"half")
    _, report = recovered(fs)
    assert not report.found_damage
    assert FIRST + ".mending" not in fs.paths()


def test_a_mended_segment_passes_the_ordinary_zstd(tmp_path: Path) -> None:
    zstd = shutil.which("zstd")
    if zstd is None:
        pytest.skip("needs zstd (Debian: apt-get install zstd)")
    fs = OsFileSystem()
    where = Settings(dir=str(tmp_path / "spool"), segment_size_bytes=1 << 20)
    spool = new_spool(fs, where)
    spool.open()
    for _ in range(5):
        append(spool, "pred", size=3000)
    spool.close()
    segment = tmp_path / "spool" / "3-pred" / "0000000000000001.zst"
    data = bytearray(segment.read_bytes())
    data[5000] ^= 1
    segment.write_bytes(data)
    assert subprocess.run([zstd, "-q", "-t", segment], capture_output=True).returncode != 0
    spool = new_spool(fs, where)
    spool.open()
    spool.close()
    subprocess.run([zstd, "-q", "-t", segment], check=True)
    text = subprocess.run([zstd, "-q", "-dc", segment], check=True, capture_output=True).stdout
    assert [text.count(b"pred %d " % seq) for seq in range(1, 6)] == [1, 0, 1, 1, 1]


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, int, int, bytes]]:
    """(what, where and how long, in thousandths of the file, bytes)."""
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(["flip", "cut", "overwrite", "remove", "insert"]),
                st.integers(0, 999),
                st.integers(1, 400),
                st.binary(min_size=1, max_size=30),
            ),
            min_size=1,
            max_size=4,
        )
    )


@settings(max_examples=200, deadline=None)
@given(damages(), st.integers(0, 2**32))
def test_any_damage_costs_only_what_it_touches_and_that_is_in_a_gap(
    done: list[tuple[str, int, int, bytes]], seed: int
) -> None:
    fs = filled(16, size=700)
    random = Random(seed)
    for what, where, length, extra in done:
        path = random.choice(fs.paths("/spool/3-pred"))
        data = bytearray(fs.read(path, 0, 1 << 20))
        at = where * len(data) // 1000
        end = min(len(data), at + length)
        if what == "flip" and data:
            data[at] ^= 1 << seed % 8
        elif what == "cut":
            del data[at:]
        elif what == "overwrite":
            data[at:end] = random.randbytes(end - at)
        elif what == "remove":
            del data[at:end]
        else:
            data[at:at] = extra
        fs.put(path, bytes(data))
    spool, _ = recovered(fs)
    readable = seqs(fs, "pred")  # which checks what each frame holds
    lost = covered(spool.take_gaps(), "pred")
    assert set(readable) | lost >= set(range(1, 17))
    assert not set(readable) & lost
    assert spool.next_seq("pred") > 16


@given(
    st.integers(1, 30),
    st.integers(0, 40),
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6))),
)
def test_missing_ranges_are_what_nobody_has(
    first: int, last: int, starts: list[tuple[int, int]]
) -> None:
    present = [(start, start + length) for start, length in starts]
    held = {n for start, end in present for n in range(start, end + 1)}
    missing = missing_ranges(first, last, present)
    assert {n for start, end in missing for n in range(start, end + 1)} == (
        set(range(first, last + 1)) - held
    )
    assert missing == sorted(missing)
    assert all(start <= end for start, end in missing)

"""Record framing: golden bytes, one test for each way to be malformed, and the ordinary zstd tool."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zstandard import ZstdCompressor

from edgemon._core.crc32c import crc32c
from edgemon.records import KINDS
from edgemon.spool import segment
from edgemon.spool.segment import Damage, Entry, Header, encode_record, parse_header, scan

STREAM = bytes(range(16))
ROWS = ZstdCompressor(level=1, write_checksum=True).compress(b"rows of a batch")
GOLDEN = (
    "582a4d184400000045"  # skippable frame, 68 bytes, E
    "4d535001030300"  # MSP, version, kind, priority, no journal
    "0700000000000000e803000000000000"  # seq 7, 1000 rows, part 0
    "00e40b5402000000e7e70b5402000000"  # first and last wall clock
    "000102030405060708090a0b0c0d0e0f"  # stream
    "1c000000"  # 28 bytes of frame
)


def record(seq: int = 7, frame: bytes = ROWS, kind: str = "pred") -> bytes:
    return encode_record(
        kind,
        seq,
        frame,
        rows=1000,
        stream=STREAM,
        first_wall_ms=10_000_000_000,
        last_wall_ms=10_000_000_999,
    )


def items(data: bytes, *, frames: bool = True) -> list[Entry | Damage]:
    return list(
        scan(lambda offset, length: data[offset : offset + length], len(data), frames=frames)
    )


def seqs(data: bytes, *, frames: bool = True) -> list[int]:
    return [item.header.seq for item in items(data, frames=frames) if isinstance(item, Entry)]


def damages(data: bytes) -> list[Damage]:
    return [item for item in items(data) if isinstance(item, Damage)]


def test_the_bytes_of_version_1_stay_as_they_are() -> None:
    encoded = record()
    assert encoded[:68].hex() == GOLDEN
    header_crc, record_crc = struct.unpack_from("<II", encoded, 68)
    assert header_crc == crc32c(bytes.fromhex(GOLDEN))
    assert record_crc == crc32c(bytes.fromhex(GOLDEN) + ROWS)
    assert encoded[76:] == ROWS


def test_a_header_says_what_was_encoded() -> None:
    assert parse_header(record()) == Header(
        "pred", 3, False, 7, 1000, 0, 10_000_000_000, 10_000_000_999, STREAM, len(ROWS)
    )


@given(
    kind=st.sampled_from(KINDS),
    seq=st.integers(1, 2**64 - 1),
    rows=st.integers(0, 2**32 - 1),
    part=st.integers(0, 2**32 - 1),
    clock=st.integers(-(2**63), 2**63 - 1),
    journal=st.booleans(),
    frame=st.binary(min_size=1, max_size=300),
)
def test_every_record_comes_back(
    kind: str, seq: int, rows: int, part: int, clock: int, journal: bool, frame: bytes
) -> None:
    data = encode_record(
        kind,
        seq,
        frame,
        rows=rows,
        stream=STREAM,
        first_wall_ms=clock,
        last_wall_ms=clock,
        journal=journal,
        part=part,
    )
    (found,) = items(data)
    assert isinstance(found, Entry)
    assert found.frame == frame
    header = found.header
    assert header[:6] == (kind, KINDS.index(kind), journal, seq, rows, part)
    assert header[6:] == (clock, clock, STREAM, len(frame))


@pytest.mark.parametrize("frame", [b"", bytes(segment.MAX_FRAME_BYTES + 1)], ids=["empty", "huge"])
def test_a_frame_of_no_legal_length_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match="a frame has 1 to"):
        record(frame=frame)


def test_records_follow_each_other_without_a_hole() -> None:
    data = record(1) + record(2) + record(5)
    assert seqs(data) == [1, 2, 5]
    assert damages(data) == []
    assert [item.offset for item in items(data)] == [0, len(record()), 2 * len(record())]


def test_an_empty_file_holds_nothing() -> None:
    assert items(b"") == []


def test_every_cut_of_the_tail_leaves_the_records_before_it() -> None:
    data = record(1) + record(2)
    for size in range(len(record()), len(data)):
        assert seqs(data[:size]) == [1]
        for damage in damages(data[:size]):
            assert damage.at_end
            assert damage.offset == len(record())
            assert damage.length == size - len(record())


def test_a_tail_that_is_cut_in_its_frame_still_says_what_it_was() -> None:
    (damage,) = damages((record(1) + record(2))[:-1])
    assert damage.header is not None
    assert damage.header.seq == 2
    assert damage.header.rows == 1000


def test_zeros_at_the_end_are_a_torn_tail() -> None:
    (damage,) = damages(record(1) + bytes(5000))
    assert (damage.offset, damage.length, damage.at_end) == (len(record()), 5000, True)
    assert damage.header is None


@pytest.mark.parametrize("at", range(76), ids=lambda at: f"byte{at}")
def test_a_flipped_bit_anywhere_in_the_header_costs_that_record_only(at: int) -> None:
    data = bytearray(record(1) + record(2) + record(3))
    data[len(record()) + at] ^= 0x10
    assert seqs(bytes(data)) == [1, 3]
    (damage,) = damages(bytes(data))
    assert (damage.offset, damage.length) == (len(record()), len(record()))
    assert not damage.at_end


def test_a_flipped_bit_anywhere_in_the_frame_costs_that_record_only() -> None:
    for at in range(76, len(record())):
        data = bytearray(record(1) + record(2) + record(3))
        data[len(record()) + at] ^= 0x01
        assert seqs(bytes(data)) == [1, 3]
        (damage,) = damages(bytes(data))
        assert damage.header is not None
        assert damage.header.seq == 2


def test_bytes_that_were_overwritten_cost_the_records_that_they_touch() -> None:
    data = bytearray(b"".join(record(seq) for seq in range(1, 11)))
    start = 3 * len(record()) + 10
    data[start : start + 2 * len(record())] = Random(1).randbytes(2 * len(record()))
    assert seqs(bytes(data)) == [1, 2, 3, 7, 8, 9, 10]


def test_bytes_that_vanished_from_the_middle_cost_one_record() -> None:
    data = b"".join(record(seq) for seq in range(1, 6))
    middle = 2 * len(record()) + 90
    assert seqs(data[:middle] + data[middle + 7 :]) == [1, 2, 4, 5]


def test_foreign_bytes_before_the_first_record_are_stepped_over() -> None:
    data = b"not ours" * 20_000 + record(1)
    assert seqs(data) == [1]
    assert damages(data)[0].length == 160_000


def test_a_header_across_two_search_blocks_is_found() -> None:
    for shift in range(-80, 20):
        noise = bytes((64 << 10) + shift)
        assert seqs(noise + record(1)) == [1], shift


def test_a_start_of_a_header_that_is_none_is_no_record() -> None:
    fake = record(1)[:60]
    assert seqs(fake + fake + record(2)) == [2]


def test_without_frames_headers_alone_show_the_way() -> None:
    data = bytearray(record(1) + record(2) + record(3))
    data[len(record()) + 80] ^= 1
    assert seqs(bytes(data), frames=False) == [1, 2, 3]
    assert all(
        item.frame == b"" for item in items(bytes(data), frames=False) if isinstance(item, Entry)
    )


def test_without_frames_a_cut_tail_is_damage_all_the_same() -> None:
    data = (record(1) + record(2))[:-1]
    assert seqs(data, frames=False) == [1]


def test_a_kind_or_length_that_cannot_be_is_no_header() -> None:
    for at, value in ((13, b"\x04"), (64, struct.pack("<I", segment.MAX_FRAME_BYTES + 1))):
        data = bytearray(record())
        data[at : at + len(value)] = value
        data[68:72] = struct.pack("<I", crc32c(bytes(data[:68])))
        assert parse_header(bytes(data)) is None


def test_a_file_of_another_format_version_is_known_as_such() -> None:
    data = bytearray(record())
    assert not segment.is_foreign_version(bytes(data))
    data[12] = 2
    assert segment.is_foreign_version(bytes(data))
    assert not segment.is_foreign_version(b"something else")


def test_the_ordinary_zstd_reads_a_segment(tmp_path: Path) -> None:
    zstd = shutil.which("zstd")
    if zstd is None:
        pytest.skip("needs zstd (Debian: apt-get install zstd)")
    path = tmp_path / "segment.zst"
    compress = ZstdCompressor(level=9, write_checksum=True).compress
    path.write_bytes(b"".join(record(seq, compress(b"batch %d\n" % seq)) for seq in range(1, 5)))
    subprocess.run([zstd, "-q", "-t", path], check=True)
    text = subprocess.run([zstd, "-q", "-dc", path], check=True, capture_output=True).stdout
    assert text == b"batch 1\nbatch 2\nbatch 3\nbatch 4\n"

"""The record framing of segments and journals. This docstring is the only specification (version 1).

A file is a row of records. A record is a zstd skippable frame that describes what follows, and one zstd
frame. So a file is an ordinary `.zst` file: `zstd -t` tests it, `zstd -dc` gives the contents one after
the other. Little-endian throughout:

    offset  size  field
         0     4  0x184D2A58, a skippable frame
         4     4  68, the bytes of the skippable frame that follow
         8     4  "EMSP"
        12     1  format version, 1
        13     1  kind: index into records.KINDS
        14     1  priority, 0 leaves first; today always the kind's index
        15     1  1 in a journal (the frame holds some rows of a batch), 0 in a segment (a whole batch)
        16     8  seq of the batch, from 1
        24     4  rows in the frame
        28     4  part: number of the chunk in the batch's journal, from 0; 0 in a segment
        32     8  wall clock of the first row, ms since 1970, signed; 0 in a journal
        40     8  wall clock of the last row, likewise
        48    16  stream: id of the numbering that seq belongs to
        64     4  length of the zstd frame, 1 … 16 MiB
        68     4  crc32c of bytes 0 … 67
        72     4  crc32c of bytes 0 … 67 and the zstd frame
        76     …  the zstd frame

The first crc lets a reader step over frames and name what a damaged one held; the second covers all.
A damaged record is left at the next place where bytes 0–12 of a record and a valid first crc stand.
"""

from __future__ import annotations

import struct

from edgemon._core.crc32c import crc32c
from edgemon.records import KINDS
from edgemon.std.collections.abc import Callable, Iterator
from edgemon.typed import NamedTuple

FORMAT_VERSION = 1
MAX_FRAME_BYTES = 16 << 20

_HEADER = struct.Struct("<II4sBBBBQIIqq16sI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + 2 * _CRC.size
_SKIPPABLE = 0x184D2A58
APP_MAGIC = b"EMSP"
_START = struct.pack("<II4s", _SKIPPABLE, HEADER_BYTES - 8, APP_MAGIC)
_NEEDLE = _START + bytes([FORMAT_VERSION])
_SEARCH_BLOCK_BYTES = 64 << 10

# (offset, length) -> the bytes there, fewer at the end
Read = Callable[[int, int], bytes]


class Header(NamedTuple):
    """What the skippable frame says. Units as in the module's docstring."""

    kind: str
    priority: int
    journal: bool
    seq: int
    rows: int
    part: int
    first_wall_ms: int
    last_wall_ms: int
    stream: bytes
    frame_bytes: int

    @property
    def record_bytes(self) -> int:
        """Length of the whole record."""
        return HEADER_BYTES + self.frame_bytes


class Entry(NamedTuple):
    """A whole record at `offset`. frame: the zstd frame, empty when only headers were read."""

    offset: int
    header: Header
    frame: bytes


class Damage(NamedTuple):
    """`length` bytes at `offset` that are no whole record.

    header: what was lost, when its header is whole.  at_end: nothing valid follows (a torn tail).
    """

    offset: int
    length: int
    header: Header | None
    at_end: bool


def encode_record(
    kind: str,
    seq: int,
    frame: bytes,
    *,
    rows: int,
    stream: bytes,
    first_wall_ms: int = 0,
    last_wall_ms: int = 0,
    journal: bool = False,
    part: int = 0,
) -> bytes:
    """The bytes of one record. `frame` is one zstd frame; ValueError when it is empty or over 16 MiB."""
    if not 0 < len(frame) <= MAX_FRAME_BYTES:
        raise ValueError(f"a frame has 1 to {MAX_FRAME_BYTES} bytes, not {len(frame)}")
    priority = KINDS.index(kind)
    header = _HEADER.pack(
        _SKIPPABLE,
        HEADER_BYTES - 8,
        APP_MAGIC,
        FORMAT_VERSION,
        priority,
        priority,
        journal,
        seq,
        rows,
        part,
        first_wall_ms,
        last_wall_ms,
        stream,
        len(frame),
    )
    header_crc = crc32c(header)
    return b"".join((header, _CRC.pack(header_crc), _CRC.pack(crc32c(frame, header_crc)), frame))


def parse_header(data: bytes) -> Header | None:
    """The header at the start of `data`, None when there is no valid one."""
    if len(data) < HEADER_BYTES or not data.startswith(_NEEDLE):
        return None
    fields = _HEADER.unpack_from(data)
    kind, priority, journal, seq, rows, part, first, last, stream, frame_bytes = fields[4:]
    if _CRC.unpack_from(data, _HEADER.size)[0] != crc32c(data[: _HEADER.size]):
        return None
    if kind >= len(KINDS) or not 0 < frame_bytes <= MAX_FRAME_BYTES:
        return None
    return Header(
        KINDS[kind], priority, bool(journal), seq, rows, part, first, last, stream, frame_bytes
    )


def frame_is_whole(header: bytes, frame: bytes) -> bool:
    """Whether `frame` is what the (valid) header's bytes say."""
    header_crc = _CRC.unpack_from(header, _HEADER.size)[0]
    return bool(_CRC.unpack_from(header, _HEADER.size + _CRC.size)[0] == crc32c(frame, header_crc))


def is_foreign_version(start: bytes) -> bool:
    """Whether a file that begins like this was written by a version that this one cannot read."""
    return start.startswith(_START) and not start.startswith(_NEEDLE)


def read_record(read: Read, offset: int) -> Entry | Header | None:
    """The record at `offset`: an Entry; a Header when its frame is damaged or cut; None for no header."""
    start = read(offset, HEADER_BYTES)
    header = parse_header(start)
    if header is None:
        return None
    frame = read(offset + HEADER_BYTES, header.frame_bytes)
    if len(frame) != header.frame_bytes or not frame_is_whole(start, frame):
        return header
    return Entry(offset, header, frame)


def scan(read: Read, size: int, *, start: int = 0, frames: bool = True) -> Iterator[Entry | Damage]:
    """What lies in bytes start … size, in order, without a hole: records and damage between them.

    frames: read and check every frame; else headers only, which finds damage of headers and tails only.
    Memory: one record.
    """
    offset = start
    while offset < size:
        found = read_record(read, offset) if frames else _header_at(read, offset, size)
        if isinstance(found, Entry):
            yield found
            offset += found.header.record_bytes
        else:
            end = resynchronise(read, offset + 1, size)
            yield Damage(offset, end - offset, found, end == size)
            offset = end


def _header_at(read: Read, offset: int, size: int) -> Entry | Header | None:
    header = parse_header(read(offset, HEADER_BYTES))
    if header is None or offset + header.record_bytes > size:
        return header
    return Entry(offset, header, b"")


def resynchronise(read: Read, offset: int, size: int) -> int:
    """The first place in offset … size where a valid header stands; `size` when there is none."""
    while offset < size:
        block = read(offset, min(_SEARCH_BLOCK_BYTES, size - offset))
        at = block.find(_NEEDLE)
        while at >= 0:
            if parse_header(read(offset + at, HEADER_BYTES)) is not None:
                return offset + at
            at = block.find(_NEEDLE, at + 1)
        if len(block) < len(_NEEDLE):
            return size
        offset += len(block) - len(_NEEDLE) + 1
    return size

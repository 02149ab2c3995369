"""What the tests of the spool share: small spools, batches that say who they are."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from zstandard import ZstdCompressor, ZstdDecompressor

from edgemon.metrics import Counters
from edgemon.spool.cursor import Cursor
from edgemon.spool.fs import FileSystem
from edgemon.spool.gaps import Gap
from edgemon.spool.origin import Machine
from edgemon.spool.reader import Record, SpoolReader
from edgemon.spool.writer import Spool
from tests.spool.memory_fs import MemoryFileSystem

DIRECTORY = "/spool"
MACHINE = Machine("a" * 16, "b" * 16)


class Settings(NamedTuple):
    dir: str = DIRECTORY
    segment_size_bytes: int = 4096
    max_size_bytes: int = 64 << 10
    quarantine_size_bytes: int = 16 << 10
    when_full: str = "drop_oldest"
    max_age_s: float = 0.0
    reserve_free_bytes: int = 0


_compressor = ZstdCompressor(level=1, write_checksum=True)


def frame_of(kind: str, seq: int, size: int = 100) -> bytes:
    """A frame of about `size` bytes that names its batch; zstd cannot make it smaller."""
    import random

    noise = random.Random(f"{kind}{seq}").randbytes(size)
    return _compressor.compress(f"{kind} {seq} ".encode() + noise)


def name_in(frame: bytes) -> str:
    """`kind seq`, as `frame_of` wrote it."""
    kind, seq, _ = ZstdDecompressor().decompress(frame).split(b" ", 2)
    return f"{kind.decode()} {seq.decode()}"


def new_spool(
    fs: FileSystem,
    settings: Settings | None = None,
    *,
    memory_size_bytes: int = 1 << 20,
    now_s: Callable[[], float] = lambda: 0.0,
    wall_ms: Callable[[], int] = lambda: 0,
    machine: Machine = MACHINE,
    witness: str = "",
) -> Spool:
    return Spool(
        fs,
        settings or Settings(),
        counters=Counters(),
        memory_size_bytes=memory_size_bytes,
        now_s=now_s,
        wall_ms=wall_ms,
        machine=lambda: machine,
        witness=witness,
    )


def append(spool: Spool, kind: str, *, rows: int = 10, size: int = 100) -> int:
    """Append the next batch of a kind; its seq."""
    seq = spool.next_seq(kind)
    append_seq(spool, kind, seq, rows=rows, size=size)
    return seq


def append_seq(spool: Spool, kind: str, seq: int, *, rows: int = 10, size: int = 100) -> None:
    spool.append(
        kind,
        seq,
        frame_of(kind, seq, size),
        rows=rows,
        first_wall_ms=1000 * seq,
        last_wall_ms=1000 * seq + 999,
    )


def read_all(
    fs: FileSystem, kind: str, after_seq: int = 0, directory: str = DIRECTORY
) -> list[Record]:
    """What a shipper would be handed."""
    reader = SpoolReader(fs, directory)
    records = []
    while (record := reader.next(kind, after_seq)) is not None:
        records.append(record)
        after_seq = record.seq
    return records


def seqs(fs: FileSystem, kind: str, after_seq: int = 0) -> list[int]:
    records = read_all(fs, kind, after_seq)
    for record in records:
        assert name_in(record.frame) == f"{kind} {record.seq}"
    return [record.seq for record in records]


def covered(gaps: list[Gap], kind: str) -> set[int]:
    """The seqs that gaps speak of."""
    return {seq for gap in gaps if gap.kind == kind for seq in range(gap.from_seq, gap.to_seq + 1)}


def opened(fs: MemoryFileSystem, settings: Settings | None = None, memory: int = 1 << 20) -> Spool:
    spool = new_spool(fs, settings, memory_size_bytes=memory)
    spool.open()
    return spool


def reopened(fs: MemoryFileSystem, settings: Settings | None = None) -> Spool:
    """After kill -9: what was written is in the page cache."""
    fs.kill()
    return opened(fs, settings)


def after_power_cut(fs: MemoryFileSystem, seed: int = 0) -> Spool:
    fs.lose_power(Random(seed))
    return opened(fs)


def acknowledge(fs: MemoryFileSystem, kind: str, seq: int) -> None:
    cursor = Cursor(fs, DIRECTORY)
    cursor.advance(kind, seq)
    cursor.store()

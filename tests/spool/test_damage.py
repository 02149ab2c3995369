"""Random damage to a spool at rest: it starts, hands out what is whole, and says what is not."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import pytest

from edgemon.records import KINDS
from edgemon.spool.gaps import Gap
from edgemon.spool.segment import Entry, read_record, scan
from edgemon.spool.watermark import nothing, read_watermark
from tests.spool.helpers import DIRECTORY, Settings, append, name_in, new_spool, read_all
from tests.spool.memory_fs import MemoryFileSystem

SETTINGS = Settings(segment_size_bytes=3000, max_size_bytes=1 << 20, quarantine_size_bytes=8000)


class Sound(NamedTuple):
    """A spool before the damage: its files, the frame of each batch, chunks of open batches."""

    files: dict[str, bytes]
    frames: dict[tuple[str, int], bytes]
    open_batches: dict[tuple[str, int], list[bytes]]
    known_gaps: set[tuple[str, int]]


def sound_spool(random: Random) -> Sound:
    fs = MemoryFileSystem()
    spool = new_spool(fs, SETTINGS)
    spool.open()
    gaps = set()
    for _ in range(random.randint(5, 60)):
        kind = random.choice(KINDS)
        if random.random() < 0.05:
            seq = spool.next_seq(kind)
            spool.drop(kind, seq, 3, "not_encoded")
            gaps.add((kind, seq))
        else:
            append(spool, kind, size=random.randint(0, 900))
    open_batches: dict[tuple[str, int], list[bytes]] = {}
    for kind in KINDS[1:]:
        if random.random() < 0.7:
            seq = spool.next_seq(kind)
            payloads = [
                random.randbytes(random.randint(1, 300)) for _ in range(random.randint(1, 4))
            ]
            for payload in payloads:
                spool.journal(kind, seq, payload, rows=1)
            open_batches[kind, seq] = payloads
    assert spool.sync()
    frames = {(kind, record.seq): record.frame for kind in KINDS for record in read_all(fs, kind)}
    spool.close()
    files = {path: fs.read(path, 0, 1 << 22) for path in fs.paths(DIRECTORY)}
    return Sound(files, frames, open_batches, gaps)


def damaged(files: dict[str, bytes], random: Random) -> dict[str, bytes]:
    """One to three wounds: bits that flip, a file cut short, a range overwritten, zeroed or moved in."""
    files = dict(files)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        path = random.choice([path for path, data in sorted(files.items()) if data])
        data = bytearray(files[path])
        at = random.randrange(len(data))
        length = min(random.choice((1, 8, 76, 512, 4096)), len(data) - at)
        wound = random.choice(("flip", "flip", "cut", "noise", "zero", "foreign", "remove"))
        if wound == "flip":
            data[at] ^= 1 << random.randrange(8)
        elif wound == "cut":
            del data[at:]
        elif wound == "noise":
            data[at : at + length] = random.randbytes(length)
        elif wound == "zero":
            data[at : at + length] = bytes(length)
        elif wound == "foreign":  # a sector of another file of ours
            other = random.choice(sorted(files.items()))[1]
            start = random.randrange(max(1, len(other)))
            part = other[start : start + length]
            data[at : at + len(part)] = part
        elif path.endswith(".zst"):
            del files[path]
            continue
        files[path] = bytes(data)
    return files


def whole_batches(files: dict[str, bytes]) -> set[tuple[str, int]]:
    """What a reader with all the time in the world finds whole, in the segments where it belongs."""
    found = set()
    for path, data in files.items():
        kind = next((kind for kind in KINDS if f"-{kind}/" in path), None)
        if kind is None:
            continue

        def read(offset: int, length: int, data: bytes = data) -> bytes:
            return data[offset : offset + length]

        for item in scan(read, len(data)):
            if isinstance(item, Entry) and item.header.kind == kind and not item.header.journal:
                assert isinstance(read_record(read, item.offset), Entry)
                found.add((kind, item.header.seq))
    return found


def check(sound: Sound, files: dict[str, bytes]) -> int:
    """Open the damaged spool and look at everything. Returns the number of batches that were lost."""
    fs = MemoryFileSystem()
    for path, data in files.items():
        fs.put(path, data)
    # What was used last is remembered by the watermark alone, once its segment is gone.
    remembered = (read_watermark(fs, DIRECTORY) or nothing()).durable
    spool = new_spool(fs, SETTINGS)
    spool.open()
    gaps: list[Gap] = spool.take_gaps()
    gone = {(gap.kind, seq) for gap in gaps for seq in range(gap.from_seq, gap.to_seq + 1)}
    delivered = set()
    for kind in KINDS:
        for record in read_all(fs, kind):
            key = (kind, record.seq)
            assert record.frame == sound.frames[key], "silently wrong"
            assert name_in(record.frame) == f"{kind} {record.seq}"
            assert key not in delivered, "twice"
            delivered.add(key)
    undamaged = whole_batches(files) & sound.frames.keys()
    assert undamaged <= delivered, "whole, and not delivered"
    for kind, seq in sound.frames.keys() - delivered:
        # Without it nobody knows of what stood at either end of what is left.
        known = seq <= remembered[kind]
        assert (kind, seq) in gone or not known, f"{kind} {seq} is lost, and no gap says so"
    assert not gone & delivered, "said to be lost, and delivered"
    replayed = {(p.kind, p.seq): p.payloads for p in spool.pending_journals()}
    for key, payloads in replayed.items():
        assert key in sound.open_batches or key in sound.frames, "an open batch that never was"
        if key in sound.open_batches:
            assert all(payload in sound.open_batches[key] for payload in payloads), "silently wrong"
            complete = payloads == sound.open_batches[key]
            partial = {(gap.kind, gap.from_seq) for gap in gaps if gap.partial}
            assert complete or key in partial or key in gone or _cut_clean(sound, files, key)
    for key in sound.open_batches.keys() - replayed.keys():
        assert key in gone or _cut_clean(sound, files, key)
    # Life goes on, and a number that was used is not used again.
    for kind, seq in sorted(replayed):
        spool.drop(kind, seq, 0, "dropped")
    for kind in KINDS:
        seq = append(spool, kind)
        assert (kind, seq) not in sound.frames
    assert spool.sync()
    spool.close()
    again = new_spool(fs, SETTINGS)
    assert not again.open().found_damage, "mended once, sound for good"
    return len(sound.frames.keys() - delivered)


def _cut_clean(sound: Sound, files: dict[str, bytes], key: tuple[str, int]) -> bool:
    """Whether a journal lost whole chunks at its end, or all of it: nothing on the disk speaks of them."""
    kind, seq = key
    path = f"{DIRECTORY}/journal/{kind}-{seq:016x}.zst"
    left = files.get(path, b"")
    return len(left) < len(sound.files[path])


def damage_many(count: int, seed: int) -> None:
    random = Random(seed)
    lost = 0
    sound = sound_spool(random)
    for number in range(count):
        if number % 20 == 0:
            sound = sound_spool(random)
        try:
            lost += check(sound, damaged(sound.files, random))
        except Exception as error:
            raise AssertionError(f"damage {number} of seed {seed}: {error}") from error
    assert lost > count // 20, "the damage was too kind"


def test_whatever_is_damaged_the_rest_is_delivered_and_the_loss_is_told() -> None:
    damage_many(400, seed=1)


@pytest.mark.slow
def test_ten_thousand_damages() -> None:
    damage_many(10_000, seed=2)

"""The zstd frame: one, whole, declared, checked, and readable by the ordinary tool."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import tracemalloc

import msgpack
import pytest
import zstandard

from edgemon import wire
from edgemon.errors import DamagedError
from edgemon.records import Batch
from edgemon.wire import encoder
from tests.wire.batches import column, make_batch
from tests.wire.bodies import body_of, frame_of

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd tool")


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Noise and steps, so that there are several blocks."""
    rng = random.Random(1)
    return make_batch(
        [
            column("f8", [rng.gauss(0, 1) for _ in range(500)], "noise"),
            column("f8", [round(rng.gauss(0, 1), 1) for _ in range(500)], "decimals"),
            column("str", [rng.choice(["a", "b"]) for _ in range(500)], "letters"),
        ]
    )


def test_the_frame_declares_size_and_checksum(batch: Batch) -> None:
    header = zstandard.get_frame_parameters(wire.encode(batch))
    assert header.has_checksum
    assert header.dict_id == 0
    assert header.content_size == len(wire.Encoder().body(batch)[0])


def test_the_body_is_compressed_in_more_than_one_block(batch: Batch) -> None:
    body, cuts = wire.Encoder().body(batch)
    assert cuts == sorted(set(cuts)) and cuts[0] > 0 and cuts[-1] < len(body)
    whole = zstandard.ZstdCompressor(level=9, write_checksum=True).compress(body)
    assert len(wire.encode(batch)) < len(whole)


def test_a_one_shot_decompressor_reads_it(batch: Batch) -> None:
    body = zstandard.ZstdDecompressor().decompress(wire.encode(batch))
    assert body == wire.Encoder().body(batch)[0]


@needs_zstd
def test_the_ordinary_tool_reads_and_tests_it(batch: Batch) -> None:
    frame = wire.encode(batch)
    tested = subprocess.run(["zstd", "-t"], input=frame, capture_output=True, check=False)
    assert tested.returncode == 0, tested.stderr
    plain = subprocess.run(["zstd", "-dc"], input=frame, capture_output=True, check=True).stdout
    assert msgpack.unpackb(plain)["dev"] == batch.device
    # A batch stays readable where several are put behind one another.
    twice = subprocess.run(
        ["zstd", "-dc"], input=frame + frame, capture_output=True, check=True
    ).stdout
    assert twice == plain + plain


@pytest.mark.parametrize("level", range(1, 20))
def test_every_level_takes_less_than_a_megabyte(level: int) -> None:
    assert encoder._tuned(level, "columns").estimated_compression_context_size() < 2**20


def test_an_encoder_keeps_nothing_of_its_batches(batch: Batch) -> None:
    own = wire.Encoder()
    own.encode(batch)
    tracemalloc.start()
    own.encode(batch)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(40):
        own.encode(batch)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


def test_trailing_bytes_are_refused(batch: Batch) -> None:
    frame = wire.encode(batch)
    for tail in (b"\0", frame, frame[:10], b"\x58\x2a\x4d\x18\x02\0\0\0ab"):
        with pytest.raises(DamagedError):
            wire.decode(frame + tail)


def test_a_frame_behind_a_skippable_frame_is_refused(batch: Batch) -> None:
    with pytest.raises(DamagedError):
        wire.decode(b"\x58\x2a\x4d\x18\x02\0\0\0ab" + wire.encode(batch))


def test_every_truncated_frame_is_refused(batch: Batch) -> None:
    frame = wire.encode(batch)
    for length in [*range(0, len(frame), 7), *range(len(frame) - 40, len(frame))]:
        with pytest.raises(DamagedError):
            wire.decode(frame[:length])


def test_a_flipped_bit_never_makes_another_batch(batch: Batch) -> None:
    """zstd has a few bits without a meaning: those may pass, the content may not change."""
    frame = wire.encode(batch)
    rng = random.Random(2)
    passed = 0
    for place in [*range(8 * 20), *rng.sample(range(8 * len(frame)), 1500)]:
        damaged = bytearray(frame)
        damaged[place // 8] ^= 1 << place % 8
        with contextlib.suppress(DamagedError):
            assert wire.decode(bytes(damaged)) == batch
            passed += 1
    assert passed < 20


def test_a_frame_without_a_checksum_is_refused(batch: Batch) -> None:
    body = msgpack.packb(body_of(batch))
    with pytest.raises(DamagedError, match="checksum"):
        wire.decode(zstandard.ZstdCompressor(write_checksum=False).compress(body))


def test_a_frame_that_does_not_declare_its_size_is_refused(batch: Batch) -> None:
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    frame = stream.compress(msgpack.packb(body_of(batch))) + stream.flush()
    with pytest.raises(DamagedError, match="declares"):
        wire.decode(frame)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = frame_of(bytes(wire.MAX_BODY_BYTES + 1))
    assert len(bomb) < 10_000
    tracemalloc.start()
    with pytest.raises(DamagedError, match="declares"):
        wire.decode(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_errors_are_one_line(batch: Batch) -> None:
    for frame in (b"", b"\n\n", wire.encode(batch)[:-3], frame_of(b"\xc1"), frame_of({"em": 1})):
        with pytest.raises(DamagedError) as raised:
            wire.decode(frame)
        assert str(raised.value) and "\n" not in str(raised.value)

"""Whatever the bytes: whole frames come out, damage and torn tails are named, nothing is lost in between."""

from __future__ import annotations

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon import wire
from edgemon.errors import DamagedError
from edgemon.receive.frames import Damage, Frame, FrameReader, Torn
from tests.receive.batches import make_frame, record

Item = Frame | Damage | Torn


def cut(data: bytes, feed: int = 1 << 20, max_frame_bytes: int = 1 << 20) -> list[Item]:
    """All items of a stream, rejecting the frames that do not decode, as sources do."""
    reader = FrameReader(max_frame_bytes)
    found: list[Item] = []

    def take() -> None:
        for item in reader.items():
            if isinstance(item, Frame):
                try:
                    wire.decode(item.data)
                except DamagedError as error:
                    reader.reject(str(error))
                    continue
            found.append(item)

    for start in range(0, len(data), feed):
        reader.feed(data[start : start + feed])
        take()
    reader.finish()
    take()
    return found


def seqs(items: list[Item]) -> list[int]:
    return [wire.decode(item.data).seq for item in items if isinstance(item, Frame)]


def test_a_bare_batch_is_one_frame() -> None:
    frame = make_frame(7)
    assert cut(frame) == [Frame(0, frame)]


def test_a_segment_gives_its_batches_at_their_offsets() -> None:
    records = [record(1), record(2), record(3)]
    items = cut(b"".join(records))
    assert seqs(items) == [1, 2, 3]
    assert [item.offset for item in items] == [
        len(records[0]) - len(make_frame(1)),
        len(records[0]) + len(records[1]) - len(make_frame(2)),
        sum(map(len, records)) - len(make_frame(3)),
    ]


@given(feed=st.integers(1, 400))
@settings(max_examples=40, deadline=None)
def test_the_size_of_the_reads_changes_nothing(feed: int) -> None:
    data = b"junk" + record(1) + b"\0" * 50 + record(2) + make_frame(3)[:-9]
    assert cut(data, feed) == cut(data)


def test_every_kind_of_zstd_frame_is_measured_right() -> None:
    contents = [b"", b"x", b"ab" * 200, bytes(range(256)) * 3, b"\0" * 300_000]
    for checksum in (False, True):
        for declared in (False, True):
            compressor = zstandard.ZstdCompressor(
                write_checksum=checksum, write_content_size=declared
            )
            frames = [compressor.compress(content) for content in contents]
            reader = FrameReader()
            reader.feed(b"".join(frames))
            assert [item.data for item in reader.items()] == frames


def test_a_torn_tail_is_named_at_every_length() -> None:
    whole, tail = record(1), record(2)
    for length in range(1, len(tail)):
        items = cut(whole + tail[:length])
        assert seqs(items) == [1]
        rest = items[1:]
        header = len(tail) - len(make_frame(2))
        if length == header:  # metadata alone is whole: nothing is missing that anybody promised
            assert rest == []
        else:
            start = len(whole) + (header if length > header else 0)
            assert rest == [Torn(start, tail[start - len(whole) : length])]


def test_a_flipped_bit_costs_only_the_batch_it_hits() -> None:
    records = [record(1), record(2), record(3)]
    whole, first = b"".join(records), len(records[0])
    for at in range(first, first + len(records[1])):
        for bit in range(8):
            stream = bytearray(whole)
            stream[at] ^= 1 << bit
            items = cut(bytes(stream))
            assert {1, 3} <= set(seqs(items)) <= {1, 2, 3}, (at, bit)
            # All bytes are accounted for: what is in no item was metadata.
            lost = [item for item in items if isinstance(item, (Damage, Torn))]
            assert 2 in seqs(items) or lost, (at, bit)


def test_a_frame_that_swallowed_the_next_gives_it_back() -> None:
    victim = bytearray(make_frame(1))
    at = zstandard.frame_header_size(bytes(victim))
    block = int.from_bytes(victim[at : at + 3], "little") + (len(record(2)) << 3)
    victim[at : at + 3] = block.to_bytes(3, "little")
    reader = FrameReader()
    reader.feed(bytes(victim) + record(2) + record(3))
    assert len(next(iter(reader.items())).data) == len(victim) + len(record(2)), "it swallows"
    items = cut(bytes(victim) + record(2) + record(3))
    assert seqs(items) == [2, 3]
    assert items[0][:2] == (0, bytes(victim))


def test_garbage_without_end_is_handed_out_in_bounded_pieces() -> None:
    items = cut(b"\xff" * (5 << 20))
    assert all(isinstance(item, Damage) for item in items)
    assert sum(len(item.data) for item in items) == 5 << 20
    assert max(len(item.data) for item in items) <= (2 << 20)


def test_a_frame_over_the_limit_is_damage_and_the_next_is_read() -> None:
    import random

    big = zstandard.ZstdCompressor().compress(random.Random(1).randbytes(300_000))
    items = cut(big + make_frame(5), max_frame_bytes=200_000)
    assert seqs(items) == [5]
    assert isinstance(items[0], Damage)


def test_reading_goes_on_from_the_offset_of_a_torn_tail() -> None:
    stream = record(1) + record(2)
    reader = FrameReader()
    reader.feed(stream[:-5])
    reader.finish()
    torn = list(reader.items())[-1]
    assert isinstance(torn, Torn)
    again = FrameReader(offset=torn.offset)
    again.feed(stream[torn.offset :])
    assert [(type(item), item.offset) for item in again.items()] == [(Frame, torn.offset)]

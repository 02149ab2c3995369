"""Up to which seq each kind is durable, and up to which it was delivered and may be freed.

The shipper hands out nothing above `durable`: a power cut could take it back, and the number would then
name other rows. At open, `durable` is the memory of numbers whose segments are long gone.

The payload of slots.py, little-endian: for each kind in the order of records.KINDS two u64, durable and
freed. The writer publishes after the fsync of what it names, and fsyncs before it removes a segment.
"""

from __future__ import annotations

import struct

from edgemon.records import KINDS
from edgemon.spool import layout, slots
from edgemon.spool.fs import FileSystem, join
from edgemon.typed import NamedTuple

# A page each: a write that is cut short in one must not touch the other.
SLOT_BYTES = 4096
_PAYLOAD = struct.Struct(f"<{2 * len(KINDS)}Q")


class Watermark(NamedTuple):
    """kind -> seq, 0 when there is none."""

    durable: dict[str, int]
    freed: dict[str, int]


def nothing() -> Watermark:
    """The watermark of a new spool."""
    return Watermark(dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0))


def pack(watermark: Watermark) -> bytes:
    """The payload's bytes."""
    return _PAYLOAD.pack(
        *(seq for kind in KINDS for seq in (watermark.durable[kind], watermark.freed[kind]))
    )


def unpack(payload: bytes | None) -> Watermark | None:
    """The watermark, None when there is no payload or it is of another make."""
    if payload is None or len(payload) != _PAYLOAD.size:
        return None
    numbers = _PAYLOAD.unpack(payload)
    return Watermark(
        dict(zip(KINDS, numbers[::2], strict=True)), dict(zip(KINDS, numbers[1::2], strict=True))
    )


def slot_file(fs: FileSystem, directory: str) -> slots.SlotFile:
    """The writer's handle on the spool's watermark."""
    return slots.SlotFile(fs, join(directory, layout.WATERMARK), SLOT_BYTES)


def read_watermark(fs: FileSystem, directory: str) -> Watermark | None:
    """What is published now, None when nothing is. For any process, while the agent writes."""
    found = slots.load(fs, join(directory, layout.WATERMARK), SLOT_BYTES)
    return None if found is None else unpack(found[1])

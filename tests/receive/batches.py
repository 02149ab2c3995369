"""Batches, frames and segments for the tests of this room."""

from __future__ import annotations

import json

from edgemon import wire
from edgemon.receive.presence import DeviceState
from edgemon.receive.rows import tables
from edgemon.receive.store import Incoming
from edgemon.records import Batch, Row
from edgemon.spool.segment import encode_record

STREAM = bytes(range(16))
BOOT = b"b" * 16
WALL_NS = 1_700_000_000_000_000_000
RECEIVED_NS = WALL_NS + 5_000_000_000


def prediction_rows(seq: int, rows: int = 3) -> list[Row]:
    return [
        {
            "t": 1000 * row,
            "model": "digits",
            "version": "1",
            "id": f"{seq}-{row}",
            "output": row / 4,
            "w": 1.0,
            "f:a": seq + row / 8,
            "f:b": float(row),
        }
        for row in range(rows)
    ]


def make_batch(
    seq: int = 1,
    rows: list[Row] | None = None,
    *,
    kind: str = "pred",
    device: str = "dev-1",
    fleet: str = "default",
    stream: bytes = STREAM,
    dropped: int = 0,
) -> Batch:
    rows = prediction_rows(seq) if rows is None else rows
    columns = wire.columns_from_rows(rows)
    resource = {"agent": "0.1.0"}
    return Batch(
        kind,
        seq,
        device,
        fleet,
        stream,
        BOOT,
        WALL_NS,
        500,
        2.5,
        dropped,
        resource,
        len(rows),
        columns,
    )


def make_frame(
    seq: int = 1, rows: list[Row] | None = None, *, kind: str = "pred", device: str = "dev-1"
) -> bytes:
    return wire.encode(make_batch(seq, rows, kind=kind, device=device))


def gap_rows(kind: str, from_seq: int, to_seq: int, reason: str = "spool_full") -> list[Row]:
    data = {
        "stream": STREAM.hex(),
        "kind": kind,
        "from_seq": from_seq,
        "to_seq": to_seq,
        "reason": reason,
        "rows": 9,
    }
    return [
        {"t": 0, "type": "gap", "severity": "warning", "message": "lost", "data": json.dumps(data)}
    ]


def incoming(batch: Batch) -> Incoming:
    return Incoming(batch, tables(batch), [], 100, RECEIVED_NS)


def state(online: bool, birth: int, *, device: str = "dev-1", stream: str = "") -> DeviceState:
    text = json.dumps({"online": online, "birth": birth})
    return DeviceState("default", device, online, birth, stream, text, RECEIVED_NS + birth)


def record(seq: int, frame: bytes | None = None) -> bytes:
    """A spool segment's record: skippable frame and zstd frame."""
    frame = make_frame(seq) if frame is None else frame
    return encode_record("pred", seq, frame, rows=3, stream=STREAM)

"""Frames around hand-made bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import zstandard

from edgemon import wire
from edgemon.records import Batch

Body = dict[str, Any]


def body_of(batch: Batch) -> Body:
    body: Body = msgpack.unpackb(wire.Encoder().body(batch)[0])
    return body


def frame_of(body: object) -> bytes:
    """A whole frame with any msgpack value, or any bytes, as its body."""
    data = body if isinstance(body, bytes) else msgpack.packb(body)
    return zstandard.ZstdCompressor(write_checksum=True, write_content_size=True).compress(data)


def changed(batch: Batch, change: Callable[[Body], object]) -> bytes:
    """The batch's frame after `change` was done to its body."""
    body = body_of(batch)
    change(body)
    return frame_of(body)

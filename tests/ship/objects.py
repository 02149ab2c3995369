"""What lies in a bucket, read without edgemon's own writer."""

from __future__ import annotations

import re

_NAME = re.compile(r"(\w+)-([0-9a-f]{32})-(\d{16})-(\d{16})\.msgpack\.zst")
_ZSTD = b"\x28\xb5\x2f\xfd"


def batches_of(key: str) -> tuple[str, str, int, int]:
    """(kind, stream, first seq, last seq) that an object's name tells."""
    match = _NAME.fullmatch(key.rpartition("/")[2])
    assert match is not None, key
    kind, stream, first, last = match.groups()
    return kind, stream, int(first), int(last)


def frames_of(content: bytes) -> list[bytes]:
    """The zstd frames of an object. A frame's inside may hold the magic: so each must decompress."""
    import zstandard

    frames = []
    while content:
        assert content.startswith(_ZSTD)
        unpacker = zstandard.ZstdDecompressor().decompressobj()
        unpacker.decompress(content)
        rest = unpacker.unused_data
        frames.append(content[: len(content) - len(rest)])
        content = rest
    return frames

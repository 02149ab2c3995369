"""What must survive a restart of the agent, in one file: the state of each model's detectors.

The file, `checkpoint` in the state folder, version 1. Integers are little-endian.

    offset  bytes  what
    0       8      b"EDGECKPT"
    8       2      format version, 1
    10      2      zero
    12      4      CRC-32C of the frame that follows
    16      8      length of the body in bytes, at most 64 MiB
    24      -      one zstd frame: the body

The body is a msgpack array with a map for each (model, version), the one seen last at the end:

    model    str    its name
    version  str    its version
    profile  str    hash of the profile that the detectors had
    drift    bin    ModelDetectors.to_state, absent without detectors
    performance  bin  Performance.to_state, absent where nothing is known of the model's errors
    quality  bin    ModelQuality.to_state, absent where it is off
    pace     bin    Silences.to_state of its name, absent where it is off

`past` beside it, with the magic b"EDGEPAST" and the same header, has the past of the device's series as its body:
`edgemon.anomaly.Anomalies.to_state`.

A reader leaves alone what it does not know in a map. The file is replaced as a whole; what came in after
it was written is lost to the detectors when the agent is killed, and the promise holds all the same.
"""

from __future__ import annotations

import struct

from edgemon._core import msgpack
from edgemon._core.crc32c import crc32c
from edgemon.errors import DamagedError, UnsupportedError
from edgemon.typed import NamedTuple
from edgemon.zstd import zstandard

FORMAT_VERSION = 1
FILE_NAME = "checkpoint"
PAST_FILE_NAME = "past"
MAX_BODY_BYTES = 64 << 20

_MAGIC = b"EDGECKPT"
PAST_MAGIC = b"EDGEPAST"
_HEADER = struct.Struct("<8sHHIQ")
_LEVEL = 3
_AROUND_BYTES = 128


class Saved(NamedTuple):
    """One (model, version). profile: the hash of its profile.  the others: b"" without."""

    model: str
    version: str
    profile: str
    drift: bytes
    performance: bytes = b""
    quality: bytes = b""
    pace: bytes = b""


def encode(saved: list[Saved]) -> tuple[bytes, int]:
    """The file's content, and how many of the first ones it has no room for."""
    left_out, size_bytes = len(saved), _AROUND_BYTES
    while left_out and size_bytes + _most_bytes(saved[left_out - 1]) <= MAX_BODY_BYTES:
        left_out -= 1
        size_bytes += _most_bytes(saved[left_out])
    maps = []
    for one in saved[left_out:]:
        fields = one._asdict()
        for name in ("drift", "performance", "quality", "pace"):
            if not fields[name]:
                del fields[name]
        maps.append(fields)
    return seal(msgpack.packb(maps), _MAGIC), left_out


def _most_bytes(one: Saved) -> int:
    """What its map takes at most: names of fields and lengths are less than _AROUND_BYTES."""
    texts = (one.model, one.version, one.profile)
    parts = (one.drift, one.performance, one.quality, one.pace)
    return _AROUND_BYTES + sum(map(len, parts)) + sum(len(text.encode()) for text in texts)


def seal(body: bytes, magic: bytes = PAST_MAGIC) -> bytes:
    """A file with that body."""
    frame = zstandard.ZstdCompressor(level=_LEVEL).compress(body)
    return _HEADER.pack(magic, FORMAT_VERSION, 0, crc32c(frame), len(body)) + frame


def decode(data: bytes, source: str) -> list[Saved]:
    """What `encode` was given. DamagedError or UnsupportedError, beginning with `source`."""
    body = unseal(data, source, _MAGIC)
    try:
        return [
            Saved(
                str(fields["model"]),
                str(fields["version"]),
                str(fields["profile"]),
                bytes(fields.get("drift", b"")),
                bytes(fields.get("performance", b"")),
                bytes(fields.get("quality", b"")),
                bytes(fields.get("pace", b"")),
            )
            for fields in msgpack.unpackb(body)
        ]
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise DamagedError(f"{source}: the checkpoint is damaged: {error}") from error


def unseal(data: bytes, source: str, magic: bytes = PAST_MAGIC) -> bytes:
    """The body that `seal` was given. DamagedError or UnsupportedError, beginning with `source`."""
    if len(data) < _HEADER.size or not data.startswith(magic):
        raise DamagedError(f"{source}: not a checkpoint")
    _, version, zero, crc, length = _HEADER.unpack_from(data)
    if version > FORMAT_VERSION:
        raise UnsupportedError(
            f"{source}: a checkpoint of format {version}, this edgemon reads {FORMAT_VERSION}"
        )
    frame = data[_HEADER.size :]
    if version < 1 or zero or length > MAX_BODY_BYTES or crc32c(frame) != crc:
        raise DamagedError(f"{source}: the checkpoint is damaged")
    try:
        body = zstandard.ZstdDecompressor().decompress(frame, max_output_size=MAX_BODY_BYTES)
        if len(body) != length:
            raise ValueError("its length is not what the header says")
    except (zstandard.ZstdError, ValueError) as error:
        raise DamagedError(f"{source}: the checkpoint is damaged: {error}") from error
    return body

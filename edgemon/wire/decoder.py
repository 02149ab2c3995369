"""One zstd frame to a batch.

Nothing in it is believed: whatever the bytes are, the answer is a batch or a DamagedError.
"""

from __future__ import annotations

from edgemon._core import msgpack
from edgemon.errors import DamagedError, UnsupportedError
from edgemon.records import KINDS, Batch
from edgemon.typed import Any
from edgemon.wire import scheme
from edgemon.wire.reading import MALFORMED, MAX_COLUMNS, line_of, read_columns
from edgemon.zstd import zstandard


def decode(frame: bytes) -> Batch:
    """The batch in one frame; columns of an unknown encoding are left out.

    DamagedError: not one whole frame of this format.  UnsupportedError, a DamagedError too: it needs
    a newer reader; keep the bytes.
    """
    return decode_report(frame)[0]


def decode_report(frame: bytes) -> tuple[Batch, list[str]]:
    """The batch, and the names of the columns left out: their type or encoding is unknown."""
    try:
        envelope = msgpack.unpackb(
            decompress(frame),
            max_array_len=scheme.MAX_ROWS,
            max_map_len=MAX_COLUMNS,
        )
    except MALFORMED as error:
        raise DamagedError(f"a batch that is no msgpack: {line_of(error)}") from None
    if type(envelope) is not dict:
        raise DamagedError("a batch that is no msgpack map")
    _check_version(envelope)
    try:
        return _batch(envelope)
    except MALFORMED as error:
        raise DamagedError(f"a malformed batch: {line_of(error)}") from None


def decompress(frame: bytes) -> bytes:
    """The body of one frame, with its checksum verified; DamagedError for anything else."""
    try:
        header = zstandard.get_frame_parameters(frame)
        size = header.content_size
        if size > scheme.MAX_BODY_BYTES:  # an undeclared size is the largest of all
            raise DamagedError(
                f"a batch declares no size or more than {scheme.MAX_BODY_BYTES} bytes"
            )
        if not header.has_checksum:
            raise DamagedError("a batch without a checksum")
        decompressor = zstandard.ZstdDecompressor(max_window_size=2 * scheme.MAX_BODY_BYTES)
        body = decompressor.decompress(
            frame, max_output_size=size, read_across_frames=False, allow_extra_data=False
        )
    except (zstandard.ZstdError, ValueError, MemoryError) as error:
        raise DamagedError(f"a batch that is not one whole zstd frame: {line_of(error)}") from None
    if len(body) != size:
        raise DamagedError(f"a batch of {len(body)} bytes that declares {size}")
    return body


def _check_version(envelope: dict[str, Any]) -> None:
    version = envelope.get("em")
    if type(version) is not int or version < 1:
        raise DamagedError("a map that is no batch: it has no format version")
    if version > scheme.FORMAT_VERSION:
        raise UnsupportedError(
            f"a batch of format {version}; this reader knows {scheme.FORMAT_VERSION}: upgrade it"
        )
    required = envelope.get("req", [])
    if type(required) is not list:
        raise DamagedError("a malformed batch: req is no list")
    if required:
        names = ", ".join(repr(name) for name in required[:8])
        raise UnsupportedError(f"a batch that needs {names}, unknown to this reader: upgrade it")


def _batch(envelope: dict[str, Any]) -> tuple[Batch, list[str]]:
    kind = _field(envelope, "k", str)
    if kind not in KINDS:
        raise UnsupportedError(f"a batch of the unknown kind {kind!r}: upgrade this reader")
    rows = _count(envelope, "n")
    if rows > scheme.MAX_ROWS:
        raise ValueError(f"{rows} rows are more than {scheme.MAX_ROWS}")
    bins = _field(envelope, "d", list)
    if any(type(data) is not bytes for data in bins):
        raise ValueError("d holds what is no bin")
    clock_error = envelope["clk"]
    if clock_error is not None and type(clock_error) not in (int, float):
        raise ValueError("clk is no number")
    resource = _field(envelope, "r", dict)
    if any(type(text) is not str for pair in resource.items() for text in pair):
        raise ValueError("r holds what is no text")
    columns, skipped = read_columns(_field(envelope, "c", list), bins, rows)
    batch = Batch(
        kind=kind,
        seq=_count(envelope, "seq"),
        device=_field(envelope, "dev", str),
        fleet=_field(envelope, "fleet", str),
        stream=_identity(envelope, "stream"),
        boot=_identity(envelope, "boot"),
        wall_ns=_field(envelope, "t0", int),
        mono_ns=_field(envelope, "m0", int),
        clock_error_ms=clock_error,
        dropped=_count(envelope, "drop"),
        resource=resource,
        rows=rows,
        columns=columns,
    )
    return batch, skipped


def _field(envelope: dict[str, Any], key: str, wanted: type) -> Any:
    value = envelope.get(key)
    if type(value) is not wanted:
        raise ValueError(f"{key} is missing or no {wanted.__name__}")
    return value


def _count(envelope: dict[str, Any], key: str) -> int:
    value: int = _field(envelope, key, int)
    if value < 0:
        raise ValueError(f"{key} is negative")
    return value


def _identity(envelope: dict[str, Any], key: str) -> bytes:
    value: bytes = _field(envelope, key, bytes)
    if len(value) != scheme.ID_BYTES:
        raise ValueError(f"{key} has {len(value)} bytes, not {scheme.ID_BYTES}")
    return value

"""What has been delivered, per kind: the shipper's file.

It is replaced as a whole (temporary file, fsync, rename, fsync of the folder) before the agent, which reads
it, removes a segment. Little-endian:

    offset  size  field
         0     4  "EMCU"
         4     4  format version, 1
         8  4 × 8  for each kind in the order of records.KINDS: the highest seq with all up to it delivered
        40     4  crc32c of all before

Missing or damaged, it counts as zeros: what the segments still hold is delivered again, and dropped by the
receiver, which knows (device, stream, kind, seq).
"""

from __future__ import annotations

import struct

from edgemon._core.crc32c import crc32c
from edgemon.records import KINDS
from edgemon.spool import layout
from edgemon.spool.fs import FileSystem, join, write_atomically

_BODY = struct.Struct(f"<4sI{len(KINDS)}Q")
_CRC = struct.Struct("<I")
_MAGIC = b"EMCU"
_VERSION = 1


def read_cursor(fs: FileSystem, directory: str) -> dict[str, int]:
    """kind -> highest delivered seq, zeros when there is no whole cursor. Never raises OSError."""
    return _read(fs, directory) or dict.fromkeys(KINDS, 0)


def cursor_is_whole(fs: FileSystem, directory: str) -> bool:
    """Whether there is a cursor and it can be read."""
    return _read(fs, directory) is not None


def _read(fs: FileSystem, directory: str) -> dict[str, int] | None:
    try:
        data = fs.read(join(directory, layout.CURSOR), 0, _BODY.size + _CRC.size)
    except OSError:
        data = b""
    if len(data) == _BODY.size + _CRC.size:
        magic, version, *numbers = _BODY.unpack_from(data)
        whole = _CRC.unpack_from(data, _BODY.size)[0] == crc32c(data[: _BODY.size])
        if magic == _MAGIC and version == _VERSION and whole:
            return dict(zip(KINDS, numbers, strict=True))
    return None


class Cursor:
    """The shipper's hold on the cursor. One at a time.

    >>> cursor = Cursor(fs, directory)          # doctest: +SKIP
    >>> cursor.acked("pred")                    # doctest: +SKIP
    0
    >>> cursor.advance("pred", 17); cursor.store()      # doctest: +SKIP
    """

    __slots__ = ("_acked", "_directory", "_fs", "_stored")

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs = fs
        self._directory = directory
        self._acked = read_cursor(fs, directory)
        self._stored = dict(self._acked)

    def acked(self, kind: str) -> int:
        """Everything of this kind up to here has been delivered."""
        return self._acked[kind]

    def advance(self, kind: str, seq: int) -> None:
        """All up to `seq` has been delivered. In memory; going back is ignored."""
        self._acked[kind] = max(self._acked[kind], seq)

    @property
    def dirty(self) -> bool:
        """Whether `store` has something to write."""
        return self._acked != self._stored

    def store(self) -> None:
        """Make it durable; returns at once when nothing moved. Raises OSError; the old one then stands."""
        if not self.dirty:
            return
        body = _BODY.pack(_MAGIC, _VERSION, *(self._acked[kind] for kind in KINDS))
        write_atomically(
            self._fs, join(self._directory, layout.CURSOR), body + _CRC.pack(crc32c(body))
        )
        self._stored = dict(self._acked)

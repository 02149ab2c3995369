"""Small state that is rewritten in place, without new space: it must work on a full disk.

The file has two slots. A store writes the slot that does not hold the newest state, so that a torn write
leaves the other one whole. Little-endian, one slot:

    offset  size  field
         0     4  "EMSL"
         4     4  length of the payload
         8     8  generation; the valid slot with the higher one counts
        16     n  payload
      16+n     4  crc32c of all before
"""

from __future__ import annotations

import struct

from edgemon._core.crc32c import crc32c
from edgemon.spool.fs import File, FileSystem

_HEADER = struct.Struct("<4sIQ")
_CRC = struct.Struct("<I")
_MAGIC = b"EMSL"
OVERHEAD_BYTES = _HEADER.size + _CRC.size


def load(fs: FileSystem, path: str, slot_bytes: int) -> tuple[int, bytes] | None:
    """(generation, payload) of the newest whole slot; None when there is none. For any process."""
    try:
        data = fs.read(path, 0, 2 * slot_bytes)
    except OSError:
        return None
    slots = (_parse(data[:slot_bytes]), _parse(data[slot_bytes:]))
    return max((slot for slot in slots if slot is not None), default=None)


def _parse(slot: bytes) -> tuple[int, bytes] | None:
    if len(slot) < OVERHEAD_BYTES:
        return None
    magic, length, generation = _HEADER.unpack_from(slot)
    end = _HEADER.size + length
    if magic != _MAGIC or end + _CRC.size > len(slot):
        return None
    if _CRC.unpack_from(slot, end)[0] != crc32c(slot[:end]):
        return None
    return generation, slot[_HEADER.size : end]


class SlotFile:
    """The writer's side. One writer; readers in other processes use `load`."""

    __slots__ = ("_file", "_fs", "_generation", "_in_doubt", "_path", "_slot_bytes")

    def __init__(self, fs: FileSystem, path: str, slot_bytes: int) -> None:
        self._fs = fs
        self._path = path
        self._slot_bytes = slot_bytes
        self._generation = 0
        self._in_doubt = False  # whether the newest slot is on the medium
        self._file: File | None = None

    def load(self) -> bytes | None:
        """The stored payload, None when there is none. Call before the first store, and after `close`."""
        found = load(self._fs, self._path, self._slot_bytes)
        self._in_doubt = False
        if found is None:
            return None
        self._generation = found[0]
        return found[1]

    def is_newest(self) -> bool:
        """Whether the file of that name still holds what was stored last."""
        found = load(self._fs, self._path, self._slot_bytes)
        return found is not None and found[0] == self._generation

    def store(self, payload: bytes, *, sync: bool) -> None:
        """Replace the payload; readers see it at once. sync: return only when it is on the medium.

        Raises OSError. Of a sync that failed nobody knows what it left: the next store takes the same slot.
        """
        if len(payload) + OVERHEAD_BYTES > self._slot_bytes:
            raise ValueError("the payload does not fit the slot")
        if self._file is None:
            self._file = self._open()
        generation = self._generation + (2 if self._in_doubt else 1)
        head = _HEADER.pack(_MAGIC, len(payload), generation) + payload
        slot = head + _CRC.pack(crc32c(head))
        self._file.write_at(generation % 2 * self._slot_bytes, slot)
        self._generation = generation
        if sync:
            try:
                self._file.sync()
            except OSError:
                self._in_doubt = True
                raise
            self._in_doubt = False

    def _open(self) -> File:
        """Take the space of both slots now: a later store must not need any."""
        file = self._fs.open(self._path)
        try:
            size = self._fs.size(self._path)
            if size < 2 * self._slot_bytes:
                file.write_at(size, bytes(2 * self._slot_bytes - size))
                file.sync()
            self._fs.sync_dir(self._path.rpartition("/")[0])
        except OSError:
            file.close()
            raise
        return file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

"""What has been delivered, per kind: the shipper's file.

It is rewritten in place, with one fsync of data that change no length, where a new file and its name take two; and
without new space, so that it works on a full disk. The agent, which reads it, may see it before it is durable, and
makes what it frees durable itself.

The payload of slots.py, little-endian: for each kind in the order of records.KINDS a u64, the highest seq with all up
to it delivered.

A slot that is damaged counts as the one before it; without either, it is zeros: what the segments still hold is
delivered again, and dropped by the receiver, which knows (device, stream, kind, seq).
"""

from __future__ import annotations

import struct

from edgemon.records import KINDS
from edgemon.spool import layout, slots
from edgemon.spool.fs import FileSystem, join

# A page each: a write that is cut short in one must not touch the other.
SLOT_BYTES = 4096
_PAYLOAD = struct.Struct(f"<{len(KINDS)}Q")


def read_cursor(fs: FileSystem, directory: str) -> dict[str, int]:
    """kind -> highest delivered seq, zeros when there is no whole cursor. Never raises OSError."""
    return _read(fs, directory) or _nothing()


def cursor_is_whole(fs: FileSystem, directory: str) -> bool:
    """Whether there is a cursor and it can be read."""
    return _read(fs, directory) is not None


def _read(fs: FileSystem, directory: str) -> dict[str, int] | None:
    found = slots.load(fs, join(directory, layout.CURSOR), SLOT_BYTES)
    return None if found is None else _unpack(found[1])


def _unpack(payload: bytes | None) -> dict[str, int] | None:
    if payload is None or len(payload) != _PAYLOAD.size:
        return None
    return dict(zip(KINDS, _PAYLOAD.unpack(payload), strict=True))


def _nothing() -> dict[str, int]:
    return dict.fromkeys(KINDS, 0)


class Cursor:
    """The shipper's hold on the cursor. One at a time.

    >>> cursor = Cursor(fs, directory)          # doctest: +SKIP
    >>> cursor.acked("pred")                    # doctest: +SKIP
    0
    >>> cursor.advance("pred", 17); cursor.store()      # doctest: +SKIP
    """

    __slots__ = ("_acked", "_fs", "_path", "_slots", "_stored")

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs = fs
        self._path = join(directory, layout.CURSOR)
        self._slots = slots.SlotFile(fs, self._path, SLOT_BYTES)
        self._acked = _unpack(self._slots.load()) or _nothing()
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
        if not self._slots.is_newest():  # somebody removed the file, or put another in its place
            self._slots.close()
            self._slots.load()
        payload = _PAYLOAD.pack(*(self._acked[kind] for kind in KINDS))
        try:
            self._slots.store(payload, sync=True)
        except PermissionError:
            # A copy that somebody else made: what we may not write we may replace.
            self._fs.unlink(self._path)
            self._slots.store(payload, sync=True)
        self._stored = dict(self._acked)

    def close(self) -> None:
        """Give the file back."""
        self._slots.close()

"""Damaged bytes are kept for a person to look at, within a bound: the oldest go first."""

from __future__ import annotations

from edgemon.spool import layout
from edgemon.spool.fs import FileSystem, join
from edgemon.spool.segment import Read

_BLOCK_BYTES = 64 << 10


class Quarantine:
    """The folder of damaged bytes. Never more than `limit_bytes`."""

    __slots__ = ("_folder", "_fs", "_limit_bytes")

    def __init__(self, fs: FileSystem, directory: str, limit_bytes: int) -> None:
        self._fs = fs
        self._folder = join(directory, layout.QUARANTINE)
        self._limit_bytes = limit_bytes

    def keep(self, source: str, read: Read, offset: int, length: int) -> int:
        """Copy `length` bytes at `offset` of the file `source`; durable when it returns.

        Returns the bytes kept: fewer than `length` when it is over the limit, when the source cannot be
        read, or when the disk refuses. Never raises OSError: keeping evidence must not stop a start.
        """
        length = min(length, self._limit_bytes)
        kept = 0
        try:
            self._fs.make_dir(self._folder)
            names = self._fs.listdir(self._folder)
            self._make_room(names, length)
            number = 1 + max((int(n[:8]) for n in names if n[:8].isdigit()), default=0)
            name = f"{number:08d}-{source.replace('/', '-')}-{offset}.bin"
            file = self._fs.open(join(self._folder, name))
            try:
                while kept < length:
                    data = read(offset + kept, min(_BLOCK_BYTES, length - kept))
                    if not data:
                        break
                    file.write_at(kept, data)
                    kept += len(data)
                file.sync()
            finally:
                file.close()
            self._fs.sync_dir(self._folder)
        except OSError:
            return kept
        return kept

    def size_bytes(self) -> int:
        """What the folder holds; 0 when there is none."""
        try:
            return sum(
                self._fs.size(join(self._folder, name)) for name in self._fs.listdir(self._folder)
            )
        except OSError:
            return 0

    def _make_room(self, names: list[str], wanted: int) -> None:
        sizes = [(name, self._fs.size(join(self._folder, name))) for name in names]
        total = sum(size for _, size in sizes)
        for name, size in sizes:
            if total + wanted <= self._limit_bytes:
                return
            self._fs.unlink(join(self._folder, name))
            total -= size

"""The bounded folder of what arrived and could not be stored.

    <folder>/<hash>-<reason>.zst               damaged: the oldest goes when there is no room
    <folder>/unsupported/<hash>-<reason>.zst   whole, but of a newer format: never thrown away

When the second part is full the receiver stops acknowledging and says so. The hash is the first
16 hex of the content's SHA-256, so what comes twice is kept once. After an upgrade,
`edgemon receive <folder>/unsupported --to …` stores what the older version could not read.
"""

from __future__ import annotations

import hashlib
import os
import re
import time

from edgemon import log
from edgemon.errors import StorageError
from edgemon.spool.fs import FileSystem, OsFileSystem, join, write_atomically

MAX_DAMAGED_BYTES = 64 * 1024 * 1024
MAX_UNSUPPORTED_BYTES = 1024 * 1024 * 1024
MAX_FILES = 10_000
_HASH_HEX = 16
_REASON_CHARS = 48


class Quarantine:
    """folder: made when the first payload comes. The bounds count whole files, per part."""

    def __init__(
        self,
        folder: str,
        fs: FileSystem | None = None,
        *,
        max_damaged_bytes: int = MAX_DAMAGED_BYTES,
        max_unsupported_bytes: int = MAX_UNSUPPORTED_BYTES,
        max_files: int = MAX_FILES,
    ) -> None:
        fs = fs or OsFileSystem()
        self.folder = os.path.abspath(folder)
        self._damaged = _Part(fs, self.folder, max_damaged_bytes, max_files, drop_oldest=True)
        self._unsupported = _Part(
            fs,
            join(self.folder, "unsupported"),
            max_unsupported_bytes,
            max_files,
            drop_oldest=False,
        )

    def put(self, payload: bytes, reason: str, *, supported: bool) -> str:
        """Keep `payload`, durably; the path of its file. Raises StorageError: it is not kept."""
        part = self._damaged if supported else self._unsupported
        try:
            return part.put(payload, reason)
        except OSError as error:
            raise StorageError(f"quarantine {part.folder}: {error.strerror}") from None


class _Part:
    """One folder of files, bounded in bytes and number."""

    def __init__(
        self, fs: FileSystem, folder: str, max_bytes: int, max_files: int, *, drop_oldest: bool
    ) -> None:
        self.folder = folder
        self._fs = fs
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._drop_oldest = drop_oldest
        self._sizes: dict[str, int] | None = None  # by name, oldest first; None = not read yet
        self._newest_ns = 0  # the newest file's time of change

    def put(self, payload: bytes, reason: str) -> str:
        digest = hashlib.sha256(payload).hexdigest()[:_HASH_HEX]
        sizes = self._sizes if self._sizes is not None else self._read()
        for name in sizes:
            if name.startswith(digest):
                return join(self.folder, name)
        if self._is_full(sizes, len(payload)):
            sizes = self._read()  # somebody may have moved files away
            self._make_room(sizes, len(payload))
        slug = re.sub(r"[^A-Za-z0-9]+", "-", reason).strip("-").lower()[:_REASON_CHARS].rstrip("-")
        name = f"{digest}-{slug}.zst"
        path = join(self.folder, name)
        write_atomically(self._fs, path, payload)
        # The kernel's own stamps are milliseconds apart, and the order must be strict.
        self._newest_ns = max(self._newest_ns + 1, time.time_ns())
        os.utime(path, ns=(self._newest_ns, self._newest_ns))
        sizes[name] = len(payload)
        return path

    def _is_full(self, sizes: dict[str, int], wanted: int) -> bool:
        return bool(sizes) and (
            sum(sizes.values()) + wanted > self._max_bytes or len(sizes) >= self._max_files
        )

    def _make_room(self, sizes: dict[str, int], wanted: int) -> None:
        while self._is_full(sizes, wanted):
            if not self._drop_oldest:
                raise StorageError(
                    f"{self.folder} is full: upgrade edgemon and receive these files,"
                    " or move them away"
                )
            name = next(iter(sizes))
            self._fs.unlink(join(self.folder, name))
            del sizes[name]
            log.warning("the quarantine is full, its oldest file is dropped", file=name)

    def _read(self) -> dict[str, int]:
        self._fs.make_dir(self.folder)
        found: list[tuple[int, str, int]] = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".zst") and entry.is_file():
                    status = entry.stat()
                    found.append((status.st_mtime_ns, entry.name, status.st_size))
        found.sort()
        self._sizes = {name: size for _, name, size in found}
        self._newest_ns = found[-1][0] if found else 0
        return self._sizes

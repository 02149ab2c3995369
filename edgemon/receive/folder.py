"""Source: files, and trees of them. Reads whatever is made of zstd frames: batches, segments.

In a tree every `*.zst` counts, in order of path, without the folders `quarantine` and `journal`
(a spool's open batches, which the agent turns into segments itself). A file that was named is
read whatever its name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from edgemon import log
from edgemon.errors import DamagedError, UnreachableError
from edgemon.receive.control import Commits, Limits, Stop
from edgemon.receive.frames import Damage, Frame, FrameReader, Torn
from edgemon.receive.intake import Intake

READ_BYTES = 1024 * 1024
POLL_S = 1.0
_SKIPPED_FOLDERS = frozenset({"quarantine", "journal"})


class Outcome(NamedTuple):
    """What a pass over files found.  torn: files that end inside a frame."""

    files: int
    torn: list[str]


class _Known(NamedTuple):
    """How far a file is read.  inode: a file of the same name may be another."""

    inode: int
    offset: int
    size: int


def find_files(paths: list[str]) -> Iterator[str]:
    """The files there are now; UnreachableError when a path is not there at all."""
    for path in paths:
        if os.path.isdir(path):
            yield from _tree(path)
        elif os.path.exists(path):
            yield path
        else:
            raise UnreachableError(f"{path}: there is no such file or folder")


def total_bytes(paths: list[str]) -> int:
    """Size of what a pass over these would read."""
    return sum(_size(path) for path in find_files(paths))


class FolderSource:
    """paths: files and folders.  progress: called with the bytes that were read."""

    def __init__(
        self,
        paths: list[str],
        intake: Intake,
        stop: Stop,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._paths = paths
        self._intake = intake
        self._stop = stop
        self._limits = limits
        self._progress = progress
        self._known: dict[str, _Known] = {}
        self._commits = Commits(intake)
        self._patient = False

    def run_once(self) -> Outcome:
        """Read all that is there.

        Raises StorageError: then nothing is lost, and running it again goes on.
        """
        torn: list[str] = []
        files = 0
        for path in find_files(self._paths):
            if self._ended():
                break
            files += 1
            tail = self._read(path, 0)
            if tail is not None and tail.data:
                torn.append(path)
                log.warning(
                    "a file ends inside a batch",
                    file=path,
                    at_byte=tail.offset,
                    bytes=len(tail.data),
                )
        self._intake.commit()
        return Outcome(files, torn)

    def follow(self) -> None:
        """Read what is there and what comes, until the stop or a limit.

        A torn tail is a writer at work: wait.
        """
        self._patient = True
        idle_s = 0.0
        while not self._ended():
            idle_s = 0.0 if self._scan() else idle_s + POLL_S
            if self._ended() or (self._limits.idle_s is not None and idle_s >= self._limits.idle_s):
                break
            self._stop.wait(POLL_S)
        self._settle()

    def _ended(self) -> bool:
        return self._stop.requested or self._limits.reached(
            self._intake.totals.taken + self._intake.pending
        )

    def _scan(self) -> bool:
        """One look at the tree; whether anything had grown."""
        grown = False
        present = set()
        for path in find_files(self._paths):
            if self._ended():
                return grown
            present.add(path)
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue  # acknowledged segments vanish
            known = self._known.get(path)
            if known is None or known.inode != status.st_ino or status.st_size < known.offset:
                known = _Known(status.st_ino, 0, 0)
            if status.st_size != known.size:
                grown = True
                tail = self._read(path, known.offset)
                if tail is not None:
                    self._known[path] = _Known(status.st_ino, tail.offset, status.st_size)
        for path in self._known.keys() - present:
            del self._known[path]
        self._settle()
        return grown

    def _read(self, path: str, offset: int) -> Torn | None:
        """All whole frames from `offset`.

        Then the tail (empty: none), or None when the file is gone or we stop.
        """
        reader = FrameReader(offset=offset)
        try:
            file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by the next statement)
        except FileNotFoundError:
            return None
        with file:
            file.seek(offset)
            while not self._ended():
                data = file.read(READ_BYTES)
                if data:
                    reader.feed(data)
                else:
                    reader.finish()
                for item in reader.items():
                    if isinstance(item, Torn):
                        return item
                    self._take(item, path, reader)
                    if self._ended():
                        return None
                self._progress(len(data))
                if not data:
                    return Torn(reader.offset, b"")
        return None

    def _take(self, item: Frame | Damage, path: str, reader: FrameReader) -> None:
        origin = f"{path} at byte {item.offset}"
        if isinstance(item, Damage):
            self._intake.take_damage(item.data, item.reason, origin)
        else:
            try:
                self._intake.take_frame(item.data, origin)
            except DamagedError as error:
                reader.reject(str(error))
        if self._intake.full:
            self._settle()

    def _settle(self) -> None:
        """Commit what is pending.

        When following, wait for a store that cannot; a single pass raises instead.
        """
        if not self._patient:
            self._intake.commit()
            return
        while self._intake.pending and self._commits.attempt() is None:
            if self._stop.wait(self._commits.retry_at - time.monotonic()):
                return


def _tree(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            if name.endswith(".zst"):
                yield os.path.join(parent, name)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0

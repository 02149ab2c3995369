"""Getting lanes and journals onto a disk that may refuse: what is tried, how often, and what is said of it."""

from __future__ import annotations

from edgemon.spool.fs import FileSystem
from edgemon.spool.health import FULL, Health
from edgemon.spool.journal import Journal, Journals
from edgemon.spool.lane import Lane
from edgemon.spool.retention import Retention
from edgemon.std.collections.abc import Callable

# One write removes so many segments for room, and moves to so many new files, before it gives up for now.
MAX_EVICTIONS_PER_WRITE = 4
MAX_DISTRUSTS_PER_WRITE = 2
_NO_ROOM = {
    "max_size": "spool.max_size is used up by data that may not go",
    "reserve_free": "the file system has less free than spool.reserve_free",
}


def reason_of(failure: str) -> str:
    """Why batches that wait in memory must be dropped, by what the disk said last; one of gaps.REASONS."""
    for reason, said in _NO_ROOM.items():
        if failure == said:
            return reason
    return "disk_full" if "ENOSPC" in failure else "disk_failed"


class Persistence:
    """Writes and syncs what others hold in memory; makes room, or moves to another file, when that helps."""

    __slots__ = ("_fs", "_health", "_retention")

    def __init__(self, fs: FileSystem, retention: Retention, health: Health) -> None:
        self._fs = fs
        self._retention = retention
        self._health = health

    def write_lane(self, lane: Lane, *, sync: bool) -> bool:
        """Write what a lane holds in memory, in order, and sync it. False: the disk did not, for now."""
        attempts = _Attempts()
        while True:
            try:
                held = False
                while not held and (item := lane.unwritten()) is not None:
                    short = self._retention.make_room(lane.kind, len(item.record))
                    if not short:
                        lane.write(item)
                    elif self._retention.blocks(lane.kind):
                        self._health.fail(short, _NO_ROOM[short])
                        held = True
                    else:
                        self._retention.drop_pending(lane, item, short)
                if sync and lane.dirty:
                    lane.sync()
                return not held
            except OSError as error:
                if not self._may_retry(error, lane.kind, attempts, lane.distrust):
                    return False

    def write_journal(self, journal: Journal, *, sync: bool) -> bool:
        """The same for the journal of an open batch. Its folder is the caller's to sync."""
        attempts = _Attempts()
        while True:
            try:
                if short := self._retention.make_room(journal.kind, journal.unwritten_bytes()):
                    self._health.fail(short, _NO_ROOM[short])
                    return False
                journal.write()
                if sync:
                    journal.sync()
                return True
            except OSError as error:
                if not self._may_retry(error, journal.kind, attempts, journal.distrust):
                    return False

    def sync_journals(self, journals: Journals, after: dict[str, int] | None = None) -> bool:
        """The same for all journals, and their names; or for those of batches after a number of their kind.
        False: a chunk is not durable."""
        live = [j for j in journals.live() if after is None or j.seq > after[j.kind]]
        changed = [journal for journal in live if journal.dirty]
        durable = not any(journal.broken for journal in live)
        synced = [journal for journal in changed if self.write_journal(journal, sync=True)]
        if any(journal.unnamed for journal in synced):
            try:
                self._fs.sync_dir(journals.folder)
            except OSError as error:
                self._health.fail_by(error)
                for journal in synced:
                    journal.distrust()
                return False
        for journal in synced:
            journal.synced()
        return durable and len(synced) == len(changed)

    def _may_retry(
        self, error: OSError, kind: str, attempts: _Attempts, distrust: Callable[[], None]
    ) -> bool:
        """Do what helps against this error. False: nothing does, for now."""
        self._health.fail_by(error)
        if error.errno in FULL:
            attempts.evictions -= 1
            return attempts.evictions >= 0 and self._retention.remove_one(kind, "disk_full")
        distrust()
        attempts.distrusts -= 1
        return attempts.distrusts >= 0


class _Attempts:
    """What one operation may still try before it gives up for now."""

    __slots__ = ("distrusts", "evictions")

    def __init__(self) -> None:
        self.evictions = MAX_EVICTIONS_PER_WRITE
        self.distrusts = MAX_DISTRUSTS_PER_WRITE

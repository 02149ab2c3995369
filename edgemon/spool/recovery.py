"""What is done with a folder at open: every whole record is kept, everything else is copied and cut out.

A torn tail is truncated. Damage in the middle is cut out by writing the segment anew beside the old one and
renaming it, so that the next start finds a sound file and `zstd -t` passes again. Damaged bytes go to the
quarantine first. Files that are not ours are left alone; files that cannot be read are left alone too.
Nothing here refuses to start: what cannot be repaired is counted, and used as far as it is whole.
"""

from __future__ import annotations

from edgemon.spool import layout
from edgemon.spool.found import FoundFile, FoundJournal, FoundLane, Recovery
from edgemon.spool.fs import FileSystem, join, reader_of
from edgemon.spool.lane import Segment
from edgemon.spool.quarantine import Quarantine
from edgemon.spool.segment import Damage, Entry, Read, is_foreign_version, scan

_MENDING = ".mending"


class Recoverer:
    """Scans the files of one spool directory, and mends them.

    Two steps: what is lost must be written down before the evidence is removed.
    """

    __slots__ = ("_directory", "_fs", "_quarantine", "report")

    def __init__(
        self, fs: FileSystem, directory: str, quarantine: Quarantine, report: Recovery
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._quarantine = quarantine
        self.report = report

    def scan_lane(self, kind: str) -> FoundLane:
        """Read all segments of a kind. Only empty files are removed."""
        folder = join(self._directory, layout.FOLDERS[kind])
        files: list[FoundFile] = []
        # Of two that begin alike the higher copy was written later; as text "…-1" comes before "…".
        order: dict[str, tuple[int, int, int]] = {}
        for name in self._names(folder):
            parsed = layout.parse_segment_name(name)
            if parsed is None:
                self.report.foreign_files += 1
                continue
            found = self._file(folder, name, kind, journal=False)
            if found is not None:
                if not found.damage:
                    found.kept = []  # one line a batch: too much to hold for all files at once
                files.append(found)
                order[name] = (found.segment.first_seq, *parsed)
        files.sort(key=lambda found: order[found.segment.name])
        lane = FoundLane(files)
        self.report.segments += len(lane.segments)
        self.report.batches += sum(segment.batches for segment in lane.segments)
        return lane

    def mend_lane(self, kind: str, lane: FoundLane) -> None:
        """Leave nothing but whole records, each once, in files whose names are true."""
        folder = join(self._directory, layout.FOLDERS[kind])
        for found in lane.files:
            if found.damage:
                self._mend(folder, found)
                found.kept = []
            parsed = layout.parse_segment_name(found.segment.name)
            if parsed is not None and 0 < found.segment.first_seq < parsed[0]:
                self._rename(folder, found.segment)
        self._cut_stale(folder, kind, lane.files)

    def scan_journals(self) -> dict[tuple[str, int], FoundJournal]:
        """Read all journals, by kind and seq. Only empty files are removed."""
        folder = join(self._directory, layout.JOURNAL)
        journals: dict[tuple[str, int], FoundJournal] = {}
        for name in self._names(folder):
            parsed = layout.parse_journal_name(name)
            if parsed is None:
                self.report.foreign_files += 1
                continue
            kind, seq, _ = parsed
            unreadable, foreign = self.report.unreadable_files, self.report.foreign_files
            found = self._file(folder, name, kind, journal=True, seq=seq)
            if found is not None:
                journals.setdefault((kind, seq), FoundJournal()).files.append(found)
            elif self.report.unreadable_files > unreadable:
                journals.setdefault((kind, seq), FoundJournal()).unreadable.append(name)
            elif self.report.foreign_files > foreign:
                journals.setdefault((kind, seq), FoundJournal()).foreign = True
        return journals

    def mend_journal(self, journal: FoundJournal) -> None:
        """The same for the files of one open batch."""
        for found in journal.files:
            if found.damage:
                self._mend(join(self._directory, layout.JOURNAL), found)

    def _names(self, folder: str) -> list[str]:
        """The names in a folder, less what an interrupted repair left behind."""
        try:
            names = self._fs.listdir(folder)
        except OSError:
            return []
        for name in [name for name in names if name.endswith(_MENDING)]:
            names.remove(name)
            try:
                self._fs.unlink(join(folder, name))
            except OSError:
                self.report.unrepaired_files += 1
        return names

    def _file(
        self, folder: str, name: str, kind: str, *, journal: bool, seq: int = 0
    ) -> FoundFile | None:
        """Scan one file; None when it is not to be used (empty, foreign or unreadable)."""
        path = join(folder, name)
        read = reader_of(self._fs, path)
        try:
            size = self._fs.size(path)
            if size == 0:
                self._fs.unlink(path)
                return None
            found = FoundFile(name)
            self._scan(read, size, found, kind, journal, seq)
            # One damaged byte makes a record look like that: it is believed of a whole file only.
            if not found.kept and is_foreign_version(read(0, 13)):
                self.report.foreign_files += 1
                return None
        except OSError:
            self.report.unreadable_files += 1
            return None
        return found

    def _scan(
        self, read: Read, size: int, found: FoundFile, kind: str, journal: bool, seq: int
    ) -> None:
        last = -1 if journal else 0
        for item in scan(read, size):
            if isinstance(item, Entry):
                header = item.header
                number = header.part if journal else header.seq
                ours = header.kind == kind and header.journal == journal
                if ours and number > last and (not journal or header.seq == seq):
                    found.segment.add(header)
                    found.kept.append(item._replace(frame=b""))
                    if found.runs and found.runs[-1][1] + 1 == number:
                        found.runs[-1] = (found.runs[-1][0], number)
                    else:
                        found.runs.append((number, number))
                    last = number
                    continue
                item = Damage(item.offset, header.record_bytes, None, at_end=False)
            elif item.header is not None and item.header.kind == kind:
                found.lost[item.header.seq] = item.header.rows
            found.damage.append(item)

    def _mend(self, folder: str, found: FoundFile) -> None:
        """Leave nothing but whole records in the file. On failure it stays as it is, and is not appended to."""
        name = found.segment.name
        read = reader_of(self._fs, join(folder, name))
        for damage in found.damage:
            if damage.at_end:
                self.report.torn_bytes += damage.length
            else:
                self.report.damaged_runs += 1
                self.report.damaged_bytes += damage.length
            self.report.quarantined_bytes += self._quarantine.keep(
                f"{folder.rpartition('/')[2]}-{name}", read, damage.offset, damage.length
            )
        try:
            if not found.kept:
                self._fs.unlink(join(folder, name))
            elif len(found.damage) == 1 and found.damage[0].at_end:
                self.truncate(join(folder, name), found.damage[0].offset)
            else:
                self._rewrite(folder, found, read)
        except OSError:
            self.report.unrepaired_files += 1
            found.sound = False
            found.segment.size_bytes += sum(damage.length for damage in found.damage)

    def _rewrite(self, folder: str, found: FoundFile, read: Read) -> None:
        path = join(folder, found.segment.name)
        file = self._fs.open(path + _MENDING)
        written = 0
        kept: list[Entry] = []
        try:
            file.truncate(0)
            for entry in found.kept:
                kept.append(entry._replace(offset=written))
                record = read(entry.offset, entry.header.record_bytes)
                file.write_at(written, record)
                written += len(record)
            file.sync()
        finally:
            file.close()
        self._fs.rename(path + _MENDING, path)
        self._fs.sync_dir(folder)
        found.kept = kept

    def truncate(self, path: str, size: int) -> None:
        """Cut a file, durably."""
        file = self._fs.open(path)
        try:
            file.truncate(size)
            file.sync()
        finally:
            file.close()

    def _rename(self, folder: str, segment: Segment) -> None:
        """A name promises that the segment holds nothing below it; readers search by it."""
        try:
            taken = set(self._fs.listdir(folder))
            copy = 0
            while layout.segment_name(segment.first_seq, copy) in taken:
                copy += 1
            name = layout.segment_name(segment.first_seq, copy)
            self._fs.rename(join(folder, segment.name), join(folder, name))
            self._fs.sync_dir(folder)
            segment.name = name
        except OSError:
            self.report.unrepaired_files += 1

    def _cut_stale(self, folder: str, kind: str, files: list[FoundFile]) -> None:
        """After a failed sync the batches in doubt were written again, into the segment that follows."""
        for i in range(len(files) - 2, -1, -1):
            limit = files[i + 1].segment.first_seq
            segment = files[i].segment
            if not segment.batches or not limit or segment.last_seq < limit:
                continue
            path = join(folder, segment.name)
            read = reader_of(self._fs, path)
            try:
                stale = next(
                    (
                        item.offset
                        for item in scan(read, segment.size_bytes, frames=False)
                        if isinstance(item, Entry) and item.header.seq >= limit
                    ),
                    segment.size_bytes,
                )
                if stale == 0:
                    self._fs.unlink(path)
                else:
                    self.truncate(path, stale)
            except OSError:
                self.report.unrepaired_files += 1
                files[i].sound = False
                continue
            again = FoundFile(segment.name)
            again.damage, again.sound, again.lost = files[i].damage, files[i].sound, files[i].lost
            if stale:
                self._scan(read, stale, again, kind, False, 0)
                again.kept = []
            files[i] = again

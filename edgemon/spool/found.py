"""What recovery finds: a report for people, and the files as far as they are whole."""

from __future__ import annotations

from edgemon.records import Event
from edgemon.spool import layout
from edgemon.spool.lane import Segment
from edgemon.spool.segment import Damage, Entry


class Recovery:
    """What open found. Counts; all zero after a clean stop."""

    __slots__ = (
        "batches",
        "copied",
        "damaged_bytes",
        "damaged_runs",
        "foreign_files",
        "gaps",
        "new_stream",
        "pending_journals",
        "quarantined_bytes",
        "rolled_back",
        "segments",
        "torn_bytes",
        "unreadable_files",
        "unrepaired_files",
    )

    def __init__(self) -> None:
        self.segments = 0
        self.batches = 0
        self.torn_bytes = 0  # at the end of a file: a write that a crash cut short
        self.damaged_runs = 0  # elsewhere
        self.damaged_bytes = 0
        self.quarantined_bytes = 0
        self.foreign_files = 0
        self.unreadable_files = 0
        self.unrepaired_files = 0
        self.pending_journals = 0
        self.gaps = 0
        self.new_stream = False
        self.copied = False  # another machine wrote here
        self.rolled_back = False  # the directory is older than the numbers that were told

    def as_dict(self) -> dict[str, int]:
        """Name -> count, for a log line or a status page."""
        return {name: int(getattr(self, name)) for name in self.__slots__}

    def events(self) -> list[Event]:
        """What of this a person should hear; what is lost, and where, comes as gaps."""
        events = []
        if self.found_damage:
            said = ", ".join(f"{name} {count}" for name, count in self.as_dict().items() if count)
            events.append(
                Event(
                    "spool.mended",
                    "warning",
                    f"the spool was damaged and has been mended: {said}",
                    data=dict(self.as_dict()),
                )
            )
        if self.copied or self.rolled_back:
            found = (
                "the spool comes from another machine"
                if self.copied
                else "the spool is older than what it has told, as after a restored backup"
            )
            events.append(
                Event(
                    "spool.copied" if self.copied else "spool.rolled_back",
                    "warning",
                    f"{found}: a new numbering of batches begins, so that no number is used twice",
                )
            )
        elif self.new_stream:
            events.append(Event("spool.stream", "info", "a new numbering of batches begins"))
        return events

    @property
    def found_damage(self) -> bool:
        """Whether a person should hear of it."""
        return bool(
            self.torn_bytes or self.damaged_runs or self.unreadable_files or self.unrepaired_files
        )


class FoundFile:
    """One scanned file. runs: consecutive seqs (or parts) that are whole.  lost: damaged header -> rows."""

    __slots__ = ("damage", "kept", "lost", "runs", "segment", "sound")

    def __init__(self, name: str) -> None:
        self.segment = Segment(name)
        self.runs: list[tuple[int, int]] = []
        self.lost: dict[int, int] = {}
        self.damage: list[Damage] = []
        self.kept: list[Entry] = []  # without their frames
        self.sound = True  # the file holds nothing but what is in `segment`


class FoundLane:
    """All segments of a kind, in order of their first seq, without overlap."""

    __slots__ = ("files",)

    def __init__(self, files: list[FoundFile]) -> None:
        self.files = files

    @property
    def segments(self) -> list[Segment]:
        return [found.segment for found in self.files if found.segment.batches]

    @property
    def last_seq(self) -> int:
        return max((segment.last_seq for segment in self.segments), default=0)

    @property
    def first_seq(self) -> int:
        return min((segment.first_seq for segment in self.segments), default=0)

    @property
    def damaged(self) -> bool:
        return any(found.damage or not found.sound for found in self.files)

    @property
    def evidence_seq(self) -> int:
        """The highest seq that damage speaks of: something was written there, and is lost."""
        last = self.last_seq
        highest = 0
        for found in self.files:
            highest = max(highest, *found.lost, 0)
            nameless = found.damage and found.damage[-1].at_end and not found.damage[-1].header
            if nameless and found.segment.last_seq == last:
                highest = max(highest, last + 1)
            elif found.damage and not found.segment.batches:
                parsed = layout.parse_segment_name(found.segment.name)
                highest = max(highest, parsed[0] if parsed else 0)
        return highest


class FoundJournal:
    """What is whole of one open batch's journal. unreadable: names of files that could not be read.

    foreign: there is a file that looks like a newer version's, and is left alone.
    """

    __slots__ = ("files", "foreign", "unreadable")

    def __init__(self) -> None:
        self.files: list[FoundFile] = []
        self.unreadable: list[str] = []
        self.foreign = False

    @property
    def names(self) -> list[tuple[str, int]]:
        """(name, bytes) of all files."""
        read = [(found.segment.name, found.segment.size_bytes) for found in self.files]
        return read + [(name, 0) for name in self.unreadable]

    @property
    def parts(self) -> dict[int, tuple[str, Entry]]:
        """Number of a chunk -> the file that has it, and where. Empty when nothing is whole."""
        parts: dict[int, tuple[str, Entry]] = {}
        for found in self.files:
            for entry in found.kept:
                parts.setdefault(entry.header.part, (found.segment.name, entry))
        return parts

    @property
    def damaged(self) -> bool:
        return self.foreign or bool(self.unreadable) or any(found.damage for found in self.files)

    @property
    def incomplete(self) -> bool:
        """Whether a chunk is known, or suspected, to be lost."""
        parts = self.parts
        return self.damaged or len(parts) != max(parts, default=-1) + 1

    @property
    def lost_rows(self) -> int:
        """As far as damaged headers tell."""
        return sum(rows for found in self.files for rows in found.lost.values())

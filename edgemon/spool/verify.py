"""Look at everything in a spool directory and change nothing: what is whole, what is not, what is missing.

Works beside a running agent: files that vanish are left out, and the end of a file that is being written is
no damage. What an agent would mend at its next start is damage here.
"""

from __future__ import annotations

from edgemon.records import KINDS
from edgemon.spool import layout, slots
from edgemon.spool.cursor import cursor_is_whole, read_cursor
from edgemon.spool.fs import FileSystem, join, reader_of
from edgemon.spool.gaps import SLOT_BYTES, GapLedger, missing_ranges
from edgemon.spool.origin import read_origin
from edgemon.spool.segment import Damage, is_foreign_version, scan
from edgemon.spool.watermark import Watermark, read_watermark
from edgemon.std.collections.abc import Callable, Iterator
from edgemon.typed import NamedTuple


class Finding(NamedTuple):
    """One thing that is not as it should be. path: below the directory.  bytes: 0 when it is not about bytes."""

    path: str
    offset: int
    bytes: int
    problem: str


class Verdict(NamedTuple):
    """What was looked at, and what was found. files, batches, rows, chunks: whole ones."""

    files: int
    batches: int
    rows: int
    chunks: int
    bytes: int
    findings: list[Finding]


class _Tally:
    """What adds up while files are read. runs: kind -> ranges of seqs that are there."""

    def __init__(self) -> None:
        self.files = self.batches = self.rows = self.chunks = self.bytes = 0
        self.findings: list[Finding] = []
        self.runs: dict[str, list[tuple[int, int]]] = {kind: [] for kind in KINDS}


def verify(fs: FileSystem, directory: str) -> Verdict:
    """Read every record of every file, and what is said about them. Never raises OSError."""
    tally = _Tally()
    # In this order: what is published was written before, and what was freed is known afterwards.
    mark = read_watermark(fs, directory)
    for kind in KINDS:
        durable = mark.durable[kind] if mark is not None else 0
        _segments(fs, directory, kind, durable, tally)
    _journals(fs, directory, tally)
    tally.findings += _state(fs, directory, mark is not None, bool(tally.files))
    if mark is not None:
        tally.findings += _numbers(fs, directory, mark, tally.runs)
    return Verdict(
        tally.files, tally.batches, tally.rows, tally.chunks, tally.bytes, tally.findings
    )


def _segments(fs: FileSystem, directory: str, kind: str, durable: int, tally: _Tally) -> None:
    folder = layout.FOLDERS[kind]
    names = _names(fs, join(directory, folder))
    known = sorted((p, name) for name in names if (p := layout.parse_segment_name(name)))
    for name in names:
        if layout.parse_segment_name(name) is None:
            tally.findings.append(Finding(f"{folder}/{name}", 0, 0, "is no segment"))
    last = 0
    for (named, _), name in known:
        runs = tally.runs[kind]

        def check(number: int, ours: bool, named: int = named, first: int = last) -> str:
            if not ours:
                return "belongs to another kind"
            return "" if number >= named and number > first else "is out of order"

        newest = name == known[-1][1]
        top = _file(
            fs,
            directory,
            f"{folder}/{name}",
            kind,
            False,
            check,
            durable if newest else None,
            tally,
            runs,
        )
        last = max(last, top)


def _journals(fs: FileSystem, directory: str, tally: _Tally) -> None:
    for name in _names(fs, join(directory, layout.JOURNAL)):
        path = f"{layout.JOURNAL}/{name}"
        parsed = layout.parse_journal_name(name)
        if parsed is None:
            tally.findings.append(Finding(path, 0, 0, "is no journal"))
            continue

        def check(_: int, ours: bool) -> str:
            return "" if ours else "belongs to another batch"

        _file(fs, directory, path, parsed[0], True, check, 0, tally, None)


def _file(
    fs: FileSystem,
    directory: str,
    path: str,
    kind: str,
    journal: bool,
    check: Callable[[int, bool], str],
    growing_from: int | None,
    tally: _Tally,
    runs: list[tuple[int, int]] | None,
) -> int:
    """Read one file. growing_from: its end may be in the making behind this seq. Returns its last seq."""
    read = reader_of(fs, join(directory, path))
    last = 0
    try:
        size = fs.size(join(directory, path))
        for item in scan(read, size):
            if isinstance(item, Damage):
                if item.length == size and is_foreign_version(read(0, 13)):
                    tally.findings.append(Finding(path, 0, size, "is of a newer format"))
                    return last
                if item.at_end and growing_from is not None and last >= growing_from:
                    continue
                named = f" (was {item.header.kind} {item.header.seq})" if item.header else ""
                problem = ("torn at the end" if item.at_end else "damaged") + named
                tally.findings.append(Finding(path, item.offset, item.length, problem))
                continue
            header = item.header
            if problem := check(header.seq, header.kind == kind and header.journal == journal):
                found = Finding(
                    path, item.offset, header.record_bytes, f"{header.kind} {header.seq} {problem}"
                )
                tally.findings.append(found)
                continue
            last = header.seq
            if journal:
                tally.chunks += 1
                continue
            tally.batches += 1
            tally.rows += header.rows
            if runs and runs[-1][1] + 1 == last:
                runs[-1] = (runs[-1][0], last)
            elif runs is not None:
                runs.append((last, last))
    except FileNotFoundError:
        return last  # delivered or evicted meanwhile
    except OSError as error:
        tally.findings.append(Finding(path, 0, 0, f"cannot be read: {error.strerror or error}"))
        return last
    tally.files += 1
    tally.bytes += size
    return last


def _state(fs: FileSystem, directory: str, marked: bool, used: bool) -> Iterator[Finding]:
    """The small files. What is not there is no damage in a spool that was never used."""
    if not marked and (used or _exists(fs, directory, layout.WATERMARK)):
        yield Finding(layout.WATERMARK, 0, 0, "is damaged or gone: a new numbering would begin")
    if used or _exists(fs, directory, layout.STREAM):
        try:
            text = fs.read(join(directory, layout.STREAM), 0, 64).decode("ascii").strip()
            whole = len(bytes.fromhex(text)) == 16
        except (OSError, ValueError):
            whole = False
        if not whole:
            yield Finding(layout.STREAM, 0, 0, "is damaged or gone: a new numbering would begin")
    gaps = join(directory, layout.GAPS)
    if _exists(fs, directory, layout.GAPS) and slots.load(fs, gaps, SLOT_BYTES) is None:
        yield Finding(layout.GAPS, 0, 0, "is damaged: what is missing would be told anew")
    if _exists(fs, directory, layout.CURSOR) and not cursor_is_whole(fs, directory):
        yield Finding(layout.CURSOR, 0, 0, "is damaged: what was not freed would be sent again")
    if _exists(fs, directory, layout.ORIGIN) and read_origin(fs, directory) is None:
        yield Finding(layout.ORIGIN, 0, 0, "is damaged")


def _numbers(
    fs: FileSystem, directory: str, mark: Watermark, runs: dict[str, list[tuple[int, int]]]
) -> Iterator[Finding]:
    """Numbers that were used and are nowhere: not in a segment, not delivered, in no gap."""
    acked = read_cursor(fs, directory)
    now = read_watermark(fs, directory) or mark
    ledger = GapLedger(fs, directory)
    ledger.load()
    for kind in KINDS:
        folder = layout.FOLDERS[kind]
        known = runs[kind] + ledger.ranges(kind)
        floor = max(acked[kind], now.freed[kind])
        for first, last in missing_ranges(floor + 1, mark.durable[kind], known):
            numbers = str(first) if first == last else f"{first}–{last}"
            yield Finding(folder, 0, 0, f"{kind} {numbers} missing, and no gap says so")
        top = max([mark.durable[kind], *(last for _, last in known)])
        if acked[kind] > max(top, now.durable[kind]):
            yield Finding(layout.CURSOR, 0, 0, f"{kind} lies ahead: {acked[kind]}, used to {top}")


def _names(fs: FileSystem, folder: str) -> list[str]:
    try:
        return fs.listdir(folder)
    except OSError:
        return []


def _exists(fs: FileSystem, directory: str, name: str) -> bool:
    try:
        return fs.size(join(directory, name)) > 0
    except OSError:
        return False

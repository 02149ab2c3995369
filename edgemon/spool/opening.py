"""Taking a spool directory over: from whatever lies there to lanes, journals and numbers that agree.

For each kind the numbers 1 … top have been used. Every one of them must be in a segment, delivered (at or below
the cursor or `freed`), in a gap that is known, or in a journal that is still to be replayed. What is none of
these is a fresh loss, and becomes a gap. `top` is the highest number that anything speaks of: segments,
the watermark, the cursor, the gaps, journals, and damaged records whose header can still be read. A damaged
tail without a readable header counts as one number: something was there.

Numbers go on under the id that they had, unless the memory of used numbers is gone, or another spool may go on
with the same ones (origin.py). Then they go on under a new id.
"""

from __future__ import annotations

from edgemon.errors import StorageError
from edgemon.records import KINDS
from edgemon.spool import layout, watermark
from edgemon.spool.cursor import read_cursor
from edgemon.spool.found import FoundJournal, FoundLane, Recovery
from edgemon.spool.fs import FileSystem, Lock, join, reader_of, write_atomically
from edgemon.spool.gaps import GapLedger, missing_ranges
from edgemon.spool.health import Health
from edgemon.spool.journal import Journals
from edgemon.spool.lane import Lane, Pending, Segment
from edgemon.spool.origin import Machine, Origin, Witness, read_origin, write_origin
from edgemon.spool.quarantine import Quarantine
from edgemon.spool.recovery import Recoverer
from edgemon.spool.segment import Entry, read_record, scan
from edgemon.spool.slots import SlotFile
from edgemon.spool.watermark import Watermark
from edgemon.std.collections.abc import Callable
from edgemon.typed import NamedTuple
from edgemon.zstd import zstandard

_MAX_PAYLOAD_BYTES = 16 << 20


class PendingJournal(NamedTuple):
    """A batch that was open when the agent stopped. payloads: as they were given to `Spool.journal`."""

    kind: str
    seq: int
    payloads: list[bytes]


class Parts(NamedTuple):
    """What a spool is made of; `take_over` fills them."""

    lanes: dict[str, Lane]
    journals: Journals
    ledger: GapLedger
    watermark_file: SlotFile
    quarantine: Quarantine
    witness: Witness
    machine: Machine
    new_stream_id: Callable[[], bytes]


class Opened(NamedTuple):
    """The state of a directory that was taken over.

    next_seq: kind -> the next number to give out.  last_seq: kind -> the number below the next to append.
    journals: what is to be replayed, by kind and seq.  published: the watermark as it stood.
    """

    lock: Lock
    stream_id: bytes
    acked: dict[str, int]
    next_seq: dict[str, int]
    last_seq: dict[str, int]
    journals: list[tuple[str, int, FoundJournal]]
    published: Watermark
    report: Recovery


def lock_directory(fs: FileSystem, directory: str) -> Lock:
    """Make the directory if need be and take its lock. LockedError, StorageError."""
    try:
        fs.make_dir(directory)
        return fs.lock(join(directory, layout.LOCK))
    except OSError as error:
        raise StorageError(
            f"the spool {directory} cannot be written: {error.strerror or error}"
        ) from None


def take_over(
    fs: FileSystem,
    directory: str,
    parts: Parts,
    health: Health,
    max_doubtful_bytes: int,
) -> Opened:
    """Lock, mend and account. Fills lanes, journals and ledger. LockedError, StorageError."""
    lock = lock_directory(fs, directory)
    try:
        return _take_over(fs, directory, parts, health, max_doubtful_bytes, lock)
    except BaseException:
        lock.release()
        raise


def _take_over(
    fs: FileSystem,
    directory: str,
    parts: Parts,
    health: Health,
    max_doubtful_bytes: int,
    lock: Lock,
) -> Opened:
    report = Recovery()
    mark = watermark.unpack(parts.watermark_file.load())
    parts.ledger.load()
    parts.witness.load()
    stored_stream = _stored_stream(fs, directory)
    stream_id = stored_stream or parts.new_stream_id()
    acked = read_cursor(fs, directory)
    recoverer = Recoverer(fs, directory, parts.quarantine, report)
    for folder in (parts.journals.folder, *(lane.folder for lane in parts.lanes.values())):
        _settle_names(fs, folder, health)
    journals = recoverer.scan_journals()
    found: dict[str, FoundLane] = {}
    replay: list[tuple[str, int, FoundJournal]] = []
    next_seq: dict[str, int] = {}
    last_seq: dict[str, int] = {}
    for kind in KINDS:
        segments = found[kind] = recoverer.scan_lane(kind)
        ours = {seq: journals[k, seq] for k, seq in sorted(journals) if k == kind}
        floor = _floor(kind, mark, acked[kind], segments, ours)
        pending = _account(kind, mark, floor, segments, ours, parts.ledger, stream_id, health)
        top = _top(kind, mark, floor, segments, ours, parts.ledger, pending)
        replay += [(kind, seq, ours[seq]) for seq in pending]
        next_seq[kind] = max([top, *pending]) + 1
        last_seq[kind] = (pending[0] if pending else next_seq[kind]) - 1
    tops = {kind: seq - 1 for kind, seq in next_seq.items()}
    stream_id = _settle_stream(
        fs, directory, parts, stored_stream, stream_id, mark is not None, tops, health, report
    )
    health.attempt(parts.ledger.save_twice)
    # From here on the evidence may go.
    for kind in KINDS:
        recoverer.mend_lane(kind, found[kind])
        lane = parts.lanes[kind]
        _adopt_lane(fs, lane, found[kind], mark, health, max_doubtful_bytes)
        # A segment that is lost though it was durable: its journal stays until it is so once more.
        lane.durable_seq = min([lane.durable_seq, *(s - 1 for k, s, _ in replay if k == kind)])
    for (kind, seq), one in journals.items():
        recoverer.mend_journal(one)
        journal = parts.journals.get(kind, seq)
        journal.files = one.names
        journal.parts = max(one.parts, default=-1) + 1
    report.gaps = len(parts.ledger.fresh())
    report.pending_journals = len(replay)
    published = mark or watermark.nothing()
    return Opened(lock, stream_id, acked, next_seq, last_seq, replay, published, report)


def read_payloads(fs: FileSystem, folder: str, found: FoundJournal) -> list[bytes]:
    """The chunks of a journal in order, as they were handed in. One that went bad since open is left out."""
    decompressor = zstandard.ZstdDecompressor()
    payloads = []
    for part in sorted(found.parts):
        name, entry = found.parts[part]
        try:
            again = read_record(reader_of(fs, join(folder, name)), entry.offset)
            if isinstance(again, Entry):
                payloads.append(
                    decompressor.decompress(again.frame, max_output_size=_MAX_PAYLOAD_BYTES)
                )
        except (OSError, zstandard.ZstdError):
            continue
    return payloads


def _stored_stream(fs: FileSystem, directory: str) -> bytes:
    """The id of the numbering as it is remembered, b"" when it is not."""
    try:
        stored = bytes.fromhex(
            fs.read(join(directory, layout.STREAM), 0, 64).decode("ascii").strip()
        )
    except (OSError, ValueError):
        return b""
    return stored if len(stored) == 16 else b""


def _settle_stream(
    fs: FileSystem,
    directory: str,
    parts: Parts,
    stored: bytes,
    stream_id: bytes,
    numbers_known: bool,
    tops: dict[str, int],
    health: Health,
    report: Recovery,
) -> bytes:
    """The id under which numbers go on: the old one if nobody else can use it, and remembered as ours."""
    known = read_origin(fs, directory)
    report.copied = known is not None and parts.machine.is_another(known.machine)
    report.rolled_back = bool(stored) and parts.witness.contradicts(stored, tops)
    report.new_stream = not stored or not numbers_known or report.copied or report.rolled_back
    if report.new_stream:
        if stored:
            stream_id = parts.new_stream_id()
        path = join(directory, layout.STREAM)
        text = stream_id.hex().encode() + b"\n"
        if not health.attempt(lambda: write_atomically(fs, path, text)):
            return stream_id  # the next start must see that this one could not
    suffix = known.suffix if known is not None else ""
    if report.copied:
        suffix = stream_id.hex()[:6]
    machine = parts.machine
    if known is not None and not report.copied:  # what cannot be read today is remembered
        machine = Machine(
            machine.machine_id or known.machine.machine_id, machine.serial or known.machine.serial
        )
    origin = Origin(machine, suffix)
    if origin != known:
        health.attempt(lambda: write_origin(fs, directory, origin))
    return stream_id


def _floor(
    kind: str,
    mark: Watermark | None,
    acked: int,
    found: FoundLane,
    journals: dict[int, FoundJournal],
) -> int:
    """Up to here nothing is missed."""
    if mark is not None:
        return max(acked, mark.freed[kind])
    # Nobody remembers what was freed: what lies here is where this numbering begins.
    first = min([seq for seq in (found.first_seq, *journals) if seq], default=1)
    return max(acked, first - 1)


def _top(
    kind: str,
    mark: Watermark | None,
    floor: int,
    found: FoundLane,
    journals: dict[int, FoundJournal],
    ledger: GapLedger,
    pending: list[int],
) -> int:
    """The highest number that was used, other than by the journals that are to be replayed."""
    evidence = found.evidence_seq
    return max(
        floor,
        found.last_seq,
        mark.durable[kind] if mark else 0,
        0 if evidence in pending else evidence,
        max((to for _, to in ledger.ranges(kind)), default=0),
        max((seq for seq in journals if seq not in pending), default=0),
        max(pending, default=0) - 1,
    )


def _account(
    kind: str,
    mark: Watermark | None,
    floor: int,
    found: FoundLane,
    journals: dict[int, FoundJournal],
    ledger: GapLedger,
    stream_id: bytes,
    health: Health,
) -> list[int]:
    """Note every number that is nowhere. Returns the journals to replay, in order."""
    known = ledger.ranges(kind)
    pending = [
        seq
        for seq, journal in journals.items()
        if journal.parts
        and seq > max(floor, found.last_seq)
        and not any(first <= seq <= last for first, last in known)
    ]
    present = known + [run for file in found.files for run in file.runs]
    present += [(seq, seq) for seq in pending]
    top = _top(kind, mark, floor, found, journals, ledger, pending)
    lost_rows = {seq: rows for file in found.files for seq, rows in file.lost.items()}
    reason = "damaged" if found.damaged or any(j.damaged for j in journals.values()) else "missing"
    for first, last in missing_ranges(floor + 1, top, present):
        rows = sum(rows for seq, rows in lost_rows.items() if first <= seq <= last)
        ledger.add(stream_id, kind, first, last, reason, rows)
        health.count("lost_batches", last - first + 1, reason=reason)
        health.count("lost_rows", rows, reason=reason)
    for seq in pending:
        if journals[seq].incomplete and not ledger.has_partial(kind, seq):
            rows = journals[seq].lost_rows
            ledger.add(stream_id, kind, seq, seq, "damaged", rows, partial=True)
            health.count("lost_rows", rows, reason="damaged")
    return pending


def _settle_names(fs: FileSystem, folder: str, health: Health) -> None:
    """What is not there now must not come back with a power cut: its number may be given anew."""
    try:
        fs.sync_dir(folder)
    except FileNotFoundError:
        return  # nothing was ever written there
    except OSError as error:
        health.fail_by(error)


def _adopt_lane(
    fs: FileSystem,
    lane: Lane,
    found: FoundLane,
    mark: Watermark | None,
    health: Health,
    max_doubtful_bytes: int,
) -> None:
    """Make what was found durable before anybody may see it: its writer may have died before the fsync."""
    durable_seq = mark.durable[lane.kind] if mark else 0
    segments = found.segments
    doubtful = [segment for segment in segments if segment.last_seq > durable_seq]
    pending: list[Pending] = []
    try:
        for segment in doubtful:
            file = fs.open(lane.path(segment))
            try:
                file.sync()
            finally:
                file.close()
        if doubtful:
            fs.sync_dir(lane.folder)
            durable_seq = doubtful[-1].last_seq
    except OSError as error:
        health.fail_by(error)
        if sum(segment.size_bytes for segment in doubtful) > max_doubtful_bytes:
            # Too much to hold in memory and write again: it is as durable as the disk made it.
            durable_seq = doubtful[-1].last_seq
        else:
            for segment in doubtful:
                segments.remove(segment)
                kept = _split(fs, lane, segment, durable_seq, pending, health)
                if kept.batches:
                    segments.append(kept)
    sound = not found.files or found.files[-1].sound
    health.attempt(lambda: lane.adopt(segments, durable_seq, append=sound and not pending))
    lane.pending.extend(pending)


def _split(
    fs: FileSystem,
    lane: Lane,
    segment: Segment,
    durable_seq: int,
    pending: list[Pending],
    health: Health,
) -> Segment:
    """Take the batches above `durable_seq` out of a segment whose sync failed, to write them elsewhere."""
    kept = Segment(segment.name)
    path = lane.path(segment)
    try:
        for item in scan(reader_of(fs, path), segment.size_bytes):
            if isinstance(item, Entry) and item.header.seq <= durable_seq:
                kept.add(item.header)
            elif isinstance(item, Entry):
                record = fs.read(path, item.offset, item.header.record_bytes)
                pending.append(Pending(item.header, record, ()))
        if kept.batches:
            file = fs.open(path)
            try:
                file.truncate(kept.size_bytes)
            finally:
                file.close()
        else:
            fs.unlink(path)
    except OSError as error:
        health.fail_by(error)  # left behind, its batches are recognised as stale at the next open
    return kept

"""`edgemon spool verify | cat | export | repair`. Each takes the spool's directory and returns the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import NamedTuple

from edgemon import wire
from edgemon.cli._terminal import counted, human_bytes, human_count, wrapped
from edgemon.errors import DamagedError, StorageError, UsageError
from edgemon.metrics import Counters
from edgemon.receive.rows import tables
from edgemon.receive.store import Incoming
from edgemon.receive.textfiles import json_lines
from edgemon.records import KINDS, Batch
from edgemon.ship.file import file_name
from edgemon.ship.sink import Parcel
from edgemon.spool.fs import OsFileSystem, join, write_atomically
from edgemon.spool.origin import Machine
from edgemon.spool.reader import Record, SpoolReader
from edgemon.spool.verify import Verdict
from edgemon.spool.verify import verify as look_at_all
from edgemon.spool.writer import Spool

_MAX_SEQ = 1 << 62


# -- verify


def verify(directory: str, arguments: argparse.Namespace) -> int:
    """Exit code 4 when anything is not as it should be."""
    verdict = look_at_all(OsFileSystem(), directory)
    if arguments.json:
        found = verdict._asdict() | {"findings": [one._asdict() for one in verdict.findings]}
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(finding_lines(verdict)))
        text = (
            f"{counted(verdict.batches, 'batch', 'batches')} ({counted(verdict.rows, 'row')}) and"
            f" {counted(verdict.chunks, 'chunk')} of open ones are whole,"
            f" {human_bytes(verdict.bytes)} in {counted(verdict.files, 'file')}"
        )
        sys.stdout.write(wrapped(text) + "\n")
    complain(directory, verdict)
    return 0


def finding_lines(verdict: Verdict) -> Iterator[str]:
    """One a thing that is wrong: where, and what."""
    for one in verdict.findings:
        where = f" at byte {one.offset}: {counted(one.bytes, 'byte')}" if one.bytes else ":"
        yield f"{one.path}{where} {one.problem}\n"


def complain(directory: str, verdict: Verdict) -> None:
    """DamagedError when anything is not as it should be."""
    if not verdict.findings:
        return
    raise DamagedError(
        f"{directory}: {counted(len(verdict.findings), 'thing')} wrong; the agent mends what it can"
        " at its next start, `edgemon spool repair` does it now"
    )


# -- cat and export


def cat(directory: str, arguments: argparse.Namespace) -> int:
    """Rows as `receive --to jsonl` writes them. Exit code 4 when something could not be read."""
    reader = SpoolReader(OsFileSystem(), directory)
    problems: list[str] = []
    for record, batch, skipped in _decoded(reader, arguments, _MAX_SEQ, problems):
        sys.stdout.write(json_lines(Incoming(batch, tables(batch), skipped, len(record.frame), 0)))
    _finish(directory, reader, problems)
    return 0


def export(directory: str, arguments: argparse.Namespace) -> int:
    """Whole, durable batches; what is there already stays. The spool keeps them, and ships them too."""
    fs = OsFileSystem()
    reader = SpoolReader(fs, directory)
    problems: list[str] = []
    written = there = size = 0
    try:
        for record, batch, _ in _decoded(reader, arguments, 0, problems):
            folder = join(join(arguments.to, batch.fleet), batch.device)
            parcel = Parcel(record.kind, record.seq, record.stream.hex(), record.frame)
            path = join(folder, file_name(parcel))
            fs.make_dir(folder)
            if file_name(parcel) in fs.listdir(folder) and fs.size(path) == len(record.frame):
                there += 1
                continue
            write_atomically(fs, path, record.frame)
            written += 1
            size += len(record.frame)
    except OSError as error:
        raise StorageError(f"{arguments.to}: {error.strerror or error}") from None
    already = f", {human_count(there)} {'was' if there == 1 else 'were'} there" if there else ""
    sys.stdout.write(
        f"{counted(written, 'batch', 'batches')}, {human_bytes(size)}, written to {arguments.to}"
        f"{already}\n"
    )
    _finish(directory, reader, problems)
    return 0


def _decoded(
    reader: SpoolReader, arguments: argparse.Namespace, limit: int, problems: list[str]
) -> Iterator[tuple[Record, Batch, list[str]]]:
    """The batches that were asked for. limit: the highest number; 0 for what is durable."""
    first, last = _range(arguments.seq)
    durable = reader.watermark().durable
    for kind in KINDS if arguments.kind is None else (arguments.kind,):
        for record in reader.everything(kind, first, min(last, limit or durable[kind])):
            try:
                batch, skipped = wire.decode_report(record.frame)
            except DamagedError as error:
                problems.append(f"{kind} {record.seq}: {error}")
                continue
            yield record, batch, skipped


def _range(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, _MAX_SEQ
    first, dash, last = text.partition("-")
    try:
        span = int(first), int(last or _MAX_SEQ) if dash else int(first)
    except ValueError:
        span = 0, 0
    if not 0 < span[0] <= span[1]:
        raise UsageError(f"--seq {text}: say 17, 17-20 or 17-")
    return span


def _finish(directory: str, reader: SpoolReader, problems: list[str]) -> None:
    sys.stdout.flush()
    if reader.damaged_bytes:
        problems.append(f"{directory}: {reader.damaged_bytes} bytes are no whole batch")
    if problems:
        raise DamagedError("\n".join(problems))


# -- repair


class _Settings(NamedTuple):
    """Bounds under which nothing is evicted: to mend is not to tidy up."""

    dir: str
    segment_size_bytes: int = 1 << 20
    max_size_bytes: int = 1 << 60
    quarantine_size_bytes: int = 4 << 20
    when_full: str = "drop_newest"
    max_age_s: float = 0.0
    reserve_free_bytes: int = 0


def repair(directory: str, arguments: argparse.Namespace) -> int:  # noqa: ARG001 - as its neighbours
    """LockedError while an agent runs. On any machine: whose numbering it is stays open."""
    spool = Spool(
        OsFileSystem(),
        _Settings(directory),
        counters=Counters(),
        machine=lambda: Machine("", ""),
    )
    report = spool.open()
    gaps = spool.take_gaps()
    durable = spool.close()
    for gap in gaps:
        sys.stdout.write(gap.as_event().message + "\n")
    for name, count in report.as_dict().items():
        if count:
            sys.stdout.write(f"{name.replace('_', ' ')}: {count}\n")
    if not durable:
        raise StorageError(f"{directory} could not be written: {spool.failure}")
    return 0

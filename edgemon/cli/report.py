"""`edgemon report`: what a receiver stored, or a spool holds, as one HTML file for a browser."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

from edgemon.cli._terminal import human_bytes
from edgemon.errors import DamagedError, UsageError

EPILOG = """example:
  edgemon report fleet.db --out report.html
  edgemon report /var/lib/edgemon/spool --out report.html --since 24h
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", help="a database of edgemon receive, or a folder of batches: spool or outbox"
    )
    parser.add_argument(
        "--out", "-o", metavar="FILE", required=True, help="where the page goes; - is stdout"
    )
    parser.add_argument("--model", metavar="NAME", default="", help="this model alone")
    parser.add_argument("--device", metavar="NAME", default="", help="this device alone")
    parser.add_argument("--since", metavar="TIME", default="", help="no older than, such as 24h")


def run(arguments: argparse.Namespace) -> int:
    source = arguments.source
    since_ns = _since(arguments.since)
    if not os.path.exists(source):
        raise UsageError(f"{source}: there is no such file or folder")
    if not os.path.isdir(source):
        return _write(source, source, arguments, since_ns)
    with tempfile.TemporaryDirectory(prefix="edgemon-report-") as folder:
        path = os.path.join(folder, "report.db")
        damaged = _take_in(source, path, folder)
        code = _write(path, source, arguments, since_ns)
    if damaged:
        sys.stderr.write(f"edgemon: {source}: {damaged}; the rest is in the report\n")
        return DamagedError.exit_code
    return code


def _write(path: str, source: str, arguments: argparse.Namespace, since_ns: int) -> int:
    from edgemon.report.database import read
    from edgemon.report.figures import Selection
    from edgemon.report.page import html

    report = read(path, Selection(arguments.model, arguments.device, since_ns))
    page = html(report, source, time.time_ns()).encode("utf-8", "backslashreplace")
    if arguments.out == "-":
        sys.stdout.buffer.write(page)
        return 0
    with open(arguments.out, "wb") as file:
        file.write(page)
    sys.stderr.write(f"{arguments.out}: {human_bytes(len(page))}, for any browser\n")
    return 0


def _take_in(source: str, path: str, folder: str) -> str:
    """A folder's batches into a database at `path`; what was damaged, "" for nothing."""
    from edgemon.receive.control import Limits, Stop
    from edgemon.receive.folder import FolderSource, find_files
    from edgemon.receive.intake import Intake
    from edgemon.receive.quarantine import Quarantine
    from edgemon.receive.sqlite import SqliteStore

    if not any(True for _ in find_files([source])):
        raise UsageError(f"no .zst files in {source}")
    store = SqliteStore(path)
    try:
        intake = Intake(store, Quarantine(os.path.join(folder, "quarantine")))
        with Stop() as stop:
            FolderSource([source], intake, stop, Limits()).run_once()
        if stop.requested:
            raise KeyboardInterrupt
    finally:
        store.close()
    count = intake.totals.quarantined
    return f"{count} damaged batch{'' if count == 1 else 'es'} left out" if count else ""


def _since(text: str) -> int:
    from edgemon.config.units import parse_duration

    if not text:
        return 0
    try:
        return time.time_ns() - round(parse_duration(text) * 1e9)
    except ValueError:
        raise UsageError(f"--since {text}: must be a duration such as 30m, 24h or 7d") from None

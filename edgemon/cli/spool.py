"""`edgemon spool`: ls, verify, cat and export read only; they work while the agent runs, and on a damaged spool.

repair does what the agent does at its start, and needs the lock.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from edgemon.cli import add_config_argument
from edgemon.errors import UnreachableError
from edgemon.records import KINDS

EPILOG = """
edgemon spool ls
edgemon spool verify --dir /var/lib/edgemon/spool
edgemon spool cat --kind event
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    ls = commands.add_parser(
        "ls",
        help="list segments, journals and gaps",
        description="list segments, journals and gaps",
        epilog="edgemon spool ls\nedgemon spool ls --verify",
    )
    _add_common(ls)
    ls.add_argument("--verify", action="store_true", help="check everything, as `verify` does")
    verify = _add(commands, "verify", "check every file, change nothing; exit code 4 on damage", "")
    for one in (ls, verify):
        one.add_argument("--json", action="store_true", help="for programs")
    cat = _add(
        commands, "cat", "print the rows of batches as JSON lines", " --kind pred --seq 17-20"
    )
    export = _add(
        commands, "export", 'copy batches into a folder, as sink "file" writes them', " --to outbox"
    )
    export.add_argument("--to", metavar="FOLDER", required=True, help="made when it is not there")
    for one in (cat, export):
        one.add_argument("--kind", choices=KINDS, help="batches of this kind only")
        one.add_argument("--seq", metavar="N[-[M]]", help="this number, or from one to another")
    _add(commands, "repair", "mend what is damaged, as a start of the agent does, without it", "")


def _add(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"edgemon spool {name}{example}"
    )
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument(
        "--dir", metavar="DIR", help="a spool's directory, instead of the configured"
    )


def run(arguments: argparse.Namespace) -> int:
    directory = arguments.dir
    if directory is None:
        from edgemon.config import find_config, load

        directory = load(find_config(arguments.config)).spool.dir
    try:
        os.listdir(directory)
    except PermissionError as error:
        text = f"no permission to read {directory}; run this as the agent's user"
        raise UnreachableError(text) from error
    except OSError as error:
        raise UnreachableError(f"there is no spool at {directory}: the agent makes it") from error
    if arguments.subcommand != "ls":
        from edgemon.cli import _spool_tools

        tool: Callable[[str, argparse.Namespace], int] = getattr(_spool_tools, arguments.subcommand)
        return tool(directory, arguments)
    found = look(directory, verify=arguments.verify)
    if not arguments.verify:
        _print(found, as_json=arguments.json)
        return 0
    from edgemon.cli._spool_tools import complain, finding_lines
    from edgemon.spool.fs import OsFileSystem
    from edgemon.spool.verify import verify

    verdict = verify(OsFileSystem(), directory)
    found["findings"] = [one._asdict() for one in verdict.findings]
    _print(found, as_json=arguments.json)
    if not arguments.json:
        sys.stdout.write("".join(finding_lines(verdict)))
    complain(directory, verdict)
    return 0


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if as_json else render(found))


def look(directory: str, *, verify: bool = False) -> dict[str, Any]:
    """Everything that `ls` shows, as JSON-able values. Clocks in ms since 1970, sizes in bytes."""
    from edgemon.spool import layout
    from edgemon.spool.cursor import read_cursor
    from edgemon.spool.fs import OsFileSystem, join
    from edgemon.spool.gaps import GapLedger
    from edgemon.spool.quarantine import Quarantine
    from edgemon.spool.reader import SpoolReader

    fs = OsFileSystem()
    reader = SpoolReader(fs, directory)
    acked = read_cursor(fs, directory)
    durable = reader.watermark().durable
    segments = []
    for info in reader.segments(frames=verify):
        state = _state(info.first_seq, info.last_seq, acked[info.kind], durable[info.kind])
        segments.append(info._asdict() | {"state": state})
    ledger = GapLedger(fs, directory)
    ledger.load()
    gaps = [gap._asdict() | {"stream": gap.stream.hex()} for gap in ledger.fresh()]
    try:
        stream = fs.read(join(directory, layout.STREAM), 0, 32).decode("ascii", "replace")
    except OSError:
        stream = ""
    return {
        "directory": directory,
        "stream": stream,
        "size_bytes": sum(segment["size_bytes"] for segment in segments),
        "quarantine_bytes": Quarantine(fs, directory, 0).size_bytes(),
        "kinds": {kind: {"durable_seq": durable[kind], "acked_seq": acked[kind]} for kind in KINDS},
        "segments": segments,
        "journals": [journal._asdict() for journal in reader.journals()],
        "gaps": gaps,
    }


def _state(first_seq: int, last_seq: int, acked: int, durable: int) -> str:
    if not last_seq:
        return "empty"
    if last_seq <= acked:
        return "acknowledged"
    if first_seq <= acked:
        return f"acknowledged to {acked}"
    return "waits" if last_seq <= durable else "being written"


def render(found: dict[str, Any]) -> str:
    """The same for a person."""
    from edgemon.cli._terminal import counted, human_bytes, human_count, table

    lines = [f"{found['directory']}\nstream {found['stream'] or 'unknown'}\n\n"]
    if found["segments"]:
        rows = [
            [
                segment["kind"],
                _range(segment["first_seq"], segment["last_seq"]),
                human_count(segment["rows"]),
                human_bytes(segment["size_bytes"]),
                _clock(segment["first_wall_ms"]),
                segment["state"].replace("acknowledged to", "acked to"),
            ]
            for segment in found["segments"]
        ]
        lines.append(table(rows, ["segment", "seq", "rows", "size", "from (UTC)", "state"]))
        lines += [
            f"{one['kind']} {_range(one['first_seq'], one['last_seq'])}:"
            f" {counted(one['damaged_bytes'], 'byte')} damaged\n"
            for one in found["segments"]
            if one["damaged_bytes"]
        ]
    else:
        lines.append("No segments: nothing was written, or all was delivered and freed.\n")
    if found["journals"]:
        rows = [
            [j["kind"], j["seq"], j["chunks"], j["rows"], human_bytes(j["size_bytes"])]
            for j in found["journals"]
        ]
        lines += ["\n", table(rows, ["open batch", "seq", "chunks", "rows", "size"])]
    if found["gaps"]:
        rows = [
            [g["kind"], _range(g["from_seq"], g["to_seq"]), g["rows"] or "?", g["reason"]]
            for g in found["gaps"]
        ]
        lines += ["\n", table(rows, ["gap, not shipped yet", "seq", "rows", "reason"])]
    waiting = sum(_waiting(s, found["kinds"][s["kind"]]["acked_seq"]) for s in found["segments"])
    lines.append(
        f"\n{counted(waiting, 'batch', 'batches')} {'waits' if waiting == 1 else 'wait'},"
        f" {human_bytes(found['size_bytes'])} in {counted(len(found['segments']), 'segment')}\n"
    )
    if found["quarantine_bytes"]:
        lines.append(f"{human_bytes(found['quarantine_bytes'])} of damaged bytes in quarantine\n")
    return "".join(lines)


def _waiting(segment: dict[str, Any], acked: int) -> int:
    if not segment["last_seq"]:
        return 0
    return int(min(segment["batches"], max(0, segment["last_seq"] - acked)))


def _range(first: int, last: int) -> str:
    if not last:
        return "none"
    return str(first) if first == last else f"{first}–{last}"


def _clock(wall_ms: int) -> str:
    import time

    if not wall_ms:
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(wall_ms // 1000))
    except (OverflowError, OSError, ValueError):
        return "?"

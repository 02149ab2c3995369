"""`edgemon decode`: show what batches and spool segments hold."""

from __future__ import annotations

import json
import math
import sys
from base64 import b64encode
from typing import TYPE_CHECKING, BinaryIO

from edgemon import wire
from edgemon.cli._terminal import table
from edgemon.errors import DamagedError, UnsupportedError, UsageError
from edgemon.receive.frames import Damage, Frame, FrameReader
from edgemon.receive.rows import COLUMNS, tables
from edgemon.receive.store import Incoming
from edgemon.receive.textfiles import csv_header, csv_lines, json_lines
from edgemon.records import KINDS, Batch, Value

if TYPE_CHECKING:
    import argparse

EPILOG = """
edgemon decode spool/3-pred/*.zst --header
edgemon decode batch.zst --format table
edgemon decode - --format csv --kind pred < segment.zst > predictions.csv
"""

_READ_BYTES = 1024 * 1024
_MAX_CELL_CHARS = 40
_TABLE_OF_KIND = {"pred": "predictions", "agg": "windows", "sys": "samples", "event": "events"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a batch or a spool segment; - is standard input"
    )
    parser.add_argument(
        "--format",
        choices=("json", "csv", "table"),
        default="json",
        help="json: a line a row, as `receive --to jsonl` writes them (default)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--header", action="store_true", help="one line a batch, not its rows")
    what.add_argument(
        "--raw", action="store_true", help="JSON of the columns as they are on the wire"
    )
    parser.add_argument("--kind", choices=KINDS, help="batches of this kind only")


def run(arguments: argparse.Namespace) -> int:
    if arguments.raw and arguments.format != "json":
        raise UsageError("--raw is JSON: leave out --format")
    show = _Show(arguments.format, arguments.header, arguments.raw)
    problems: list[str] = []
    for path in arguments.files:
        if path == "-":
            _decode(sys.stdin.buffer, "standard input", arguments.kind, show, problems)
        else:
            with open(path, "rb", buffering=0) as file:
                _decode(file, path, arguments.kind, show, problems)
    show.finish()
    sys.stdout.flush()
    if problems:
        # Only the batches that are whole were printed, and every problem is a line.
        raise DamagedError("\n".join(problems))
    return 0


def _decode(file: BinaryIO, name: str, kind: str | None, show: _Show, problems: list[str]) -> None:
    reader = FrameReader()
    while True:
        data = file.read(_READ_BYTES)
        if data:
            reader.feed(data)
        else:
            reader.finish()
        for item in reader.items():
            if isinstance(item, Frame):
                try:
                    batch, skipped = wire.decode_report(item.data)
                    if kind is None or batch.kind == kind:
                        show.batch(
                            Incoming(batch, tables(batch), skipped, len(item.data), 0),
                            name,
                            item.offset,
                        )
                except UnsupportedError as error:
                    problems.append(f"{name}: at byte {item.offset}: {error}")
                except DamagedError as error:
                    reader.reject(str(error))
            elif isinstance(item, Damage):
                problems.append(
                    f"{name}: {len(item.data)} damaged bytes at byte {item.offset}: {item.reason}"
                )
            else:
                problems.append(
                    f"{name}: ends inside a batch: {len(item.data)} bytes at byte {item.offset}"
                    " are not whole"
                )
        if not data:
            return


class _Show:
    """Writes batches to standard output, each as soon as it is decoded; tables at the end."""

    def __init__(self, form: str, header: bool, raw: bool) -> None:
        self._form = form
        self._header = header
        self._raw = raw
        self._csv_table = ""
        self._table_rows: dict[str, list[list[object]]] = {}

    def batch(self, incoming: Incoming, name: str, offset: int) -> None:
        if self._header:
            self._show_header(incoming, name, offset)
        elif self._raw:
            self._show_raw(incoming.batch)
        elif self._form == "json":
            sys.stdout.write(json_lines(incoming))
        elif self._form == "csv":
            self._show_csv(incoming)
        else:
            for of_table, rows in incoming.tables:
                shown = self._table_rows.setdefault(of_table, [])
                shown += ([incoming.batch.device, incoming.batch.seq, *row] for row in rows)

    def finish(self) -> None:
        """Print what had to wait for the widths of its columns.

        Columns without any value are left out.
        """
        for name, rows in self._table_rows.items():
            headers = (
                ["device", "seq", *COLUMNS[name]] if name in COLUMNS else list(_HEADER_COLUMNS)
            )
            kept = [at for at in range(len(headers)) if any(row[at] is not None for row in rows)]
            sys.stdout.write(f"{name}\n" if name in COLUMNS else "")
            cells = ([_short(row[at]) for at in kept] for row in rows)
            sys.stdout.write(table(cells, [headers[at] for at in kept]))

    def _show_header(self, incoming: Incoming, name: str, offset: int) -> None:
        batch = incoming.batch
        line: dict[str, object] = {
            "file": name,
            "offset": offset,
            "bytes": incoming.frame_bytes,
            "kind": batch.kind,
            "seq": batch.seq,
            "rows": batch.rows,
            "dropped": batch.dropped,
            "device": batch.device,
            "fleet": batch.fleet,
            "stream_id": batch.stream.hex(),
            "boot": batch.boot.hex(),
            "wall_ns": batch.wall_ns,
            "mono_ns": batch.mono_ns,
            "clock_error_ms": batch.clock_error_ms,
            "resource": batch.resource,
            "columns": [f"{column.name}:{column.type}" for column in batch.columns],
            "skipped": incoming.skipped,
        }
        if self._form == "json":
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        elif self._form == "csv":
            if not self._csv_table:
                self._csv_table = "header"
                sys.stdout.write(",".join(_HEADER_COLUMNS) + "\n")
            sys.stdout.write(",".join(_csv(line[column]) for column in _HEADER_COLUMNS) + "\n")
        else:
            self._table_rows.setdefault("", []).append([line[column] for column in _HEADER_COLUMNS])

    def _show_raw(self, batch: Batch) -> None:
        origin = {"device": batch.device, "kind": batch.kind, "seq": batch.seq}
        for row in wire.rows_from_columns(batch):
            cells = {name: _raw(value) for name, value in row.items()}
            sys.stdout.write(json.dumps(origin | {"columns": cells}, ensure_ascii=False) + "\n")

    def _show_csv(self, incoming: Incoming) -> None:
        """One kind of table, because a CSV file has one header.

        Labels among predictions are left to JSON.
        """
        wanted = _TABLE_OF_KIND[incoming.batch.kind]
        if self._csv_table and self._csv_table != wanted:
            raise UsageError("batches of several kinds do not fit one CSV: choose one with --kind")
        if not self._csv_table:
            self._csv_table = wanted
            sys.stdout.write(csv_header(wanted))
        for name, rows in incoming.tables:
            if name == wanted:
                sys.stdout.write(csv_lines(incoming, rows))


_HEADER_COLUMNS = (
    "file",
    "offset",
    "bytes",
    "kind",
    "seq",
    "rows",
    "dropped",
    "device",
    "fleet",
    "stream_id",
    "wall_ns",
)


def _raw(value: Value) -> object:
    """As JSON has it: bytes as base64, NaN and infinities as strings."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return [_raw(item) for item in value] if isinstance(value, list) else value


def _short(value: object) -> object:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, str) and len(value) > _MAX_CELL_CHARS:
        return value[: _MAX_CELL_CHARS - 1] + "…"
    return value


def _csv(value: object) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n') else text

"""Predictions from separated values (CSV) into a profile builder."""

from __future__ import annotations

import csv

from edgemon.drift.build import KindError, ProfileBuilder
from edgemon.drift.sources import Roles, SourceError
from edgemon.std.collections.abc import Iterable, Iterator

_MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))


class CsvTable:
    """Comma, semicolon or tab separated values with a header row, judged when it is made.

    streams: for each column its stream, "" for one that is left out.  source: names it in errors.
    """

    def __init__(self, lines: Iterable[str], roles: Roles, source: str) -> None:
        text = iter(lines)
        header = next(text, None)
        if header is None:
            raise SourceError(
                f"{source}: the file is empty; a header row with column names is needed"
            )
        header = header.removeprefix("\ufeff")
        delimiter = max(",;\t", key=header.count)
        columns = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        if len(set(columns)) != len(columns) or "" in columns:
            raise SourceError(
                f"{source}:1: column names must be there and differ: {', '.join(columns)}"
            )
        if all(_is_number(name) for name in columns):
            raise SourceError(f"{source}:1: the first row holds numbers; a header row is needed")
        self.columns = columns
        self.streams = roles.streams(columns, source)
        if not any(self.streams):
            raise SourceError(f"{source}:1: no column is left after what is ignored")
        self._source = source
        self._reader = csv.reader(text, delimiter=delimiter)

    @property
    def place(self) -> str:
        """File and line of the row that was read last."""
        return f"{self._source}:{self._reader.line_num + 1}"

    def rows(self) -> Iterator[list[str]]:
        """The rows' cells, without the spaces around them; empty lines are skipped."""
        try:
            for row in self._reader:
                if not row:
                    continue
                if len(row) != len(self.columns):
                    raise SourceError(
                        f"{self.place}: {len(row)} cells, the header has {len(self.columns)}"
                    )
                yield [cell.strip() for cell in row]
        except csv.Error as error:
            raise SourceError(f"{self.place}: {error}") from error


def is_missing(cell: str) -> bool:
    """An empty cell, NA, N/A, NaN, null, none."""
    return cell.lower() in _MISSING


def read_csv(
    lines: Iterable[str], builder: ProfileBuilder, roles: Roles, source: str
) -> Iterator[int]:
    """A CsvTable. Yields the rows read, now and then.

    A column is numeric when its first cell that is not missing is a number; a later text in it is
    an error, unless the column is named in roles.text.
    """
    csv_table = CsvTable(lines, roles, source)
    used = [
        (i, stream, csv_table.columns[i] in roles.text)
        for i, stream in enumerate(csv_table.streams)
        if stream
    ]
    for _, stream, _ in used:
        builder.declare(stream)
    number, put_text = builder.number, builder.text
    judged = _judged_columns(csv_table, roles)
    try:
        for row in csv_table.rows():
            for i, stream, is_text in used:
                cell = row[i]
                if is_missing(cell):
                    continue
                if is_text:
                    put_text(stream, cell)
                    continue
                try:
                    x = float(cell)
                except ValueError:
                    put_text(stream, cell)
                else:
                    number(stream, x)
            if judged is not None:
                _judge_row(builder, row, *judged)
            builder.row_done()
            if builder.rows % 1000 == 0:
                yield builder.rows
    except KindError as error:
        raise SourceError(
            f"{csv_table.place}: {error}; name the column with --text, or --ignore it"
        ) from error
    yield builder.rows


def _judged_columns(table: CsvTable, roles: Roles) -> tuple[int, int, int | None, bool] | None:
    """Where output, label and confidence stand, and whether the output is text in any case; None without a truth."""
    label = roles.label_of(table.columns)
    if not label or "output" not in table.streams:
        return None
    at = table.streams.index("output")
    sure = table.columns.index(roles.confidence) if roles.confidence else None
    return at, table.columns.index(label), sure, table.columns[at] in roles.text


def _judge_row(
    builder: ProfileBuilder, row: list[str], at: int, label: int, sure: int | None, text: bool
) -> None:
    if is_missing(row[at]) or is_missing(row[label]):
        return
    confidence = None
    if sure is not None:
        if is_missing(row[sure]):
            return
        try:
            confidence = float(row[sure])
        except ValueError:
            return  # the stream says so
    output = row[at] if text else _value(row[at])
    builder.labelled.pair(output, row[label] if text else _value(row[label]), confidence)


def _value(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

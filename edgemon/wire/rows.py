"""Rows to typed columns and back, and how large rows can make a body."""

from __future__ import annotations

import struct

from edgemon._core import msgpack
from edgemon.records import Batch, Column, Row, Rows, Value
from edgemon.std.collections.abc import Sequence
from edgemon.typed import Any
from edgemon.wire import scheme, text

_INT64 = range(-(2**63), 2**63)
# Bounds of what a body has beside its cells: numbers and keys of the envelope; a column's
# description with the longest parameters and the headers of its bins; one bitmap's header.
_ENVELOPE_BYTES = 160
_COLUMN_BYTES = 224
_VECTOR_BYTES = 384
_BITMAP_BYTES = 5


def columns_from_rows(parts: Sequence[Row | Rows]) -> list[Column]:
    """The rows' cells as typed columns, in the order in which their names are first seen.

    A name whose cells are all int is i8; all numbers, f8; and one column for each other type that
    occurs. An int that is not exactly a float stays in an i8 column beside the f8 one; an int
    outside int64 becomes the nearest float. A vector of ints only is vi; in any other the ints
    become the nearest floats, and it is v4 when every element of all such vectors of that length is
    exactly a float32, else v8. TypeError for what no column can hold, bool included.
    """
    names: dict[str, list[Value]] = {}
    length = count_rows(parts)
    at = 0
    for part in parts:
        if isinstance(part, Rows):
            end = at + part.n
            for name, value in part.same.items():
                if value is not None:
                    names.setdefault(name, [None] * length)[at:end] = [value] * part.n
            for name, values in part.cells.items():
                names.setdefault(name, [None] * length)[at:end] = values
            at = end
            continue
        for name, value in part.items():
            if value is not None:
                cells = names.get(name)
                if cells is None:
                    names[name] = cells = [None] * length
                cells[at] = value
        at += 1
    return [column for name, cells in names.items() for column in _typed(name, cells)]


def count_rows(parts: Sequence[Row | Rows]) -> int:
    """How many rows they are."""
    return sum(part.n if isinstance(part, Rows) else 1 for part in parts)


def _typed(name: str, cells: list[Value]) -> list[Column]:
    kinds = set(map(type, cells))
    kinds.discard(type(None))
    if kinds == {float}:
        return [Column(name, "f8", cells)]
    if kinds == {int} and _all_int64(cells):
        return [Column(name, "i8", cells)]
    if kinds == {str}:
        return [Column(name, "str", cells)]
    only_ints = all(type(cell) is not float and not _beyond_int64(cell) for cell in cells)
    by_type: dict[str, list[Value]] = {}
    for at, cell in enumerate(cells):
        if cell is not None:
            type_, value = _classify(name, cell, only_ints)
            by_type.setdefault(type_, [None] * len(cells))[at] = value
    return [Column(name, _narrowest(type_, values), values) for type_, values in by_type.items()]


def _all_int64(cells: list[Value]) -> bool:
    """Of ints and None."""
    present: list[Any] = (
        cells if None not in cells else [cell for cell in cells if cell is not None]
    )
    return min(present) in _INT64 and max(present) in _INT64


def _beyond_int64(cell: Value) -> bool:
    return type(cell) is int and cell not in _INT64


def _classify(name: str, cell: Value, only_ints: bool) -> tuple[str, Value]:
    if type(cell) is int:
        if only_ints or (cell in _INT64 and int(float(cell)) != cell):
            return "i8", cell
        return "f8", _as_float(cell)
    if type(cell) is list:
        if cell and all(type(element) is int and element in _INT64 for element in cell):
            return f"vi:{len(cell)}", cell
        for element in cell:
            if type(element) is not float and type(element) is not int:
                raise TypeError(f"{name}: {type(element).__name__} in a vector")
        return f"v8:{len(cell)}", [_as_float(element) for element in cell]
    simple = {float: "f8", str: "str", bytes: "bin"}.get(type(cell))
    if simple is None:
        raise TypeError(f"{name}: a column cannot hold {type(cell).__name__}")
    return simple, cell


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _narrowest(type_: str, values: list[Value]) -> str:
    if not type_.startswith("v8:"):
        return type_
    single = struct.Struct("<f")
    for vector in values:
        for element in vector if type(vector) is list else ():
            try:
                exact = single.unpack(single.pack(element))[0] == element or element != element
            except OverflowError:
                exact = False
            if not exact:
                return type_
    return "v4:" + type_[3:]


def rows_from_columns(batch: Batch) -> list[Row]:
    """One dict a row, without the cells that are None."""
    rows: list[Row] = [{} for _ in range(batch.rows)]
    for column in batch.columns:
        for row, value in zip(rows, column.values, strict=True):
            if value is not None:
                row[column.name] = value
    return rows


def bound_row_bytes(row: Row) -> int:
    """Upper bound of the bytes that a row's cells can take in an uncompressed body, in any layout.

    What a body has besides, its envelope, columns and bitmaps, is in BodyBound.
    """
    return sum(map(_cell_bytes, row.values()))


def _cell_bytes(value: Value) -> int:
    if value is None:
        return 0
    if isinstance(value, int | float):
        return 9
    if isinstance(value, str):
        characters = len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
        return characters + text.LENGTH_BYTES + 1
    if isinstance(value, bytes):
        return len(value) + text.LENGTH_BYTES + 1
    return 9 * len(value) + 5


class BodyBound:
    """Upper bound of the uncompressed body of a batch that is still open.

    >>> bound = BodyBound("dev-1", "default", {})
    >>> row = {"t": 10, "output": 0.5}
    >>> bound.try_add(row, max_bytes=112 * 1024, max_columns=1024)
    True

    Loose by some 200 bytes a column, so that it needs to look at each row once only.
    Memory: one set entry a column of the batch.
    """

    __slots__ = ("_cells", "_columns", "_fixed", "_layout", "_names", "_rows")

    def __init__(
        self, device: str, fleet: str, resource: dict[str, str], layout: str = "columns"
    ) -> None:
        self._layout = layout
        identity = msgpack.packb([device, fleet, resource], unicode_errors="replace")
        self._fixed = len(identity) + 2 * scheme.ID_BYTES + _ENVELOPE_BYTES
        self._rows = 0
        self._cells = 0
        self._columns: set[tuple[str, type, int]] = set()
        self._names = 0

    def try_add(self, row: Row, max_bytes: int, max_columns: int) -> bool:
        """The row joins the batch unless the body or its columns could then pass a limit; whether it did."""
        fresh = self._new_columns(row)
        names = self._names + sum(_column_bytes(name, length) for name, _, length in fresh)
        cells = self._cells + bound_row_bytes(row)
        columns = len(self._columns) + len(fresh)
        if columns > max_columns or self._total(self._rows + 1, columns, names, cells) > max_bytes:
            return False
        self._columns.update(fresh)
        self._names = names
        self._cells = cells
        self._rows += 1
        return True

    def try_add_rows(self, rows: Rows, max_bytes: int, max_columns: int) -> bool:
        """All of the rows join, or none; as `try_add` of each. A column of them holds one type."""
        names: Row = {name: value for name, value in rows.same.items() if value is not None}
        cells = bound_row_bytes(names) * rows.n
        for name, values in rows.cells.items():
            present = [value for value in values if value is not None]
            if present:
                names[name] = present[0]
                numbers = isinstance(present[0], int | float)
                cells += 9 * len(present) if numbers else sum(map(_cell_bytes, present))
        fresh = self._new_columns(names)
        text = self._names + sum(_column_bytes(name, length) for name, _, length in fresh)
        columns = len(self._columns) + len(fresh)
        total = self._total(self._rows + rows.n, columns, text, self._cells + cells)
        if columns > max_columns or total > max_bytes:
            return False
        self._columns.update(fresh)
        self._names = text
        self._cells += cells
        self._rows += rows.n
        return True

    def bytes(self) -> int:
        """The bound as it is."""
        return self._total(self._rows, len(self._columns), self._names, self._cells)

    def _new_columns(self, row: Row) -> list[tuple[str, type, int]]:
        keys = (
            (name, type(value), len(value) if isinstance(value, list) else -1)
            for name, value in row.items()
            if value is not None
        )
        return [key for key in keys if key not in self._columns]

    def _total(self, rows: int, columns: int, names: int, cells: int) -> int:
        absent = rows if self._layout == "plain" else (rows + 7) // 8 + _BITMAP_BYTES
        return self._fixed + names + cells + columns * absent


def _column_bytes(name: str, length: int) -> int:
    encoded = len(name) if name.isascii() else len(name.encode("utf-8", "replace"))
    # A list may turn out a vector of ints or of floats: two columns of one name.
    return 2 * (encoded + _VECTOR_BYTES) if length >= 0 else encoded + _COLUMN_BYTES

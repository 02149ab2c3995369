"""A batch of a model's inputs -> columns of features: its own, or where they are too many, statistics of them.

An input is an array whose first axis is the batch, a table with named columns (pandas, polars), a sparse matrix, or
texts. Rows are chosen before anything is computed of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

STATISTICS = ("mean", "std", "min", "max", "missing")
# Of more values a channel and row, every k-th is taken: an image of 256 x 256 is whole.
MAX_VALUES = 65_536
# Doubles of scratch that a statistic may take at once, unless one row is larger.
_SCRATCH = 1 << 18

Rows = Any  # what chooses rows of an array: a slice, or an array of indices


class Reduced(NamedTuple):
    """An input of which somebody else took the statistics.  table: (n, 5 C), as `statistics` returns it."""

    table: Any


class Columns:
    """Features of a batch of n rows, at most `limit` of them.

    left_out: inputs that there was no place for, or whose first axis is not the batch.
    """

    def __init__(self, n: int, limit: int) -> None:
        self.n = n
        self.limit = limit
        self.left_out = 0
        self._named: dict[str, Any] = {}
        self._block: tuple[Any, list[str] | None] | None = None

    def arguments(self, beside: Mapping[str, Any]) -> dict[str, Any]:
        """`features` and `names` of `Client.log_many`. One block of numbers stays an array, which is the fast way."""
        if self._block is not None and not self._named and not beside:
            array, names = self._block
            return {"features": array, "names": names}
        if self._block is not None:
            array, names = self._block
            names = names or [f"f{index}" for index in range(array.shape[1])]
            self._named = dict(zip(names, array.T, strict=True)) | self._named
            self._block = None
        self._named.update(beside)
        return {"features": self._named or None}

    def add(
        self,
        inputs: Any,
        rows: Rows,
        *,
        columns: Sequence[str] | None,
        channel_axis: int,
        prefix: str = "",
    ) -> None:
        """Chosen rows of one input, or of each input of a map name -> input.

        columns: names of an array's columns; of a table's, those that are taken.
        channel_axis: of what has more than two axes; statistics are taken for each channel.
        """
        if isinstance(inputs, Mapping):
            for name, one in inputs.items():
                inner = f"{prefix}{name}." if len(inputs) > 1 else prefix
                self.add(one, rows, columns=columns, channel_axis=channel_axis, prefix=inner)
        elif isinstance(inputs, Reduced):
            self._add_statistics(inputs.table[rows], prefix)
        elif (inputs.shape[0] if hasattr(inputs, "shape") else len(inputs)) != self.n:
            self.left_out += 1
        elif hasattr(inputs, "columns") and hasattr(inputs, "__getitem__"):
            self._table(inputs, rows, columns, prefix)
        elif hasattr(inputs, "tocsr"):
            self._sparse(inputs.tocsr()[rows], columns, prefix)
        else:
            self._array(np.asarray(inputs)[rows], columns, channel_axis, prefix)

    def _room(self) -> int:
        width = self._block[0].shape[1] if self._block is not None else 0
        return self.limit - len(self._named) - width

    def _array(
        self, array: Any, columns: Sequence[str] | None, channel_axis: int, prefix: str
    ) -> None:
        if array.dtype.kind == "V" or array.dtype == np.float16:
            array = array.astype(np.float32)
        if array.dtype.kind in "OUSM":
            self._texts(array, columns, prefix)
            return
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim == 2 and array.shape[1] <= self._room():
            self._add_block(array, _names(columns, array.shape[1], prefix))
            return
        axis = summary_axis(array.shape, channel_axis, self._room())
        if axis is None:
            self.left_out += 1
        else:
            self._add_statistics(statistics(array, axis), prefix)

    def _add_statistics(self, table: Any, prefix: str) -> None:
        if table.shape[1] > self._room():
            self.left_out += 1
            return
        channels = table.shape[1] // len(STATISTICS)
        names = [
            f"{prefix}{f'c{channel}.' if channels > 1 else ''}{statistic}"
            for channel in range(channels)
            for statistic in STATISTICS
        ]
        self._add_block(table, names)

    def _add_block(self, array: Any, names: list[str] | None) -> None:
        if self._block is None and not self._named:
            self._block = array, names
            return
        for index, column in enumerate(array.T):
            self._named[names[index] if names is not None else f"f{index}"] = column

    def _texts(self, array: Any, columns: Sequence[str] | None, prefix: str) -> None:
        """A table of texts and numbers, or one text a row: of which the length is logged, never the text."""
        if array.ndim == 1:
            if self._room() < 1:
                self.left_out += 1
                return
            lengths = [len(text) if isinstance(text, str) else None for text in array.tolist()]
            self._named[f"{prefix}length"] = lengths
            return
        if array.ndim > 2 or array.shape[1] > self._room():
            self.left_out += 1
            return
        names = _names(columns, array.shape[1], prefix)
        for index, column in enumerate(array.T):
            self._named[names[index] if names is not None else f"f{index}"] = _plain(column)

    def _table(self, table: Any, rows: Rows, columns: Sequence[str] | None, prefix: str) -> None:
        names = list(table.columns) if columns is None else list(columns)
        kinds = {np.asarray(table[name]).dtype.kind for name in names[: self.limit + 1]}
        if kinds <= set("fiub") and len(names) > self._room():
            self._array(np.asarray(table[names])[rows], None, 0, prefix)
            return
        self.left_out += max(0, len(names) - self._room())
        for name in names[: self._room()]:
            self._named[f"{prefix}{name}"] = _plain(np.asarray(table[name])[rows])

    def _sparse(self, matrix: Any, columns: Sequence[str] | None, prefix: str) -> None:
        if matrix.shape[1] <= self._room():
            self._array(matrix.toarray(), columns, 0, prefix)
            return
        width = matrix.shape[1]
        mean = np.asarray(matrix.sum(axis=1)).ravel() / width
        # Of the entries that are not stored each differs from the mean by the mean.
        stored = np.diff(matrix.indptr)
        row = np.repeat(np.arange(matrix.shape[0]), stored)
        around = np.bincount(row, (matrix.data - mean[row]) ** 2, matrix.shape[0])
        table = np.column_stack(
            [
                mean,
                np.sqrt((around + (width - stored) * mean**2) / width),
                matrix.min(axis=1).toarray().ravel(),
                matrix.max(axis=1).toarray().ravel(),
                np.bincount(row, np.isnan(matrix.data), matrix.shape[0]) / width,
            ]
        )
        self._add_statistics(table, prefix)


def summary_axis(shape: Sequence[int], channel_axis: int, room: int) -> int | None:
    """The axis whose channels have statistics of their own; 0: all values of a row together; None: no room for it."""
    channels = shape[channel_axis] if len(shape) > 2 else 1
    if len(STATISTICS) * channels <= room:
        return channel_axis if channels > 1 else 0
    return 0 if len(STATISTICS) <= room else None


def statistics(array: Any, channel_axis: int) -> Any:
    """(n, …) numbers -> (n, 5 C) doubles: mean, std, min, max and share of NaN, for each channel.

    channel_axis: 0 for all values of a row together.  NaN is in no other statistic; a channel of nothing else has NaN.
    std is that of the values themselves, divided by their count.  Of more than MAX_VALUES values a channel, every
    k-th is taken, from the first.  O(values), scratch of 2 MiB or one row.
    """
    values = max(1, array[0].size if len(array) else 1)
    step = max(1, _SCRATCH // values)
    parts = [_statistics(array[at : at + step], channel_axis) for at in range(0, len(array), step)]
    return np.concatenate(parts) if parts else np.empty((0, len(STATISTICS)))


def _statistics(array: Any, channel_axis: int) -> Any:
    n = len(array)
    channels = np.moveaxis(array, channel_axis, 1) if channel_axis else array[:, None]
    flat = channels.reshape(n, channels.shape[1], -1)
    flat = flat[:, :, :: -(-flat.shape[2] // MAX_VALUES) or 1]
    missing = np.isnan(flat) if flat.dtype.kind == "f" else np.zeros((n, 1, 1), bool)
    known: Any = ~missing if missing.any() else True
    length = flat.shape[2]
    with np.errstate(all="ignore"):
        count = (
            length - missing.sum(axis=2) if known is not True else np.full(flat.shape[:2], length)
        )
        mean = flat.sum(axis=2, dtype=np.float64, where=known) / count
        around = flat - mean[:, :, None]
        if known is not True:
            around[missing] = 0.0
        spread = np.einsum("ncl,ncl->nc", around, around)
        wide = flat.astype(np.float64, copy=False) if known is not True else flat
        least = wide.min(axis=2, where=known, initial=np.inf) if known is not True else flat.min(2)
        most = wide.max(axis=2, where=known, initial=-np.inf) if known is not True else flat.max(2)
        found = np.stack(
            [mean, np.sqrt(spread / count), least, most, 1.0 - count / max(1, length)], axis=2
        )
    found[count == 0, 2:4] = np.nan
    return found.reshape(n, -1)


def _names(columns: Sequence[str] | None, width: int, prefix: str) -> list[str] | None:
    if columns is not None:
        if len(columns) != width:
            raise ValueError(f"{len(columns)} columns are named, and the input has {width}")
        return [f"{prefix}{name}" for name in columns]
    if not prefix:
        return None  # by position: a profile may know their names
    return [prefix[:-1]] if width == 1 else [f"{prefix}f{index}" for index in range(width)]


def _plain(column: Any) -> Any:
    """A column of texts and what else there is; None for what is missing, which a table writes as NaN, NaT or NA."""
    if column.dtype.kind in "fiub":
        return column
    return [_cell(value) for value in column.tolist()]


def _cell(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return None if value != value else value
    return value if isinstance(value, str) else None

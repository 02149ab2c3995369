"""Arrays of NumPy's .npy files into a profile builder, without NumPy."""

from __future__ import annotations

import ast
import struct
import sys

from edgemon.drift.build import ProfileBuilder
from edgemon.drift.sources import Roles, SourceError
from edgemon.std.array import array
from edgemon.std.collections.abc import Iterator
from edgemon.typed import Any, BinaryIO

_CHUNK_BYTES = 1 << 20
# NumPy's type codes -> array's, by size; int64 passes through Python ints, all else is exact in
# float64.
_NPY_TYPES = {
    "f8": "d", "f4": "f", "i8": "q", "i4": "i", "i2": "h", "i1": "b",
    "u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "B",
}  # fmt: skip


def read_npy(file: BinaryIO, builder: ProfileBuilder, roles: Roles, source: str) -> Iterator[int]:
    """A NumPy .npy file (versions 1 to 3) with a 1-D or 2-D array of numbers: rows by features.

    Columns are f0, f1, …, and roles speak of them by these names. NaN is missing. Yields the rows
    read. Format: NumPy Enhancement Proposal 1.
    """
    shape, code, swap, fortran = _npy_header(file, source)
    rows, width = shape[0], (shape[1] if len(shape) == 2 else 1)
    columns = [f"f{i}" for i in range(width)]
    streams = roles.streams(columns, source)
    for stream in streams:
        if stream:
            builder.declare(stream)
    if fortran:
        # Column after column: a builder does not mind, rows are only counted.
        for stream in streams:
            for part in _npy_items(file, code, swap, rows, 1, source):
                if stream:
                    _put_all(builder, stream, part)
        builder.row_done(rows)
    else:
        for part in _npy_items(file, code, swap, rows, width, source):
            for i, stream in enumerate(streams):
                if stream:
                    _put_all(builder, stream, part[i::width])
            builder.row_done(len(part) // width)
            yield builder.rows
    yield builder.rows


def _put_all(builder: ProfileBuilder, stream: str, values: array[Any]) -> None:
    number = builder.number
    for value in values:
        number(stream, float(value))


def _npy_header(file: BinaryIO, source: str) -> tuple[tuple[int, ...], str, bool, bool]:
    """(shape, array typecode, whether to swap bytes, whether column after column)."""
    start = file.read(8)
    if len(start) < 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
        raise SourceError(f"{source}: not a .npy file of version 1, 2 or 3")
    size = struct.Struct("<H" if start[6] == 1 else "<I")
    try:
        (length,) = size.unpack(file.read(size.size))
        if length > 1 << 20:
            raise ValueError("its length")
        header = ast.literal_eval(file.read(length).decode("utf-8" if start[6] == 3 else "latin-1"))
        descr, shape, fortran = header["descr"], header["shape"], bool(header["fortran_order"])
        order, kind = descr[0], descr[1:]
        sizes_are_right = all(type(side) is int and side >= 0 for side in shape)
    except (struct.error, ValueError, SyntaxError, KeyError, TypeError, IndexError) as error:
        raise SourceError(f"{source}: the header of the .npy file is damaged: {error}") from error
    if kind not in _NPY_TYPES or order not in "<>|=":
        raise SourceError(
            f"{source}: an array of {descr!r}; numbers are needed (float64, int32, …)"
        )
    if not sizes_are_right or len(shape) not in (1, 2) or 0 in shape:
        raise SourceError(f"{source}: an array of shape {shape}; rows by features are needed")
    swap = {"<": "little", ">": "big"}.get(order, sys.byteorder) != sys.byteorder
    return shape, _NPY_TYPES[kind], swap, fortran


def _npy_items(
    file: BinaryIO, code: str, swap: bool, rows: int, width: int, source: str
) -> Iterator[array[Any]]:
    """Whole rows, about a megabyte at a time."""
    item = array(code).itemsize
    at_once = max(1, _CHUNK_BYTES // (item * width))
    while rows:
        take = min(rows, at_once)
        data = file.read(take * width * item)
        if len(data) < take * width * item:
            raise SourceError(f"{source}: the file is cut off: its header promises more")
        part: array[Any] = array(code)
        part.frombytes(data)
        if swap:
            part.byteswap()
        yield part
        rows -= take

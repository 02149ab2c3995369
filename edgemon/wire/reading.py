"""The columns of a decompressed body, from their descriptions and bins.

Raises one of MALFORMED for whatever does not fit together; the decoder turns it into one line.
"""

from __future__ import annotations

from edgemon._core import columns as core
from edgemon.records import Column, Value
from edgemon.std.collections.abc import Iterator
from edgemon.typed import Any
from edgemon.wire import scheme

# What malformed parameters make Python and the kernels raise.
MALFORMED = (ValueError, TypeError, OverflowError, KeyError, MemoryError)


_INT64 = range(-(2**63), 2**63)
MAX_COLUMNS = 65536
_ITEM_TYPES: dict[str, tuple[type, ...]] = {
    "i8": (int,),
    "f8": (float, int),
    "f4": (float, int),
    "str": (str,),
    "bin": (bytes,),
}


class _UnknownEncodingError(Exception):
    """The column was written by a newer encoder."""


def line_of(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def read_columns(
    described: list[Any], bins: list[bytes], rows: int
) -> tuple[list[Column], list[str]]:
    if len(described) > MAX_COLUMNS:
        raise ValueError(f"{len(described)} columns are more than {MAX_COLUMNS}")
    columns = []
    skipped = []
    cells = 0
    for entry in described:
        if type(entry) is not list or len(entry) < 4 or any(type(e) is not str for e in entry[:3]):
            raise ValueError("a column is no [name, type, encoding, parameters, …]")
        name, type_ = entry[:2]
        try:
            item, length = scheme.item_type(type_)
        except ValueError:
            skipped.append(name)
            continue
        cells += rows * max(1, length)
        if cells > scheme.MAX_CELLS:
            raise ValueError(f"more than {scheme.MAX_CELLS} items")
        try:
            columns.append(Column(name, type_, _values(entry, item, length, bins, rows)))
        except _UnknownEncodingError:
            skipped.append(name)
        except MALFORMED as error:
            raise ValueError(f"column {name!r}: {line_of(error)}") from None
    return columns, skipped


def _values(entry: list[Any], item: str, length: int, bins: list[bytes], rows: int) -> list[Value]:
    enc, params = entry[2:4]
    if type(params) is not list:
        raise ValueError("its parameters are no list")
    if enc == scheme.PLAIN:
        return _plain(params, item, length, rows)
    indices = entry[4] if len(entry) > 4 else []
    if type(indices) is not list:
        raise ValueError("its bins are no list")
    own = iter([_bin(bins, index) for index in indices])
    nulls = _bin(bins, entry[5]) if len(entry) > 5 and entry[5] is not None else None
    present = rows if nulls is None else core.count_present(nulls, rows)
    dense: list[Any]
    if item in ("str", "bin"):
        dense = _text(enc, params, own, present, item)
    elif length == 0:
        dense = [[] for _ in range(present)]
    else:
        stream = _numbers(enc, params, own, present * max(1, length), item, length)
        dense = core.unpack(stream, length, item == "i8")
    return dense if nulls is None else core.spread(dense, nulls, rows)


def _bin(bins: list[bytes], index: object) -> bytes:
    if type(index) is not int or not 0 <= index < len(bins):
        raise ValueError(f"there is no bin {index!r}")
    return bins[index]


def _take(bins: Iterator[bytes]) -> bytes:
    data = next(bins, None)
    if data is None:
        raise ValueError("it has too few bins")
    return data


def _plain(values: list[Any], item: str, length: int, rows: int) -> list[Any]:
    if len(values) != rows:
        raise ValueError(f"{len(values)} values in {rows} rows")
    if length < 0:
        return [None if value is None else _plain_item(value, item) for value in values]
    out: list[Any] = []
    for value in values:
        if value is None:
            out.append(None)
            continue
        if type(value) is not list or len(value) != length:
            raise ValueError(f"a value is no vector of {length}")
        out.append([_plain_item(element, item) for element in value])
    return out


def _plain_item(value: Any, item: str) -> Any:
    kind = type(value)
    if kind not in _ITEM_TYPES[item] or (item == "i8" and value not in _INT64):
        raise ValueError(f"{kind.__name__} in {item}")
    return float(value) if kind is int and item != "i8" else value


# ---- numbers: a stream is n items of 8 bytes -----------------------------------------------------


def _numbers(
    enc: str, params: list[Any], bins: Iterator[bytes], n: int, item: str, length: int
) -> bytes:
    """n: items, over all elements.  length: of a vector; 2 or more only where vectors may sum to one."""
    integers = item == "i8"
    if enc == scheme.CONSTANT:
        if n == 0:
            return b""
        (value,) = params
        pack = core.pack_ints if integers else core.pack_floats
        if value is None:
            raise ValueError("a constant of nothing")
        return pack([value])[0] * n
    if enc == scheme.RAW:
        width = 4 if item == "f4" else 8
        data = _take(bins)
        if len(data) != n * width:
            raise ValueError(f"{len(data)} bytes for {n} items of {width}")
        return core.widen(data) if width == 4 else data
    if enc == scheme.DICTIONARY:
        size, inner, inner_params, index_params = _dictionary(params, n)
        table = _numbers(inner, inner_params, bins, size, "i8" if integers else "f8", -1)
        return core.take(table, _ints(index_params, bins, n))
    if enc == scheme.INTS and integers:
        return _ints(params, bins, n)
    if enc == scheme.FLOAT_KEYS and not integers:
        width, mapping, key_params = params
        return core.float_values(_ints(key_params, bins, n), width, mapping)
    if enc == scheme.DECIMAL and not integers:
        return _decimal(params, bins, n)
    if enc == scheme.UNIT_SUM and not integers and length > 1:
        return _unit_sum(params, bins, n, item, length)
    raise _UnknownEncodingError(enc)


def _unit_sum(params: list[Any], bins: Iterator[bytes], n: int, item: str, length: int) -> bytes:
    width, index_params, residual_params, inner, inner_params = params
    rows = n // length
    index = _ints(index_params, bins, rows)
    residuals = _ints(residual_params, bins, rows)
    rest = _numbers(inner, inner_params, bins, n - rows, item, -1)
    return core.unit_join(index, residuals, rest, length, width)


def _ints(params: Any, bins: Iterator[bytes], n: int) -> bytes:
    order, width, shift, step, base, *first = params
    return core.ints_decode(_take(bins), n, order, width, shift, step, base, tuple(first))


def _decimal(params: list[Any], bins: Iterator[bytes], n: int) -> bytes:
    divisor, width, int_params, *rest = params
    residual_params = rest[0] if rest else None
    patches = rest[1] if len(rest) > 1 else 0
    if type(divisor) is not int or divisor < 1:
        raise ValueError("its divisor is no positive integer")
    whole = _ints(int_params, bins, n)
    residuals = None if residual_params is None else _ints(residual_params, bins, n)
    values = core.decimal_values(whole, residuals, width, divisor)
    if patches:
        positions = _take(bins)
        if len(positions) != 4 * patches:
            raise ValueError("its patches are not whole")
        values = core.patch(values, positions, _take(bins))
    return values


# ---- text ----------------------------------------------------------------------------------------


def _dictionary(params: list[Any], n: int) -> tuple[int, str, list[Any], list[Any]]:
    """(entries, their encoding, its parameters, those of the indices) of a column of n items."""
    size, inner, inner_params, index_params = params
    if type(size) is not int or not 0 <= size <= n:
        raise ValueError("a dictionary larger than its column")
    if inner == scheme.DICTIONARY:
        raise ValueError("a dictionary in a dictionary")
    return size, inner, inner_params, index_params


def _text(enc: str, params: list[Any], bins: Iterator[bytes], n: int, item: str) -> list[Any]:
    if enc == scheme.CONSTANT:
        if n == 0:
            return []
        (value,) = params
        return [_plain_item(value, item)] * n
    if enc == scheme.STRINGS:
        return _strings(params, bins, n, item)
    if enc == scheme.DICTIONARY:
        size, inner, inner_params, index_params = _dictionary(params, n)
        table = _text(inner, inner_params, bins, size, item)
        index = core.unpack(_ints(index_params, bins, n), -1, True)
        if n and not 0 <= min(index) <= max(index) < size:
            raise ValueError("a dictionary index is out of range")
        return [table[k] for k in index]
    if enc == scheme.NUMBERED and item == "str":
        return _numbered(params, bins, n)
    if enc == scheme.HEX and item == "str":
        return _hex(params, bins, n)
    raise _UnknownEncodingError(enc)


def _strings(params: list[Any], bins: Iterator[bytes], n: int, item: str) -> list[Any]:
    lengths = core.unpack(_ints(params, bins, n), -1, True)
    data = _take(bins)
    out: list[Any] = []
    start = 0
    for length in lengths:
        end = start + length
        if not start <= end <= len(data):
            raise ValueError("a string ends outside its bin")
        out.append(data[start:end].decode() if item == "str" else data[start:end])
        start = end
    if start != len(data):
        raise ValueError("bytes are left behind the strings")
    return out


def _numbered(params: list[Any], bins: Iterator[bytes], n: int) -> list[str]:
    prefix, digits, int_params = params
    if type(prefix) is not str or type(digits) is not int or not 0 <= digits <= 20:
        raise ValueError("its numbering is malformed")
    if n * (len(prefix) + 20) > scheme.MAX_TEXT:
        raise ValueError(f"more than {scheme.MAX_TEXT} characters")
    whole = core.unpack(_ints(int_params, bins, n), -1, True)
    return [f"{prefix}{value:0{digits}d}" for value in whole]


def _hex(params: list[Any], bins: Iterator[bytes], n: int) -> list[str]:
    (template,) = params
    if type(template) is not str:
        raise ValueError("its template is no text")
    if n * len(template) > scheme.MAX_TEXT:
        raise ValueError(f"more than {scheme.MAX_TEXT} characters")
    variable = template.count("\0")
    planes = _take(bins)
    if len(planes) != (variable + 1) // 2 * n:
        raise ValueError("its digits are not whole")
    digits = planes.hex()
    # Digit 2p (2p + 1) of row k is the high (low) half of byte k of plane p.
    columns = [
        digits[2 * n * (place // 2) + place % 2 : 2 * n * (place // 2 + 1) : 2]
        for place in range(variable)
    ]
    parts = template.split("\0")
    out = []
    for row in zip(*columns, strict=True):
        pieces = [parts[0]]
        for digit, part in zip(row, parts[1:], strict=True):
            pieces += (digit, part)
        out.append("".join(pieces))
    return out if variable else [template] * n

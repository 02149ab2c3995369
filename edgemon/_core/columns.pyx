"""Column kernels of the batch format over plain bytes objects. See csrc/em_columns.h and columns.pyi."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset


cdef extern from "Python.h":
    uint32_t PyUnicode_READ_CHAR(object, Py_ssize_t)


cdef extern from "em_columns.h" nogil:
    ctypedef struct em_ints:
        int order
        int width
        int shift
        uint64_t first[2]
        uint64_t base
        uint64_t step
    bint em_ints_plan(const int64_t *, size_t, int, int, int, int64_t *, em_ints *)
    void em_ints_pack(const int64_t *, size_t, const em_ints *, uint8_t *)
    void em_ints_unpack(const uint8_t *, size_t, const em_ints *, int64_t *)
    bint em_float_keys(const double *, size_t, int, int, int64_t *)
    void em_float_values(const int64_t *, size_t, int, int, double *)
    void em_round_f32(double *, size_t)
    bint em_all_f32(const double *, size_t)
    int em_decimal_digits(const double *, size_t, int, int)
    int em_binary_bits(const double *, size_t)
    double em_power_of_ten(int)
    int64_t em_decimal_fit(
        const double *, size_t, int, double, int, int64_t *, int64_t *, uint32_t *, size_t)
    void em_decimal_values(const int64_t *, const int64_t *, size_t, int, double, double *)
    void em_unit_split(
        const double *, size_t, size_t, int, int64_t *, int64_t *, double *)
    bint em_unit_join(
        const double *, const int64_t *, const int64_t *, size_t, size_t, int, double *)
    double em_model_planes(const uint8_t *, size_t, size_t)
    void em_model_cuts(const uint8_t *, const uint64_t *, size_t, uint8_t *, uint32_t *)


cdef inline bytes _new(Py_ssize_t size):
    return PyBytes_FromStringAndSize(NULL, size)


cdef inline char *_at(bytes buffer):
    return PyBytes_AS_STRING(buffer)


cdef inline Py_ssize_t _items(bytes buffer, int width) except -1:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(buffer)
    if size % width != 0:
        raise ValueError(f"{size} bytes are no whole number of {width}-byte items")
    return size // width


# ---- Python values <-> dense buffers -------------------------------------------------------------------------------


cdef bytes _bitmap_of(list values, Py_ssize_t *present):
    """Bit k (lowest first) set = value k is None; None when all are there."""
    cdef Py_ssize_t n = len(values)
    cdef Py_ssize_t missing = 0
    cdef Py_ssize_t k
    cdef bytes bitmap
    cdef uint8_t *bits
    for k in range(n):
        if values[k] is None:
            missing += 1
    present[0] = n - missing
    if missing == 0:
        return None
    bitmap = _new((n + 7) // 8)
    bits = <uint8_t *> _at(bitmap)
    memset(bits, 0, (n + 7) // 8)
    for k in range(n):
        if values[k] is None:
            bits[k >> 3] |= 1 << (k & 7)
    return bitmap


def null_bitmap(list values not None):
    cdef Py_ssize_t present
    return _bitmap_of(values, &present)


def pack_floats(list values not None):
    cdef Py_ssize_t present, k
    cdef bytes nulls = _bitmap_of(values, &present)
    cdef bytes dense = _new(present * 8)
    cdef double *out = <double *> _at(dense)
    cdef object value
    for k in range(len(values)):
        value = values[k]
        if value is not None:
            out[0] = _number(value)
            out += 1
    return dense, nulls


def pack_ints(list values not None):
    cdef Py_ssize_t present, k
    cdef bytes nulls = _bitmap_of(values, &present)
    cdef bytes dense = _new(present * 8)
    cdef int64_t *out = <int64_t *> _at(dense)
    cdef object value
    for k in range(len(values)):
        value = values[k]
        if value is not None:
            out[0] = _integer(value)
            out += 1
    return dense, nulls


cdef double _number(object value) except? -1.5:
    if type(value) is float or type(value) is int:
        return value
    raise TypeError(f"a float is needed, not {type(value).__name__}")


cdef int64_t _integer(object value) except? -2:
    if type(value) is int:
        return value
    raise TypeError(f"an int is needed, not {type(value).__name__}")


def pack_vectors(list values not None, Py_ssize_t length, bint integers):
    """Component-major: all of component 0, then all of component 1, …"""
    cdef Py_ssize_t present, k, component
    cdef bytes nulls = _bitmap_of(values, &present)
    cdef bytes dense = _new(present * length * 8)
    cdef double *floats = <double *> _at(dense)
    cdef int64_t *ints = <int64_t *> _at(dense)
    cdef Py_ssize_t row = 0
    cdef list vector
    for k in range(len(values)):
        vector = values[k]
        if vector is None:
            continue
        if len(vector) != length:
            raise ValueError(f"a vector of {len(vector)} in a column of vectors of {length}")
        for component in range(length):
            if integers:
                ints[component * present + row] = _integer(vector[component])
            else:
                floats[component * present + row] = _number(vector[component])
        row += 1
    return dense, nulls


def unpack(bytes dense not None, Py_ssize_t length, bint integers):
    """length -1: a list of numbers; otherwise a list of vectors of that length, from component-major order."""
    cdef Py_ssize_t items = _items(dense, 8)
    cdef const double *floats = <const double *> _at(dense)
    cdef const int64_t *ints = <const int64_t *> _at(dense)
    cdef Py_ssize_t k, component, rows
    if length < 0:
        return [ints[k] for k in range(items)] if integers else [floats[k] for k in range(items)]
    if length == 0:
        raise ValueError("vectors of length 0 have no items to unpack")
    rows = items // length
    if integers:
        return [[ints[component * rows + k] for component in range(length)] for k in range(rows)]
    return [[floats[component * rows + k] for component in range(length)] for k in range(rows)]


def spread(list dense not None, bytes nulls not None, Py_ssize_t rows):
    """The dense values at the rows whose bit is not set, None elsewhere."""
    cdef const uint8_t *bits = <const uint8_t *> _at(nulls)
    cdef Py_ssize_t k, used = 0
    cdef list out = [None] * rows
    if PyBytes_GET_SIZE(nulls) != (rows + 7) // 8:
        raise ValueError("the bitmap of nulls is of another length")
    for k in range(rows):
        if not (bits[k >> 3] >> (k & 7)) & 1:
            if used == len(dense):
                raise ValueError("more rows than values")
            out[k] = dense[used]
            used += 1
    if used != len(dense):
        raise ValueError("more values than rows")
    return out


def count_present(bytes nulls not None, Py_ssize_t rows):
    cdef const uint8_t *bits = <const uint8_t *> _at(nulls)
    cdef Py_ssize_t k, present = 0
    if PyBytes_GET_SIZE(nulls) != (rows + 7) // 8:
        raise ValueError("the bitmap of nulls is of another length")
    for k in range(rows):
        present += not (bits[k >> 3] >> (k & 7)) & 1
    return present


# ---- text ----------------------------------------------------------------------------------------------------------


def number_tails(list values not None, str prefix not None):
    """(int64 of what is behind the prefix, digits to pad to or 0); None when that is no plain number."""
    cdef Py_ssize_t n = len(values)
    cdef Py_ssize_t start = len(prefix)
    cdef Py_ssize_t k, at, length
    cdef Py_ssize_t shortest = 19
    cdef Py_ssize_t longest = 0
    cdef bint padded = False
    cdef bytes stream = _new(n * 8)
    cdef int64_t *out = <int64_t *> _at(stream)
    cdef int64_t number
    cdef int64_t digit
    cdef str value
    for k in range(n):
        value = values[k]
        length = len(value) - start
        if not 1 <= length <= 18 or not value.startswith(prefix):
            return None
        number = 0
        for at in range(start, start + length):
            digit = <int64_t> PyUnicode_READ_CHAR(value, at) - 48
            if digit < 0 or digit > 9:
                return None
            number = 10 * number + digit
        padded = padded or (length > 1 and PyUnicode_READ_CHAR(value, start) == 48)
        shortest = min(shortest, length)
        longest = max(longest, length)
        out[k] = number
    if padded and shortest != longest:
        return None
    return stream, longest if padded else 0


def join_texts(list values not None):
    """(int64 lengths in bytes, all bytes) of str, as UTF-8, or of bytes."""
    cdef Py_ssize_t n = len(values)
    cdef bytes lengths = _new(n * 8)
    cdef int64_t *out = <int64_t *> _at(lengths)
    cdef list encoded = [
        value.encode() if type(value) is str else value for value in values
    ]
    cdef Py_ssize_t k
    for k in range(n):
        out[k] = len(encoded[k])
    return lengths, b"".join(encoded)


# ---- integers ------------------------------------------------------------------------------------------------------


def ints_encode(bytes values not None, int order=0, int align=0, int shift=0):
    cdef Py_ssize_t n = _items(values, 8)
    cdef bytes differences = _new(n * 8)
    cdef em_ints plan
    cdef bytes planes
    cdef int level
    if not (0 <= order <= 2 and 0 <= align <= 63 and 0 <= shift <= 63):
        raise ValueError("order, align or shift out of range")
    if not em_ints_plan(
        <const int64_t *> _at(values), n, order, align, shift, <int64_t *> _at(differences), &plan
    ):
        return None
    n -= plan.order
    planes = _new(n * plan.width)
    em_ints_pack(<const int64_t *> _at(differences), n, &plan, <uint8_t *> _at(planes))
    first = [<int64_t> plan.first[level] for level in range(plan.order)]
    return [plan.order, plan.width, plan.shift, plan.step, <int64_t> plan.base, *first], planes


def ints_decode(
    bytes planes not None, Py_ssize_t n, int order, int width, int shift,
    uint64_t step, int64_t base, tuple first not None,
):
    cdef em_ints plan
    cdef bytes values
    cdef Py_ssize_t level
    if not (0 <= order <= 2 and order <= n and 0 <= width <= 8 and 0 <= shift <= 63 and step >= 1):
        raise ValueError("parameters of integers are out of range")
    if len(first) != order:
        raise ValueError("as many first values as differences are needed")
    if PyBytes_GET_SIZE(planes) != (n - order) * width:
        raise ValueError(f"{(n - order) * width} bytes of planes are needed, {PyBytes_GET_SIZE(planes)} are there")
    plan.order = order
    plan.width = width
    plan.shift = shift
    plan.step = step
    plan.base = <uint64_t> base
    for level in range(order):
        plan.first[level] = <uint64_t> <int64_t> first[level]
    values = _new(n * 8)
    em_ints_unpack(<const uint8_t *> _at(planes), n, &plan, <int64_t *> _at(values))
    return values


def distinct(bytes values not None, Py_ssize_t limit):
    """(sorted distinct values, index of each), both int64; None when there are more than `limit`."""
    cdef Py_ssize_t n = _items(values, 8)
    cdef const int64_t *keys = <const int64_t *> _at(values)
    cdef dict positions = {}
    cdef Py_ssize_t k
    cdef bytes table, index
    cdef int64_t *out
    for k in range(n):
        positions[keys[k]] = 0
        if len(positions) > limit:
            return None
    ordered = sorted(positions)
    table = _new(len(ordered) * 8)
    out = <int64_t *> _at(table)
    for k, key in enumerate(ordered):
        out[k] = key
        positions[key] = k
    index = _new(n * 8)
    out = <int64_t *> _at(index)
    for k in range(n):
        out[k] = positions[keys[k]]
    return table, index


def take(bytes table not None, bytes index not None):
    """table[index[k]] of 8-byte items; ValueError for an index out of range."""
    cdef Py_ssize_t size = _items(table, 8)
    cdef Py_ssize_t n = _items(index, 8)
    cdef const int64_t *source = <const int64_t *> _at(table)
    cdef const int64_t *at = <const int64_t *> _at(index)
    cdef bytes values = _new(n * 8)
    cdef int64_t *out = <int64_t *> _at(values)
    cdef Py_ssize_t k
    for k in range(n):
        if at[k] < 0 or at[k] >= size:
            raise ValueError("a dictionary index is out of range")
        out[k] = source[at[k]]
    return values


# ---- floats --------------------------------------------------------------------------------------------------------


cdef inline int _item(int item) except -1:
    if item != 4 and item != 8:
        raise ValueError("floats have 4 or 8 bytes")
    return item


def float_keys(bytes values not None, int item, int mapping):
    cdef Py_ssize_t n = _items(values, 8)
    cdef bytes keys = _new(n * 8)
    if not em_float_keys(
        <const double *> _at(values), n, _item(item), mapping, <int64_t *> _at(keys)
    ):
        return None
    return keys


def float_values(bytes keys not None, int item, int mapping):
    cdef Py_ssize_t n = _items(keys, 8)
    cdef bytes values = _new(n * 8)
    em_float_values(<const int64_t *> _at(keys), n, _item(item), mapping, <double *> _at(values))
    return values


def all_f32(bytes values not None):
    return em_all_f32(<const double *> _at(values), _items(values, 8))


def round_f32(bytes values not None):
    cdef Py_ssize_t n = _items(values, 8)
    cdef bytes rounded = _new(n * 8)
    memcpy(_at(rounded), _at(values), n * 8)
    em_round_f32(<double *> _at(rounded), n)
    return rounded


def narrow(bytes values not None):
    """float64 -> float32 items."""
    cdef Py_ssize_t n = _items(values, 8)
    cdef bytes narrowed = _new(n * 4)
    cdef Py_ssize_t k
    for k in range(n):
        (<float *> _at(narrowed))[k] = <float> (<const double *> _at(values))[k]
    return narrowed


def widen(bytes values not None):
    """float32 -> float64 items."""
    cdef Py_ssize_t n = _items(values, 4)
    cdef bytes widened = _new(n * 8)
    cdef Py_ssize_t k
    for k in range(n):
        (<double *> _at(widened))[k] = (<const float *> _at(values))[k]
    return widened


def decimal_digits(bytes values not None, int item, int tolerance):
    return em_decimal_digits(<const double *> _at(values), _items(values, 8), _item(item), tolerance)


def binary_bits(bytes values not None):
    return em_binary_bits(<const double *> _at(values), _items(values, 8))


def power_of_ten(int digits):
    if not 0 <= digits <= 22:
        raise ValueError("powers of ten are exact from 0 to 22")
    return em_power_of_ten(digits)


def decimal_fit(bytes values not None, int item, double divisor, int tolerance):
    cdef Py_ssize_t n = _items(values, 8)
    cdef Py_ssize_t room = n // 32
    cdef bytes ints = _new(n * 8)
    cdef bytes residuals = _new(n * 8) if tolerance > 0 else None
    cdef bytes patches = _new(room * 4)
    cdef int64_t *residuals_at = NULL
    cdef int64_t patched
    if residuals is not None:
        residuals_at = <int64_t *> _at(residuals)
    patched = em_decimal_fit(
        <const double *> _at(values), n, _item(item), divisor, tolerance,
        <int64_t *> _at(ints), residuals_at, <uint32_t *> _at(patches), room,
    )
    if patched < 0:
        return None
    return ints, residuals, patches[: patched * 4]


def decimal_values(bytes ints not None, bytes residuals, int item, double divisor):
    cdef Py_ssize_t n = _items(ints, 8)
    cdef bytes values = _new(n * 8)
    cdef const int64_t *residuals_at = NULL
    if residuals is not None:
        if _items(residuals, 8) != n:
            raise ValueError("as many residuals as integers are needed")
        residuals_at = <const int64_t *> _at(residuals)
    em_decimal_values(
        <const int64_t *> _at(ints), residuals_at, n, _item(item), divisor, <double *> _at(values)
    )
    return values


def gather(bytes values not None, bytes positions not None):
    """values[positions[k]] of 8-byte items; positions are uint32."""
    cdef Py_ssize_t size = _items(values, 8)
    cdef Py_ssize_t n = _items(positions, 4)
    cdef bytes out = _new(n * 8)
    cdef Py_ssize_t k
    cdef uint32_t position
    for k in range(n):
        position = (<const uint32_t *> _at(positions))[k]
        if position >= size:
            raise ValueError("a patch is out of range")
        (<int64_t *> _at(out))[k] = (<const int64_t *> _at(values))[position]
    return out


def patch(bytes values not None, bytes positions not None, bytes replacements not None):
    """A copy of values with values[positions[k]] = replacements[k], 8-byte items."""
    cdef Py_ssize_t size = _items(values, 8)
    cdef Py_ssize_t n = _items(positions, 4)
    cdef bytes out = _new(size * 8)
    cdef Py_ssize_t k
    cdef uint32_t position
    if _items(replacements, 8) != n:
        raise ValueError("as many patches as positions are needed")
    memcpy(_at(out), _at(values), size * 8)
    for k in range(n):
        position = (<const uint32_t *> _at(positions))[k]
        if position >= size:
            raise ValueError("a patch is out of range")
        (<int64_t *> _at(out))[position] = (<const int64_t *> _at(replacements))[k]
    return out


def unit_split(bytes values not None, Py_ssize_t length, int item):
    """(index, residual, rest) of vectors that sum to one, all in 8-byte items."""
    cdef Py_ssize_t items = _items(values, 8)
    cdef Py_ssize_t rows
    cdef bytes index, residual, rest
    if length < 2 or items % length != 0:
        raise ValueError("whole vectors of two or more elements are needed")
    rows = items // length
    index = _new(rows * 8)
    residual = _new(rows * 8)
    rest = _new((items - rows) * 8)
    em_unit_split(
        <const double *> _at(values), rows, length, _item(item),
        <int64_t *> _at(index), <int64_t *> _at(residual), <double *> _at(rest),
    )
    return index, residual, rest


def unit_join(bytes index not None, bytes residual not None, bytes rest not None, Py_ssize_t length, int item):
    """The inverse of unit_split."""
    cdef Py_ssize_t rows = _items(index, 8)
    cdef bytes values
    if length < 2 or _items(residual, 8) != rows or _items(rest, 8) != rows * (length - 1):
        raise ValueError("the parts of the vectors do not fit together")
    values = _new(rows * length * 8)
    if not em_unit_join(
        <const double *> _at(rest), <const int64_t *> _at(index), <const int64_t *> _at(residual),
        rows, length, _item(item), <double *> _at(values),
    ):
        raise ValueError("a position in a vector is out of range")
    return values


# ---- the model of the compressor -----------------------------------------------------------------------------------


def cost_bits(bytes planes not None, Py_ssize_t count):
    """Modelled size of `count` planes of equal length."""
    if count < 0 or (count > 0 and PyBytes_GET_SIZE(planes) % count != 0):
        raise ValueError("planes are of equal length")
    if count == 0:
        return 0.0
    return em_model_planes(
        <const uint8_t *> _at(planes), PyBytes_GET_SIZE(planes) // count, count
    )


def block_ends(bytes body not None, list ends not None):
    """Those of the offsets `ends` at which a compressor should end a block; the last is never one."""
    cdef Py_ssize_t segments = len(ends)
    cdef bytes offsets = _new(segments * 8)
    cdef bytes keep = _new(segments)
    cdef bytes scratch = _new(512 * 4)
    cdef uint64_t *at = <uint64_t *> _at(offsets)
    cdef uint64_t before = 0
    cdef Py_ssize_t k
    for k in range(segments):
        at[k] = ends[k]
        if at[k] < before or at[k] > <uint64_t> PyBytes_GET_SIZE(body):
            raise ValueError("segments are in order and inside the body")
        before = at[k]
    em_model_cuts(
        <const uint8_t *> _at(body), at, segments, <uint8_t *> _at(keep), <uint32_t *> _at(scratch)
    )
    return [ends[k] for k in range(segments) if keep[k]]

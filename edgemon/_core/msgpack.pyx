"""msgpack: values to bytes and back. See msgpack.pyi."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object) except? -1
    const char *PyUnicode_AsUTF8AndSize(object, Py_ssize_t *) except NULL
    object PyUnicode_DecodeUTF8(const char *, Py_ssize_t, const char *)

from sys import intern as _intern

# Levels of arrays and maps inside each other, in both directions: each is a frame on the C stack.
cdef enum:
    MAX_DEPTH = 512
    FIRST_BYTES = 256


class IncompleteError(ValueError):
    pass


cdef int deeper(int depth) except -1:
    if depth >= MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    return 0


# -- values to bytes

cdef struct Out:
    uint8_t *data
    size_t size
    size_t room


cdef int put_bytes(Out *out, const void *data, size_t size) except -1:
    cdef size_t room
    cdef void *grown
    if out.room - out.size < size:
        room = max(2 * out.room, out.size + size, <size_t>FIRST_BYTES)
        grown = PyMem_Realloc(out.data, room)
        if grown == NULL:
            raise MemoryError
        out.data, out.room = <uint8_t *>grown, room
    memcpy(out.data + out.size, data, size)
    out.size += size
    return 0


cdef int put_number(Out *out, uint8_t tag, uint64_t number, int width) except -1:
    """A tag and a number of `width` bytes, the most significant first."""
    cdef uint8_t[9] head
    cdef int i
    head[0] = tag
    for i in range(width):
        head[1 + i] = <uint8_t>(number >> (8 * (width - 1 - i)))
    return put_bytes(out, head, 1 + width)


cdef int put_integer(Out *out, object value) except -1:
    cdef int beyond = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &beyond)
    if beyond < 0:
        raise OverflowError("an integer below -2**63")
    if beyond > 0:
        return put_number(out, 0xcf, PyLong_AsUnsignedLongLong(value), 8)
    if number >= 0:
        if number < 1 << 7:
            return put_number(out, <uint8_t>number, 0, 0)
        if number < 1 << 8:
            return put_number(out, 0xcc, number, 1)
        if number < 1 << 16:
            return put_number(out, 0xcd, number, 2)
        if number < <long long>1 << 32:
            return put_number(out, 0xce, number, 4)
        return put_number(out, 0xcf, number, 8)
    if number >= -32:
        return put_number(out, <uint8_t>number, 0, 0)
    if number >= -(1 << 7):
        return put_number(out, 0xd0, number, 1)
    if number >= -(1 << 15):
        return put_number(out, 0xd1, number, 2)
    if number >= -(<long long>1 << 31):
        return put_number(out, 0xd2, number, 4)
    return put_number(out, 0xd3, number, 8)


cdef int put_length(Out *out, size_t length, uint8_t fixed, size_t fixed_limit, uint8_t tag, bint has_8) except -1:
    """fixed: the tag that holds lengths below fixed_limit itself.  tag: that of 8 bits where there is one, else of 16."""
    if length < fixed_limit:
        return put_number(out, <uint8_t>(fixed | length), 0, 0)
    if has_8:
        if length < 1 << 8:
            return put_number(out, tag, length, 1)
        tag += 1
    if length < 1 << 16:
        return put_number(out, tag, length, 2)
    if length > <uint32_t>0xffffffff:
        raise ValueError("longer than 2**32 - 1")
    return put_number(out, tag + 1, length, 4)


cdef int put_text(Out *out, object text, str errors) except -1:
    cdef Py_ssize_t size = 0
    cdef const char *data
    try:
        data = PyUnicode_AsUTF8AndSize(text, &size)
    except UnicodeEncodeError:
        if errors == "strict":
            raise
        text = text.encode("utf-8", errors).decode()
        data = PyUnicode_AsUTF8AndSize(text, &size)
    put_length(out, size, 0xa0, 32, 0xd9, True)
    return put_bytes(out, data, size)


cdef int put_binary(Out *out, object value) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    try:
        put_length(out, view.len, 0, 0, 0xc4, True)
        return put_bytes(out, view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef int put(Out *out, object value, str errors, int depth) except -1:
    cdef double number
    cdef uint64_t bits
    if value is None:
        return put_number(out, 0xc0, 0, 0)
    if value is False or value is True:
        return put_number(out, 0xc3 if value is True else 0xc2, 0, 0)
    if isinstance(value, float):
        number = value
        memcpy(&bits, &number, 8)
        return put_number(out, 0xcb, bits, 8)
    if isinstance(value, int):
        return put_integer(out, value)
    if isinstance(value, str):
        return put_text(out, value, errors)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return put_binary(out, value)
    deeper(depth)
    if isinstance(value, (list, tuple)):
        put_length(out, len(value), 0x90, 16, 0xdc, False)
        for item in value:
            put(out, item, errors, depth + 1)
        return 0
    if isinstance(value, dict):
        put_length(out, len(value), 0x80, 16, 0xde, False)
        for key, item in (<dict>value).items():
            put(out, key, errors, depth + 1)
            put(out, item, errors, depth + 1)
        return 0
    raise TypeError(f"no msgpack for a {type(value).__name__}")


cdef bytes taken(Out *out):
    return PyBytes_FromStringAndSize(<const char *>out.data, out.size)


def packb(object value, str unicode_errors="strict"):
    cdef Out out = Out(NULL, 0, 0)
    try:
        put(&out, value, unicode_errors, 0)
        return taken(&out)
    finally:
        PyMem_Free(out.data)


def array_header(size_t length):
    cdef Out out = Out(NULL, 0, 0)
    try:
        put_length(&out, length, 0x90, 16, 0xdc, False)
        return taken(&out)
    finally:
        PyMem_Free(out.data)


def map_header(size_t length):
    cdef Out out = Out(NULL, 0, 0)
    try:
        put_length(&out, length, 0x80, 16, 0xde, False)
        return taken(&out)
    finally:
        PyMem_Free(out.data)


# -- bytes to values

cdef struct In:
    const uint8_t *at
    const uint8_t *end
    size_t max_array
    size_t max_map
    bint text_keys


cdef const uint8_t *skip(In *src, size_t size) except NULL:
    """Where the next `size` bytes are."""
    cdef const uint8_t *at = src.at
    if <size_t>(src.end - at) < size:
        raise IncompleteError("the bytes end within a value")
    src.at += size
    return at


cdef uint64_t number_of(In *src, int width) except? 0:
    cdef const uint8_t *data = skip(src, width)
    cdef uint64_t number = 0
    cdef int i
    for i in range(width):
        number = number << 8 | data[i]
    return number


cdef object text_of(In *src, size_t size):
    return PyUnicode_DecodeUTF8(<const char *>skip(src, size), size, NULL)


cdef object binary_of(In *src, size_t size):
    return PyBytes_FromStringAndSize(<const char *>skip(src, size), size)


cdef object array_of(In *src, size_t length, int depth):
    cdef size_t i
    deeper(depth)
    if length > src.max_array:
        raise ValueError(f"an array of {length} values, {src.max_array} may be")
    if length > <size_t>(src.end - src.at):  # before memory is taken for them
        raise IncompleteError("the bytes end within an array")
    values = PyList_New(length)
    for i in range(length):
        item = get(src, depth + 1)
        Py_INCREF(item)
        PyList_SET_ITEM(values, i, item)
    return values


cdef object map_of(In *src, size_t length, int depth):
    cdef size_t i
    deeper(depth)
    if length > src.max_map:
        raise ValueError(f"a map of {length} keys, {src.max_map} may be")
    values = {}
    for i in range(length):
        key = get(src, depth + 1)
        if type(key) is str:
            key = _intern(key)  # the same few names in map after map
        elif src.text_keys and type(key) is not bytes:
            raise ValueError(f"a key that is a {type(key).__name__}")
        values[key] = get(src, depth + 1)
    return values


cdef object float_of(In *src, int width):
    cdef uint64_t bits = number_of(src, width)
    cdef uint32_t low = <uint32_t>bits
    cdef float single
    cdef double number
    if width == 4:
        memcpy(&single, &low, 4)
        return <double>single
    memcpy(&number, &bits, 8)
    return number


cdef object extension_of(In *src, size_t size):
    code = <int8_t>number_of(src, 1)
    return code, binary_of(src, size)


cdef object get(In *src, int depth):
    cdef uint8_t tag = skip(src, 1)[0]
    if tag < 0x80:
        return tag
    if tag >= 0xe0:
        return <int8_t>tag
    if tag < 0x90:
        return map_of(src, tag & 0x0f, depth)
    if tag < 0xa0:
        return array_of(src, tag & 0x0f, depth)
    if tag < 0xc0:
        return text_of(src, tag & 0x1f)
    if tag == 0xc0:
        return None
    if tag == 0xc2 or tag == 0xc3:
        return tag == 0xc3
    if 0xc4 <= tag <= 0xc6:
        return binary_of(src, number_of(src, 1 << (tag - 0xc4)))
    if 0xc7 <= tag <= 0xc9:
        return extension_of(src, number_of(src, 1 << (tag - 0xc7)))
    if tag == 0xca or tag == 0xcb:
        return float_of(src, 4 if tag == 0xca else 8)
    if 0xcc <= tag <= 0xcf:
        return number_of(src, 1 << (tag - 0xcc))
    if tag == 0xd0:
        return <int8_t>number_of(src, 1)
    if tag == 0xd1:
        return <int16_t>number_of(src, 2)
    if tag == 0xd2:
        return <int32_t>number_of(src, 4)
    if tag == 0xd3:
        return <int64_t>number_of(src, 8)
    if 0xd4 <= tag <= 0xd8:
        return extension_of(src, 1 << (tag - 0xd4))
    if 0xd9 <= tag <= 0xdb:
        return text_of(src, number_of(src, 1 << (tag - 0xd9)))
    if tag == 0xdc or tag == 0xdd:
        return array_of(src, number_of(src, 2 if tag == 0xdc else 4), depth)
    if tag == 0xde or tag == 0xdf:
        return map_of(src, number_of(src, 2 if tag == 0xde else 4), depth)
    raise ValueError(f"a value of the unknown type {tag:#x}")


def unpack_from(
    object data, size_t start=0, *, size_t max_array_len=0xffffffff, size_t max_map_len=0xffffffff,
    bint strict_map_key=True
):
    cdef Py_buffer view
    cdef In src
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if start > <size_t>view.len:
            raise ValueError("a start beyond the end")
        src.at = <const uint8_t *>view.buf + start
        src.end = <const uint8_t *>view.buf + view.len
        src.max_array, src.max_map, src.text_keys = max_array_len, max_map_len, strict_map_key
        value = get(&src, 0)
        return value, src.at - <const uint8_t *>view.buf
    finally:
        PyBuffer_Release(&view)


def unpackb(object data, **limits):
    value, end = unpack_from(data, **limits)
    if end != len(data):
        raise ValueError("something follows the value")
    return value

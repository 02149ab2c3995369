"""Python values to msgpack, into the client of csrc/include/edgemon_client.h. See client.pyi."""

import os
import time

from cpython.buffer cimport (
    PyBUF_RECORDS_RO,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next, PyDict_Size
from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLong, PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyIndex_Check, PyNumber_Index
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_GET_LENGTH
from libc.math cimport isfinite
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset


cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object)
    double PyFloat_Unpack2(const char *, int) except? -1.0


cdef extern from * nogil:
    """
    #define EDGEMON_CLIENT_IMPLEMENTATION
    #include "include/edgemon_client.h"
    """
    const size_t EDGEMON_FRAME_MAX
    ctypedef struct edgemon_client:
        pass
    ctypedef struct edgemon_options:
        const char *socket
        size_t buffer_bytes
        double linger_s
    ctypedef enum edgemon_result:
        EDGEMON_OK
        EDGEMON_TOO_LARGE
        EDGEMON_BAD_EVENT
        EDGEMON_RESULTS
    ctypedef enum edgemon_level:
        EDGEMON_MEMORY
        EDGEMON_DISK
    ctypedef struct edgemon_counts:
        uint64_t taken
        uint64_t sent
        uint64_t confirmed
        uint64_t unconfirmed
        uint64_t dropped[6]
        uint64_t connections
        uint64_t complaints
        uint32_t pending
        int connected
        char last_error[256]
        char last_complaint[256]
    ctypedef struct edgemon_pack:
        unsigned char *start
        unsigned char *at
        int full
    edgemon_client *edgemon_open(const edgemon_options *)
    void edgemon_get_counts(edgemon_client *, edgemon_counts *)
    void edgemon_close(edgemon_client *, double)
    void edgemon_free(edgemon_client *)
    const char *edgemon_result_name(edgemon_result)
    edgemon_result edgemon_submit(edgemon_client *, const edgemon_pack *)
    void edgemon_count(edgemon_client *, edgemon_result, uint64_t)
    uint64_t edgemon_flush_number(edgemon_client *)
    int edgemon_flush_wait(edgemon_client *, edgemon_level, uint64_t, double)
    int edgemon_flush_end(edgemon_client *, edgemon_level, int)
    uint32_t edgemon_complaints(const edgemon_client *)
    edgemon_pack edgemon_pack_into(void *, size_t)
    void edgemon_pack_null(edgemon_pack *)
    void edgemon_pack_bool(edgemon_pack *, int)
    void edgemon_pack_double(edgemon_pack *, double)
    void edgemon_pack_float(edgemon_pack *, float)
    void edgemon_pack_uint(edgemon_pack *, uint64_t)
    void edgemon_pack_int(edgemon_pack *, int64_t)
    void edgemon_pack_array(edgemon_pack *, size_t)
    void edgemon_pack_map(edgemon_pack *, size_t)
    void edgemon_pack_text(edgemon_pack *, const char *, size_t)


cdef enum:
    SPACE = 1536       # bytes of an event that are packed on the stack
    MAX_NAME = 256     # characters of a model, a feature, a version, an id
    MAX_VECTOR = 1024  # numbers of an output

cdef double FLUSH_SLICE_S = 0.1  # after so long a flush looks for signals

# How often the process has been forked: a client that knows another number begins anew.
cdef uint64_t _forks = 1


def _forked():
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_forked)


# ---- values ----------------------------------------------------------------------------------------------------------


cdef inline int _put_text(edgemon_pack *p, object text) except -1:
    cdef Py_ssize_t size
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)  # raises for half a surrogate pair
    edgemon_pack_text(p, data, <size_t>size)
    return 0


cdef inline int _put_name(edgemon_pack *p, object text, str what) except -1:
    if not isinstance(text, str):
        raise TypeError(f"{what} is a string, not {type(text).__name__}")
    if not 1 <= PyUnicode_GET_LENGTH(text) <= MAX_NAME:
        raise ValueError(f"{what} has 1 to {MAX_NAME} characters")
    return _put_text(p, text)


cdef inline bint _put_int(edgemon_pack *p, object value) except -1:
    """False: it has no form in msgpack. `value` is an int."""
    cdef int overflow
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow == 0:
        edgemon_pack_int(p, number)
        return True
    if overflow > 0 and value < 0x1_0000_0000_0000_0000:
        edgemon_pack_uint(p, PyLong_AsUnsignedLongLong(value))
        return True
    return False


cdef inline int _put_plain(edgemon_pack *p, PyObject *item) except -1:
    """What needs no code of Python's to be packed; 0: something else, and nothing was packed."""
    cdef object value = <object>item
    if PyFloat_CheckExact(value):
        edgemon_pack_double(p, PyFloat_AS_DOUBLE(value))
        return 1
    if value is None:
        edgemon_pack_null(p)
        return 1
    if value is True or value is False:
        edgemon_pack_bool(p, value is True)
        return 1
    if PyLong_CheckExact(value):
        return _put_int(p, value)
    if PyUnicode_CheckExact(value):
        _put_text(p, value)
        return 1
    return 0


cdef int _put_number(edgemon_pack *p, object value) except -1:
    """Any real number: of Python, of numpy, or whatever says of itself that it is one. TypeError, OverflowError."""
    if PyFloat_CheckExact(value):
        edgemon_pack_double(p, PyFloat_AS_DOUBLE(value))
    elif isinstance(value, bool):
        edgemon_pack_bool(p, value)
    elif isinstance(value, int):
        if not _put_int(p, value):
            edgemon_pack_double(p, float(value))
    elif isinstance(value, (str, bytes, bytearray)):
        raise TypeError(f"a number is needed, not {type(value).__name__}")
    elif PyIndex_Check(value) and not hasattr(value, "__float__"):
        _put_number(p, PyNumber_Index(value))
    else:
        edgemon_pack_double(p, float(value))
    return 0


cdef int _put_value(edgemon_pack *p, object value, uint64_t *lost) except -1:
    """A feature: a number, a text, None. Anything else is a missing value, and counted."""
    if isinstance(value, str):
        return _put_text(p, value)
    if value is None:
        edgemon_pack_null(p)
        return 0
    try:
        return _put_number(p, value)
    except (TypeError, ValueError, OverflowError):
        edgemon_pack_null(p)
        lost[0] += 1
        return 0


cdef int _put_identifier(edgemon_pack *p, object value, str what) except -1:
    if value is None:
        edgemon_pack_null(p)
    elif isinstance(value, str):
        if PyUnicode_GET_LENGTH(value) > MAX_NAME:
            raise ValueError(f"{what} has at most {MAX_NAME} characters")
        _put_text(p, value)
    elif isinstance(value, bool) or not PyIndex_Check(value):
        raise TypeError(f"{what} is a string or an integer, not {type(value).__name__}")
    else:
        value = PyNumber_Index(value)
        if not _put_int(p, value):
            _put_text(p, str(value))
    return 0


cdef int _put_finite(edgemon_pack *p, object value, str what, uint64_t *lost) except -1:
    """Seconds. What is not finite counts as not given."""
    cdef double number
    if value is None:
        edgemon_pack_null(p)
        return 0
    if isinstance(value, (bool, str)):
        raise TypeError(f"{what} is a number of seconds, not {type(value).__name__}")
    number = value
    if isfinite(number):
        edgemon_pack_double(p, number)
    else:
        edgemon_pack_null(p)
        lost[0] += 1
    return 0


# ---- buffers ---------------------------------------------------------------------------------------------------------


cdef inline bint _is_buffer(object source):
    return PyObject_CheckBuffer(source) and not isinstance(source, (bytes, bytearray))


cdef char _kind(const Py_buffer *view):
    """'f', 'i', 'u' or 'b' of native items; 0 for what is not one number an item."""
    cdef const char *format = view.format
    cdef char code
    if format == NULL:
        return c'u'
    if format[0] in (c'@', c'=', c'<') or (format[0] in (c'>', c'!') and view.itemsize == 1):
        format += 1
    code = format[0]
    if code == 0 or format[1] != 0:
        return 0
    if code in (c'b', c'h', c'i', c'l', c'q', c'n'):
        return c'i'
    if code in (c'B', c'H', c'I', c'L', c'Q', c'N'):
        return c'u'
    if code == c'?':
        return c'b'
    if (
        (code == c'd' and view.itemsize == 8)
        or (code == c'f' and view.itemsize == 4)
        or (code == c'e' and view.itemsize == 2)
    ):
        return c'f'
    return 0


cdef inline int _put_item(edgemon_pack *p, const char *at, char kind, Py_ssize_t size) except -1:
    cdef double f8
    cdef float f4
    cdef int64_t i8
    cdef int32_t i4
    cdef int16_t i2
    cdef uint64_t u8
    cdef uint32_t u4
    cdef uint16_t u2
    if kind == c'f':
        if size == 8:
            memcpy(&f8, at, 8)
            edgemon_pack_double(p, f8)
        elif size == 4:
            memcpy(&f4, at, 4)
            edgemon_pack_float(p, f4)
        else:
            edgemon_pack_double(p, PyFloat_Unpack2(at, 1))
    elif kind == c'i':
        if size == 8:
            memcpy(&i8, at, 8)
            edgemon_pack_int(p, i8)
        elif size == 4:
            memcpy(&i4, at, 4)
            edgemon_pack_int(p, i4)
        elif size == 2:
            memcpy(&i2, at, 2)
            edgemon_pack_int(p, i2)
        else:
            edgemon_pack_int(p, (<const int8_t *>at)[0])
    elif kind == c'u':
        if size == 8:
            memcpy(&u8, at, 8)
            edgemon_pack_uint(p, u8)
        elif size == 4:
            memcpy(&u4, at, 4)
            edgemon_pack_uint(p, u4)
        elif size == 2:
            memcpy(&u2, at, 2)
            edgemon_pack_uint(p, u2)
        else:
            edgemon_pack_uint(p, (<const uint8_t *>at)[0])
    else:
        edgemon_pack_bool(p, at[0] != 0)
    return 0


cdef class _Rows:
    """A row of numbers or texts for each event of a call: a buffer of one or two dimensions, or any sequence."""

    cdef Py_buffer view
    cdef bint held
    cdef char kind            # of the buffer's items; 0: `items` it is
    cdef list items
    cdef Py_ssize_t count     # rows
    cdef Py_ssize_t width     # items of a row; -1: one item, and no list

    def __cinit__(self, source):
        memset(&self.view, 0, sizeof(self.view))
        if not _is_buffer(source) and not isinstance(source, (list, tuple)) and hasattr(source, "__array__"):
            source = source.__array__()
        if _is_buffer(source):
            PyObject_GetBuffer(source, &self.view, PyBUF_RECORDS_RO)
            self.held = True
            self.kind = _kind(&self.view)
            if self.view.ndim not in (1, 2):
                raise ValueError(f"{self.view.ndim} dimensions: 1 or 2 are needed")
            self.count = self.view.shape[0]
            self.width = self.view.shape[1] if self.view.ndim == 2 else -1
            if self.kind == 0:
                source = source.tolist()
        if self.kind == 0:
            self.items = list(source)
            self.count = len(self.items)
            self.width = -1

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef inline const char *at(self, Py_ssize_t row):
        return <const char *>self.view.buf + row * self.view.strides[0]

    cdef int put_one(self, edgemon_pack *p, Py_ssize_t row, uint64_t *lost) except -1:
        """The row as one feature."""
        if self.kind != 0:
            return _put_item(p, self.at(row), self.kind, self.view.itemsize)
        if not _put_plain(p, PyList_GET_ITEM(self.items, row)):
            _put_value(p, self.items[row], lost)
        return 0

    cdef int put_output(self, edgemon_pack *p, Py_ssize_t row) except -1:
        cdef Py_ssize_t i
        if self.kind == 0:
            return _put_output(p, self.items[row])
        if self.width > 1:
            if self.width > MAX_VECTOR:
                raise ValueError(f"an output has at most {MAX_VECTOR} numbers")
            edgemon_pack_array(p, <size_t>self.width)
            for i in range(self.width):
                _put_item(p, self.at(row) + i * self.view.strides[1], self.kind, self.view.itemsize)
            return 0
        if self.width == 0:
            raise ValueError("an output has at least one number")
        return _put_item(p, self.at(row), self.kind, self.view.itemsize)

    cdef int put_features(self, edgemon_pack *p, Py_ssize_t row, list names, uint64_t *lost) except -1:
        """names: packed; None: by position."""
        cdef Py_ssize_t i
        cdef const char *at
        cdef bytes name
        if self.kind == 0:
            return _put_features(p, self.items[row], lost)
        at = self.at(row)
        if names is None:
            edgemon_pack_array(p, <size_t>self.width)
        else:
            edgemon_pack_map(p, <size_t>self.width)
        for i in range(self.width):
            if names is not None:
                name = <bytes>names[i]
                edgemon_pack_text(p, PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name))
            _put_item(p, at + i * self.view.strides[1], self.kind, self.view.itemsize)
        return 0

    cdef object item(self, Py_ssize_t row):
        """The row as a Python number, text or None."""
        cdef unsigned char space[9]
        cdef double f8
        cdef float f4
        if self.kind == 0:
            return self.items[row]
        if self.kind == c'f' and self.view.itemsize == 8:
            memcpy(&f8, self.at(row), 8)
            return f8
        if self.kind == c'f' and self.view.itemsize == 4:
            memcpy(&f4, self.at(row), 4)
            return <double>f4
        if self.kind == c'f':
            return PyFloat_Unpack2(self.at(row), 1)
        return int.from_bytes(
            (<const unsigned char *>self.at(row))[: self.view.itemsize], "little", signed=self.kind == c'i'
        )


# ---- events ----------------------------------------------------------------------------------------------------------


cdef int _put_output(edgemon_pack *p, object output) except -1:
    cdef _Rows rows
    cdef object items, item
    if _put_plain(p, <PyObject *>output):
        return 0
    if isinstance(output, str):
        return _put_text(p, output)
    if isinstance(output, (list, tuple)):
        items = tuple(output)
        if not 1 <= len(items) <= MAX_VECTOR:
            raise ValueError(f"an output as a vector has 1 to {MAX_VECTOR} numbers, not {len(items)}")
        edgemon_pack_array(p, <size_t>len(items))
        for item in items:
            _put_number(p, item)
        return 0
    if isinstance(output, (bytes, bytearray)):
        raise TypeError(f"an output is a number, a string or numbers, not {type(output).__name__}")
    if (_is_buffer(output) or hasattr(output, "__array__")) and getattr(output, "ndim", 1) != 0:
        rows = _Rows(output)
        if rows.kind == 0:
            return _put_output(p, rows.items)
        if rows.width != -1:
            if rows.count != 1:
                raise ValueError(f"an output of {rows.count} rows: log_many takes many predictions")
            return rows.put_output(p, 0)
        if rows.count == 1:
            return _put_item(p, rows.at(0), rows.kind, rows.view.itemsize)
        if not 1 <= rows.count <= MAX_VECTOR:
            raise ValueError(f"an output as a vector has 1 to {MAX_VECTOR} numbers, not {rows.count}")
        edgemon_pack_array(p, <size_t>rows.count)
        for row in range(rows.count):
            _put_item(p, rows.at(row), rows.kind, rows.view.itemsize)
        return 0
    return _put_number(p, output)


cdef int _put_pairs(edgemon_pack *p, object pairs, uint64_t *lost) except -1:
    cdef object name, value
    edgemon_pack_map(p, <size_t>len(pairs))
    for name, value in pairs:
        _put_name(p, name, "a feature's name")
        _put_value(p, value, lost)
    return 0


cdef int _put_features(edgemon_pack *p, object features, uint64_t *lost) except -1:
    cdef unsigned char *begin = p.at
    cdef Py_ssize_t at = 0, count, i
    cdef PyObject *key
    cdef PyObject *value
    cdef object item
    cdef bint plain = True
    cdef _Rows rows
    if features is None:
        edgemon_pack_null(p)
        return 0
    # The first try runs no code of Python's, so that nothing can change under it.
    if type(features) is dict:
        edgemon_pack_map(p, <size_t>PyDict_Size(features))
        while plain and PyDict_Next(features, &at, &key, &value):
            _put_name(p, <object>key, "a feature's name")
            plain = _put_plain(p, value)
        if not plain:
            p.at = begin
            p.full = False
            _put_pairs(p, tuple((<dict>features).items()), lost)
        return 0
    if type(features) is list or type(features) is tuple:
        count = PyList_GET_SIZE(features) if type(features) is list else PyTuple_GET_SIZE(features)
        edgemon_pack_array(p, <size_t>count)
        for i in range(count):
            value = PyList_GET_ITEM(features, i) if type(features) is list else PyTuple_GET_ITEM(features, i)
            plain = _put_plain(p, value)
            if not plain:
                break
        if plain:
            return 0
        p.at = begin
        p.full = False
    if isinstance(features, (list, tuple)):
        features = tuple(features)
        edgemon_pack_array(p, <size_t>len(features))
        for item in features:
            _put_value(p, item, lost)
        return 0
    if isinstance(features, (str, bytes, bytearray)):
        raise TypeError(f"features are a dict, a list or an array, not {type(features).__name__}")
    if not _is_buffer(features) and hasattr(features, "items"):
        return _put_pairs(p, tuple(features.items()), lost)
    if not _is_buffer(features) and not hasattr(features, "__array__"):
        raise TypeError(f"features are a dict, a list or an array, not {type(features).__name__}")
    rows = _Rows(features)
    if rows.kind == 0:
        return _put_features(p, rows.items, lost)
    if rows.width != -1:
        if rows.count != 1:
            raise ValueError(f"features of {rows.count} rows: log_many takes many predictions")
        return rows.put_features(p, 0, None, lost)
    edgemon_pack_array(p, <size_t>rows.count)
    for i in range(rows.count):
        _put_item(p, rows.at(i), rows.kind, rows.view.itemsize)
    return 0


cdef inline Py_ssize_t _fields(bint features, bint latency, bint id, bint ts, bint version):
    """Of [model, output, features, latency, id, ts, version], without what trails and is not there."""
    return 7 if version else 6 if ts else 5 if id else 4 if latency else 3 if features else 2


cdef int _put_prediction(
    edgemon_pack *p, object model, object output, object features, object version, object id, object ts,
    object latency, uint64_t *lost,
) except -1:
    cdef Py_ssize_t fields = _fields(
        features is not None, latency is not None, id is not None, ts is not None, version is not None
    )
    edgemon_pack_array(p, <size_t>fields)
    _put_name(p, model, "a model")
    if PyFloat_CheckExact(output):
        edgemon_pack_double(p, PyFloat_AS_DOUBLE(output))
    else:
        _put_output(p, output)
    if fields > 2:
        _put_features(p, features, lost)
    if fields > 3:
        _put_finite(p, latency, "latency", lost)
    if fields > 4:
        _put_identifier(p, id, "an id")
    if fields > 5:
        _put_finite(p, ts, "ts", lost)
    if fields > 6:
        _put_identifier(p, version, "a version")
    return 0


cdef int _put_truth(
    edgemon_pack *p, object id, object label, object model, object version, object ts, uint64_t *lost
) except -1:
    edgemon_pack_map(p, 3 + (version is not None) + (ts is not None))
    edgemon_pack_text(p, "model", 5)
    _put_name(p, model, "a model")
    edgemon_pack_text(p, "id", 2)
    if id is None:
        raise TypeError("a truth needs the id of its prediction")
    _put_identifier(p, id, "an id")
    edgemon_pack_text(p, "label", 5)
    if isinstance(label, str):
        _put_text(p, label)
    else:
        _put_number(p, label)
    if version is not None:
        edgemon_pack_text(p, "version", 7)
        _put_identifier(p, version, "a version")
    if ts is not None:
        edgemon_pack_text(p, "ts", 2)
        _put_finite(p, ts, "ts", lost)
    return 0


cdef int _put_failure(
    edgemon_pack *p, object model, object error, object version, object id, object ts, uint64_t *lost
) except -1:
    edgemon_pack_map(p, 2 + (version is not None) + (id is not None) + (ts is not None))
    edgemon_pack_text(p, "model", 5)
    _put_name(p, model, "a model")
    edgemon_pack_text(p, "error", 5)
    if error is None:
        raise TypeError("an error is a string or an integer, not None")
    _put_identifier(p, error, "an error")
    if version is not None:
        edgemon_pack_text(p, "version", 7)
        _put_identifier(p, version, "a version")
    if id is not None:
        edgemon_pack_text(p, "id", 2)
        _put_identifier(p, id, "an id")
    if ts is not None:
        edgemon_pack_text(p, "ts", 2)
        _put_finite(p, ts, "ts", lost)
    return 0


cdef int _put_metric(edgemon_pack *p, object name, object value, object step, object ts, uint64_t *lost) except -1:
    edgemon_pack_map(p, 2 + (step is not None) + (ts is not None))
    edgemon_pack_text(p, "metric", 6)
    _put_name(p, name, "a metric")
    edgemon_pack_text(p, "value", 5)
    _put_number(p, value)
    if step is not None:
        edgemon_pack_text(p, "step", 4)
        if isinstance(step, bool) or not PyIndex_Check(step):
            raise TypeError(f"a step is an integer, not {type(step).__name__}")
        edgemon_pack_int(p, PyNumber_Index(step))
    if ts is not None:
        edgemon_pack_text(p, "ts", 2)
        _put_finite(p, ts, "ts", lost)
    return 0


def pack_prediction(model, output, features=None, *, version=None, id=None, ts=None, latency=None):
    cdef uint64_t lost = 0
    cdef void *space = PyMem_Malloc(EDGEMON_FRAME_MAX)
    cdef edgemon_pack p
    if space == NULL:
        raise MemoryError()
    try:
        p = edgemon_pack_into(space, EDGEMON_FRAME_MAX)
        _put_prediction(&p, model, output, features, version, id, ts, latency, &lost)
        if p.full:
            raise ValueError(f"an event has at most {EDGEMON_FRAME_MAX} bytes")
        return PyBytes_FromStringAndSize(<const char *>space, p.at - p.start)
    finally:
        PyMem_Free(space)


cdef class _Batch:
    """The columns of log_many, one row an event."""

    cdef object model, version
    cdef _Rows outputs, rows
    cdef list names           # packed as they are; None: no names
    cdef list columns         # _Rows of one feature each, with `names`
    cdef list ids
    cdef object ts, latency   # one for all
    cdef _Rows ts_rows, latency_rows
    cdef Py_ssize_t fields

    def __cinit__(self, model, _Rows outputs, features, names, version, ids, ts, latency):
        self.model = model
        self.version = version
        self.outputs = outputs
        if names is not None:
            self.names = [_name_bytes(name) for name in names]
        if isinstance(features, dict):
            self.names = [_name_bytes(name) for name in features]
            self.columns = [self._column(column, f"feature {name!r}") for name, column in features.items()]
        elif features is not None:
            self.rows = self._column(features, "features")
            if self.rows.kind != 0 and self.rows.width == -1:
                raise ValueError("features of many predictions have two dimensions: predictions, features")
            if self.names is not None and (self.rows.kind == 0 or self.rows.width != len(self.names)):
                raise ValueError("names are for an array of features, one for each of its columns")
        if ids is not None:
            self.ids = ids.tolist() if hasattr(ids, "tolist") else list(ids)
            if len(self.ids) != outputs.count:
                raise ValueError(f"{len(self.ids)} ids for {outputs.count} outputs")
        self.ts, self.ts_rows = self._seconds(ts, "ts")
        self.latency, self.latency_rows = self._seconds(latency, "latency")
        self.fields = _fields(
            features is not None, latency is not None, ids is not None, ts is not None, version is not None
        )

    cdef _Rows _column(self, object source, str what):
        cdef _Rows rows = _Rows(source)
        if rows.count != self.outputs.count:
            raise ValueError(f"{what}: {rows.count} for {self.outputs.count} outputs")
        return rows

    cdef tuple _seconds(self, object source, str what):
        if source is None or isinstance(source, (int, float)) or getattr(source, "ndim", 1) == 0:
            return source, None
        return None, self._column(source, what)

    cdef int put(self, edgemon_pack *p, Py_ssize_t row, uint64_t *lost) except -1:
        cdef Py_ssize_t i
        cdef bytes name
        edgemon_pack_array(p, <size_t>self.fields)
        _put_name(p, self.model, "a model")
        self.outputs.put_output(p, row)
        if self.fields > 2:
            if self.columns is not None:
                edgemon_pack_map(p, <size_t>len(self.columns))
                for i in range(len(self.columns)):
                    name = <bytes>self.names[i]
                    edgemon_pack_text(p, PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name))
                    (<_Rows>self.columns[i]).put_one(p, row, lost)
            elif self.rows is not None:
                self.rows.put_features(p, row, self.names, lost)
            else:
                edgemon_pack_null(p)
        if self.fields > 3:
            _put_finite(
                p, self.latency_rows.item(row) if self.latency_rows is not None else self.latency, "latency", lost
            )
        if self.fields > 4:
            _put_identifier(p, self.ids[row] if self.ids is not None else None, "an id")
        if self.fields > 5:
            _put_finite(p, self.ts_rows.item(row) if self.ts_rows is not None else self.ts, "ts", lost)
        if self.fields > 6:
            _put_identifier(p, self.version, "a version")
        return 0


cdef bytes _name_bytes(object name):
    cdef unsigned char space[4 * MAX_NAME + 8]
    cdef edgemon_pack p = edgemon_pack_into(space, sizeof(space))
    _put_name(&p, name, "a feature's name")
    return name.encode()


# ---- the client ------------------------------------------------------------------------------------------------------


cdef class ClientCore:
    cdef edgemon_client *client
    cdef uint64_t forks       # what _forks was when this client began
    cdef uint32_t complaints  # of the agent, that were passed on
    cdef uint64_t lost_values

    def __cinit__(self, socket=None, *, buffer_bytes=1 << 20, linger=0.1):
        cdef edgemon_options options
        cdef bytes path = None if socket is None else os.fsencode(socket)
        if not 8192 <= buffer_bytes <= 1 << 30:
            raise ValueError(f"buffer_bytes is 8192 to {1 << 30}, not {buffer_bytes}")
        if not 0.001 <= linger <= 60.0:
            raise ValueError(f"linger is 0.001 to 60 seconds, not {linger}")
        options.socket = NULL
        if path:
            options.socket = path
        options.buffer_bytes = buffer_bytes
        options.linger_s = linger
        self.client = edgemon_open(&options)
        if self.client == NULL:
            raise MemoryError(f"no memory for a buffer of {buffer_bytes} bytes")

    def __dealloc__(self):
        with nogil:
            edgemon_free(self.client)

    def log(self, model, output, features=None, *, version=None, id=None, ts=None, latency=None):
        cdef unsigned char space[SPACE]
        cdef edgemon_pack p = edgemon_pack_into(space, SPACE)
        cdef uint64_t lost = 0
        try:
            _put_prediction(&p, model, output, features, version, id, ts, latency, &lost)
            if p.full:
                return self._large((model, output, features, version, id, ts, latency))
            return self._submit(&p, lost)
        except Exception as error:
            return self._refuse(error, 1)

    def log_many(
        self, model, outputs, features=None, *, names=None, version=None, ids=None, ts=None, latency=None
    ):
        cdef unsigned char space[SPACE]
        cdef edgemon_pack p
        cdef uint64_t lost = 0
        cdef Py_ssize_t row, taken = 0
        cdef _Rows rows = None
        cdef _Batch batch
        try:
            rows = _Rows(outputs)
            batch = _Batch(model, rows, features, names, version, ids, ts, latency)
        except Exception as error:
            self._refuse(error, rows.count if rows is not None else 1)
            return 0
        for row in range(rows.count):
            try:
                p = edgemon_pack_into(space, SPACE)
                lost = 0
                batch.put(&p, row, &lost)
                if p.full:
                    taken += self._large((batch, row))
                else:
                    taken += self._submit(&p, lost)
            except Exception as error:
                self._refuse(error, 1)
        return taken

    def truth(self, id, label, model, *, version=None, ts=None):
        cdef unsigned char space[SPACE]
        cdef edgemon_pack p = edgemon_pack_into(space, SPACE)
        cdef uint64_t lost = 0
        try:
            _put_truth(&p, id, label, model, version, ts, &lost)
            if p.full:
                return self._large((id, label, model, version, ts))
            return self._submit(&p, lost)
        except Exception as error:
            return self._refuse(error, 1)

    def error(self, model, error="error", *, version=None, id=None, ts=None):
        cdef unsigned char space[SPACE]
        cdef edgemon_pack p = edgemon_pack_into(space, SPACE)
        cdef uint64_t lost = 0
        try:
            if isinstance(error, BaseException):
                error = type(error).__name__
            _put_failure(&p, model, error, version, id, ts, &lost)
            return self._submit(&p, lost)
        except Exception as refused:
            return self._refuse(refused, 1)

    def metric(self, name, value, step=None, *, ts=None):
        cdef unsigned char space[SPACE]
        cdef edgemon_pack p = edgemon_pack_into(space, SPACE)
        cdef uint64_t lost = 0
        try:
            _put_metric(&p, name, value, step, ts, &lost)
            return self._submit(&p, lost)
        except Exception as error:
            return self._refuse(error, 1)

    def flush(self, level="disk", timeout=5.0):
        cdef edgemon_level wanted = EDGEMON_DISK
        cdef uint64_t number
        cdef double slice_s
        cdef int waited
        if level == "memory":
            wanted = EDGEMON_MEMORY
        elif level != "disk":
            raise ValueError(f"the level of a flush is memory or disk, not {level!r}")
        deadline = time.monotonic() + timeout
        number = edgemon_flush_number(self.client)
        while True:
            slice_s = max(0.0, min(FLUSH_SLICE_S, deadline - time.monotonic()))
            with nogil:
                waited = edgemon_flush_wait(self.client, wanted, number, slice_s)
            if waited != -1 or time.monotonic() >= deadline:
                break
            PyErr_CheckSignals()
        self._listen()
        return edgemon_flush_end(self.client, wanted, waited) == 1

    def close(self, timeout=1.0):
        cdef double timeout_s = timeout
        with nogil:
            edgemon_close(self.client, timeout_s)
        self._listen()

    def counts(self):
        cdef edgemon_counts counts
        self._listen()
        edgemon_get_counts(self.client, &counts)
        dropped = {
            edgemon_result_name(<edgemon_result>reason).decode(): counts.dropped[reason]
            for reason in range(1, EDGEMON_RESULTS)
        }
        return (
            counts.taken, counts.sent, counts.confirmed, counts.unconfirmed, counts.pending, dropped,
            self.lost_values, counts.connected != 0, counts.connections, counts.complaints,
            counts.last_error.decode(errors="replace"), counts.last_complaint.decode(errors="replace"),
        )

    def _begin(self):
        """The first event of this process."""

    def _warn(self, kind, message):
        """Once a kind, a person is to be told."""

    cdef bint _submit(self, const edgemon_pack *p, uint64_t lost) except -1:
        cdef edgemon_result result = edgemon_submit(self.client, p)
        if self.forks != _forks:
            self.forks = _forks
            self.complaints = self.lost_values = 0
            self._begin()
        if lost:
            self.lost_values += lost
            self._tell("lost_value", "a feature is a number, a string or None; anything else is sent as missing")
        if result == EDGEMON_TOO_LARGE:
            self._tell("too_large", f"an event has at most {EDGEMON_FRAME_MAX} bytes and must fit into the buffer")
        if edgemon_complaints(self.client) != self.complaints:
            self._listen()
        return result == EDGEMON_OK

    cdef bint _large(self, tuple event) except -1:
        """An event that the stack has no room for."""
        cdef uint64_t lost = 0
        cdef edgemon_pack p
        cdef void *space = PyMem_Malloc(EDGEMON_FRAME_MAX)
        if space == NULL:
            raise MemoryError()
        try:
            p = edgemon_pack_into(space, EDGEMON_FRAME_MAX)
            if len(event) == 2:
                (<_Batch>event[0]).put(&p, event[1], &lost)
            elif len(event) == 5:
                _put_truth(&p, event[0], event[1], event[2], event[3], event[4], &lost)
            else:
                _put_prediction(
                    &p, event[0], event[1], event[2], event[3], event[4], event[5], event[6], &lost
                )
            return self._submit(&p, lost)
        finally:
            PyMem_Free(space)

    cdef bint _refuse(self, object error, Py_ssize_t events) except -1:
        edgemon_count(self.client, EDGEMON_BAD_EVENT, <uint64_t>events)
        self._tell("bad_event", f"dropped, for {error}")
        return False

    cdef int _tell(self, str kind, str message) except -1:
        try:
            self._warn(kind, message)
        except Exception:
            pass  # a warning that is an error is not to hurt the application
        return 0

    cdef int _listen(self) except -1:
        """Pass on what the agent complained about."""
        cdef edgemon_counts counts
        if edgemon_complaints(self.client) != self.complaints:
            edgemon_get_counts(self.client, &counts)
            self.complaints = <uint32_t>counts.complaints
            self._tell("complaint", f"the agent says: {counts.last_complaint.decode(errors='replace')}")
        return 0

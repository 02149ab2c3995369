# cython: language_level=3
"""What every extension asks of its input. Inline: each extension compiles its own copy."""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_SIMPLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytearray cimport PyByteArray_FromStringAndSize
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_AsDouble, PyFloat_CheckExact
from libc.stdint cimport uintptr_t


cdef inline double real(object x) except? -1.0:
    """A float, int or other real number as a double. A bool is a mistake, not a number."""
    if PyFloat_CheckExact(x):
        return PyFloat_AS_DOUBLE(x)
    if isinstance(x, bool):
        raise TypeError("a number is needed, not bool")
    return PyFloat_AsDouble(x)


cdef inline double ordered(object x) except? -1.0:
    """As `real`, and not NaN."""
    cdef double value = real(x)
    if value != value:
        raise ValueError("NaN has no order: count it as such")
    return value


cdef inline Py_ssize_t doubles(object source, Py_buffer *view) except -1:
    """Takes a contiguous buffer of doubles; the caller releases it. Returns how many.

    One that does not lie where doubles may lie, such as a part of a message, is copied.
    """
    cdef object copy
    PyObject_GetBuffer(source, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    cdef bytes code = b"B" if view.format == NULL else view.format
    if view.itemsize != 8 or code.lstrip(b"@=<") != b"d":
        PyBuffer_Release(view)
        raise TypeError(f"a buffer of doubles is needed, not of {code.decode()!r}")
    if <uintptr_t>view.buf % sizeof(double):
        try:
            copy = PyByteArray_FromStringAndSize(<char *>view.buf, view.len)
        finally:
            PyBuffer_Release(view)
        PyObject_GetBuffer(copy, view, PyBUF_SIMPLE)
    return view.len // 8


cdef inline int no_nan(const double *values, Py_ssize_t count) except -1:
    cdef Py_ssize_t i
    cdef bint found = False
    for i in range(count):
        found |= values[i] != values[i]
    if found:
        raise ValueError("NaN has no order: count it as such")
    return 0

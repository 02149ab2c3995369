"""Quantiles with a guaranteed relative error, mergeable, in fixed memory."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport NAN
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from edgemon._core._border cimport doubles, no_nan, ordered, real


cdef extern from "em_sketch.h" nogil:
    const double EM_SKETCH_ERROR_MIN
    const double EM_SKETCH_ERROR_MAX
    const uint32_t EM_SKETCH_BINS_MIN
    const uint32_t EM_SKETCH_BINS_MAX
    int em_sketch_init(em_sketch *, double, uint32_t)
    void em_sketch_free(em_sketch *)
    void em_sketch_reset(em_sketch *)
    void em_sketch_push(em_sketch *, double)
    void em_sketch_push_many(em_sketch *, const double *, size_t)
    uint64_t em_sketch_count(const em_sketch *)
    int em_sketch_merge(em_sketch *, const em_sketch *)
    double em_sketch_quantile(const em_sketch *, double)
    size_t em_sketch_memory(const em_sketch *)
    size_t em_sketch_encode(const em_sketch *, uint8_t *, size_t)
    bint em_sketch_peek(const uint8_t *, size_t, double *, uint32_t *)
    bint em_sketch_decode(em_sketch *, const uint8_t *, size_t)


cdef class QuantileSketch:
    def __cinit__(self, relative_error=0.01, Py_ssize_t max_bins=1024):
        cdef double error = real(relative_error)
        if not EM_SKETCH_ERROR_MIN <= error <= EM_SKETCH_ERROR_MAX:
            raise ValueError(
                f"relative_error must be {EM_SKETCH_ERROR_MIN} to {EM_SKETCH_ERROR_MAX}, not {error}"
            )
        if not EM_SKETCH_BINS_MIN <= max_bins <= EM_SKETCH_BINS_MAX:
            raise ValueError(
                f"max_bins must be {EM_SKETCH_BINS_MIN} to {EM_SKETCH_BINS_MAX}, not {max_bins}"
            )
        if em_sketch_init(&self.sketch, error, <uint32_t>max_bins):
            raise MemoryError(f"no memory for {max_bins} bins")

    def __dealloc__(self):
        em_sketch_free(&self.sketch)

    def push(self, x):
        em_sketch_push(&self.sketch, ordered(x))

    def push_many(self, values):
        cdef Py_buffer view
        cdef Py_ssize_t count = doubles(values, &view)
        cdef const double *x = <const double *>view.buf
        try:
            no_nan(x, count)
            em_sketch_push_many(&self.sketch, x, count)
        finally:
            PyBuffer_Release(&view)

    def merge(self, QuantileSketch other not None):
        if (
            other.sketch.relative_error != self.sketch.relative_error
            or other.sketch.max_bins != self.sketch.max_bins
        ):
            raise ValueError("only sketches of equal relative_error and max_bins can be merged")
        if other is self:
            other = QuantileSketch.from_bytes(self.to_bytes())
        if em_sketch_merge(&self.sketch, &other.sketch):
            raise OverflowError("more than 2^63 values")

    def quantile(self, q):
        cdef double share = real(q)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"a quantile lies within 0 and 1, not at {share}")
        return em_sketch_quantile(&self.sketch, share)

    def reset(self):
        em_sketch_reset(&self.sketch)

    def to_bytes(self):
        cdef size_t size = em_sketch_encode(&self.sketch, NULL, 0)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        em_sketch_encode(&self.sketch, <uint8_t *>PyBytes_AS_STRING(out), size)
        return out

    @staticmethod
    def from_bytes(data):
        cdef Py_buffer view
        cdef double error = 0.0
        cdef uint32_t max_bins = 0
        cdef QuantileSketch made
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        cdef const uint8_t *start = <const uint8_t *>view.buf
        try:
            if not em_sketch_peek(start, <size_t>view.len, &error, &max_bins):
                raise ValueError("not a quantile sketch of a known version")
            made = QuantileSketch(error, max_bins)
            if not em_sketch_decode(&made.sketch, start, <size_t>view.len):
                raise ValueError("damaged quantile sketch")
        finally:
            PyBuffer_Release(&view)
        return made

    @property
    def count(self):
        return em_sketch_count(&self.sketch)

    @property
    def zeros(self):
        return self.sketch.zeros

    @property
    def ninf(self):
        return self.sketch.ninf

    @property
    def pinf(self):
        return self.sketch.pinf

    @property
    def min(self):
        return NAN if self.sketch.min > self.sketch.max else self.sketch.min

    @property
    def max(self):
        return NAN if self.sketch.min > self.sketch.max else self.sketch.max

    @property
    def collapsed(self):
        return self.sketch.positive.collapsed or self.sketch.negative.collapsed

    @property
    def relative_error(self):
        return self.sketch.relative_error

    @property
    def max_bins(self):
        return self.sketch.max_bins

    @property
    def memory_bytes(self):
        return em_sketch_memory(&self.sketch)

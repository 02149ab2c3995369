"""Counts over fixed edges."""

from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from edgemon._core._border cimport doubles, no_nan, ordered


cdef extern from "em_hist.h" nogil:
    const uint32_t EM_HIST_MAX
    int em_hist_init(em_hist *, const double *, uint32_t)
    void em_hist_free(em_hist *)
    void em_hist_reset(em_hist *)
    void em_hist_push(em_hist *, double)
    void em_hist_push_many(em_hist *, const double *, size_t)
    size_t em_hist_memory(const em_hist *)


cdef class Histogram:
    def __cinit__(self, edges):
        cdef Py_ssize_t i, count = len(edges)
        if not 1 <= count <= EM_HIST_MAX:
            raise ValueError(f"a histogram has 1 to {EM_HIST_MAX} edges, not {count}")
        cdef double *copy = <double *>malloc(count * sizeof(double))
        if copy == NULL:
            raise MemoryError(f"no memory for {count} edges")
        try:
            for i in range(count):
                copy[i] = ordered(edges[i])
                if i > 0 and copy[i] < copy[i - 1]:
                    raise ValueError(f"edges must not decrease: {copy[i - 1]} before {copy[i]}")
            if em_hist_init(&self.hist, copy, <uint32_t>count):
                raise MemoryError(f"no memory for {count} edges")
        finally:
            free(copy)

    def __dealloc__(self):
        em_hist_free(&self.hist)

    def push(self, x):
        em_hist_push(&self.hist, ordered(x))

    def push_many(self, values):
        cdef Py_buffer view
        cdef Py_ssize_t count = doubles(values, &view)
        cdef const double *x = <const double *>view.buf
        try:
            no_nan(x, count)
            em_hist_push_many(&self.hist, x, count)
        finally:
            PyBuffer_Release(&view)

    def reset(self):
        em_hist_reset(&self.hist)

    def counts(self):
        cdef uint32_t i
        return [self.hist.counts[i] for i in range(self.hist.edge_count + 1)]

    @property
    def memory_bytes(self):
        return em_hist_memory(&self.hist)

"""The C part of hist.pyx, for extensions that push into it."""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "em_hist.h" nogil:
    ctypedef struct em_hist:
        double *edges
        uint64_t *counts
        uint32_t edge_count


cdef class Histogram:
    cdef em_hist hist

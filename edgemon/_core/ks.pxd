"""The C parts of ks.pyx, for extensions that push into them."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "em_ks.h" nogil:
    ctypedef struct em_reference:
        double *values
        uint32_t *cumulative
        uint32_t u
        uint32_t m
    ctypedef struct em_ks_peak:
        int64_t h
        int64_t lcm
        uint32_t bucket
        int direction
    ctypedef struct em_ks:
        uint32_t buckets
        uint32_t n
        uint32_t filled
        uint32_t scan_interval
        int64_t lcm
        int64_t threshold
        uint64_t scans


cdef class Reference:
    cdef em_reference reference


cdef class SlidingKS:
    cdef em_ks ks
    cdef readonly Reference reference

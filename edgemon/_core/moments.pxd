"""The C part of moments.pyx, for extensions that push into it."""

from libc.stdint cimport uint64_t


cdef extern from "em_moments.h" nogil:
    ctypedef struct em_moments:
        uint64_t count
        double mean
        double m2
        double min
        double max


cdef class Moments:
    cdef em_moments moments

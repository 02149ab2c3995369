"""The C part of sketch.pyx, for extensions that push into it."""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "em_sketch.h" nogil:
    ctypedef struct em_sketch_side:
        uint64_t count
        bint collapsed
    ctypedef struct em_sketch:
        em_sketch_side positive
        em_sketch_side negative
        uint64_t zeros
        uint64_t ninf
        uint64_t pinf
        double min
        double max
        double relative_error
        uint32_t max_bins


cdef class QuantileSketch:
    cdef em_sketch sketch

"""The C parts of esr.pyx, for extensions that push into them."""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "<stdbool.h>" nogil:
    ctypedef bint c_bool "bool"

cdef extern from "em_esr.h" nogil:
    ctypedef struct em_esr_bet:
        double p
        double t
        uint32_t cut
        c_bool above
    ctypedef struct em_esr_table:
        double *cuts
        uint32_t cut_count
        uint32_t bets
        uint64_t fingerprint
    ctypedef struct em_esr:
        uint64_t pushes
        double limit
    ctypedef struct em_esr_peak:
        double r
        double cut
        c_bool above
        uint32_t since


cdef class EsrTable:
    cdef em_esr_table table


cdef class EsrDetector:
    cdef em_esr esr
    cdef readonly EsrTable table

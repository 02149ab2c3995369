"""csrc/em_confidence.h."""

from libc.stdint cimport uint64_t

from edgemon._core.esr cimport c_bool


cdef extern from "em_confidence.h" nogil:
    const double EM_SUM_TOLERANCE
    ctypedef struct em_confidence:
        uint64_t count
    ctypedef struct em_brief:
        double confidence
        double entropy
        double margin
        uint64_t position
        c_bool valid
    void em_confidence_reset(em_confidence *)
    void em_confidence_push(em_confidence *, double)
    em_brief em_confidence_brief(const em_confidence *)

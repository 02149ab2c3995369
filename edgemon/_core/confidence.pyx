"""A vector of confidences in brief."""

from libc.stdint cimport uint64_t

from edgemon._core._border cimport real


cdef extern from "<stdbool.h>" nogil:
    ctypedef bint c_bool "bool"

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


SUM_TOLERANCE = EM_SUM_TOLERANCE


def brief(list vector not None):
    cdef em_confidence c
    cdef em_brief made
    cdef object entry
    em_confidence_reset(&c)
    for entry in vector:
        em_confidence_push(&c, real(entry))
    if c.count == 0:
        raise ValueError("a vector of confidences has at least one")
    made = em_confidence_brief(&c)
    return made.confidence, made.position, made.entropy, made.margin, bool(made.valid)

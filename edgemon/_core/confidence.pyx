"""A vector of confidences in brief."""

from libc.math cimport NAN
from libc.stdint cimport uint64_t

from edgemon._core._border cimport real


cdef extern from "<stdbool.h>" nogil:
    ctypedef bint c_bool "bool"

cdef extern from "em_confidence.h" nogil:
    ctypedef struct em_confidence:
        double first
        double second
        double sum
        uint64_t count
        uint64_t position
        c_bool nan
        c_bool negative
    void em_confidence_reset(em_confidence *)
    void em_confidence_push(em_confidence *, double)
    double em_confidence_entropy(const em_confidence *)


def brief(list vector not None, double tolerance):
    cdef em_confidence c
    cdef object entry
    cdef double confidence, margin
    em_confidence_reset(&c)
    for entry in vector:
        em_confidence_push(&c, real(entry))
    if c.count == 0:
        raise ValueError("a vector of confidences has at least one")
    confidence = NAN if c.nan else c.first
    margin = NAN if c.nan else c.first - (c.second if c.count > 1 else 0.0)
    return (
        confidence,
        c.position,
        em_confidence_entropy(&c),
        margin,
        not c.negative and confidence <= 1.0 and -tolerance <= c.sum - 1.0 <= tolerance,
    )

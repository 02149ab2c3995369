"""A vector of confidences in brief."""

from edgemon._core._border cimport real

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

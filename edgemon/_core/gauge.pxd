"""The C parts of gauge.pyx, for the extension that decodes straight into them."""

from libc.stdint cimport uint32_t, uint64_t

from edgemon._core.esr cimport EsrDetector, em_esr
from edgemon._core.hist cimport Histogram, em_hist
from edgemon._core.ks cimport SlidingKS, em_ks
from edgemon._core.moments cimport Moments, em_moments
from edgemon._core.sketch cimport QuantileSketch, em_sketch


cdef extern from "em_window.h" nogil:
    ctypedef struct em_window:
        em_moments *moments
        em_sketch *sketch
        em_hist *hist
        uint64_t nan
        uint64_t pinf
        uint64_t ninf
        uint64_t missing

cdef extern from "em_watch.h" nogil:
    ctypedef struct em_watch:
        em_ks *ks
        em_esr *esr
        uint64_t pushed
        uint64_t until
        uint64_t esr_due
        bint latched

cdef extern from "em_quality.h" nogil:
    const int EM_QUESTIONS
    ctypedef struct em_answers:
        em_esr *esr
        uint64_t fed
        uint64_t yes
    ctypedef struct em_rates:
        em_answers **answers
        uint64_t *yes
        uint64_t *learnt
        uint64_t seen
        uint64_t until
        uint32_t asked
        uint32_t muted
        bint learning
    ctypedef struct em_quality:
        em_rates rates
        double low
        double high
        double last
        uint64_t run
        uint64_t longest
        uint64_t run_limit
        uint64_t ties
        uint64_t numbers
        uint64_t cell
        bint counting
        bint stuck
    ctypedef struct em_rows:
        em_rates rates
        double late_s
        double early_s
        double disorder_s
        double last_ts


cdef class NumberWindow:
    cdef em_window window
    cdef readonly Moments moments
    cdef readonly QuantileSketch sketch
    cdef readonly Histogram hist


cdef class Answers:
    cdef em_answers answers
    cdef readonly EsrDetector detector


cdef class NumberWatch:
    cdef em_watch watch
    cdef SlidingKS watched_ks
    cdef EsrDetector active


cdef class RateChecks:
    cdef em_rates *rates
    cdef list kept  # the answers that are borrowed
    cdef int check(self, unsigned question) except -1


cdef class StreamCheck(RateChecks):
    cdef em_quality quality


cdef class RowCheck(RateChecks):
    cdef em_rows rows

"""A numeric stream: what its open window counts, and who watches it."""

from libc.math cimport NAN
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from edgemon._core._border cimport ordered, real
from edgemon._core.esr cimport EsrDetector, c_bool
from edgemon._core.hist cimport Histogram
from edgemon._core.ks cimport SlidingKS
from edgemon._core.moments cimport Moments
from edgemon._core.sketch cimport QuantileSketch


cdef extern from "em_window.h" nogil:
    void em_window_push(em_window *, const double *, size_t)

cdef extern from "em_watch.h" nogil:
    const int EM_WATCH_KS
    const int EM_WATCH_ESR
    const int EM_WATCH_TICK
    size_t em_watch_push_until(em_watch *, const double *, size_t, unsigned *)

cdef extern from "em_quality.h" nogil:
    const unsigned EM_QUALITY_TICK
    const unsigned EM_QUALITY_RUN
    const unsigned EM_QUALITY_MOVED
    const uint64_t EM_CELL_NONE
    c_bool em_answers_yes(em_answers *, uint64_t)
    void em_answers_catch_up(em_answers *, uint64_t)
    void em_quality_init(em_quality *)
    void em_rows_init(em_rows *)
    unsigned em_rates_answer(em_rates *, unsigned)
    size_t em_quality_push_until(em_quality *, const double *, size_t, unsigned *)
    unsigned em_rows_time(em_rows *, double, double)
    c_bool em_quality_compare(em_quality *, const double *, size_t, uint8_t *)


KS, ESR, TICK = EM_WATCH_KS, EM_WATCH_ESR, EM_WATCH_TICK
QUALITY_TICK, RUN, MOVED = EM_QUALITY_TICK, EM_QUALITY_RUN, EM_QUALITY_MOVED


cdef class NumberWindow:
    def begin(self, Moments moments not None, QuantileSketch sketch not None, Histogram hist):
        self.moments, self.sketch, self.hist = moments, sketch, hist
        self.window.moments = &moments.moments
        self.window.sketch = &sketch.sketch
        self.window.hist = NULL if hist is None else &hist.hist

    def push(self, x):
        cdef double value = real(x)
        if self.window.moments == NULL:
            raise ValueError("a window that has not begun")
        em_window_push(&self.window, &value, 1)

    @property
    def nan(self):
        return self.window.nan

    @nan.setter
    def nan(self, uint64_t value):
        self.window.nan = value

    @property
    def pinf(self):
        return self.window.pinf

    @pinf.setter
    def pinf(self, uint64_t value):
        self.window.pinf = value

    @property
    def ninf(self):
        return self.window.ninf

    @ninf.setter
    def ninf(self, uint64_t value):
        self.window.ninf = value

    @property
    def missing(self):
        return self.window.missing

    @missing.setter
    def missing(self, uint64_t value):
        self.window.missing = value


cdef class Answers:
    def attach(self, EsrDetector detector not None):
        self.detector = detector
        self.answers.esr = &detector.esr

    def yes(self, uint64_t number):
        if self.answers.esr == NULL or number <= self.answers.fed:
            raise ValueError(f"answer {number} comes after {self.answers.fed}")
        return em_answers_yes(&self.answers, number)

    def catch_up(self, uint64_t number):
        if self.answers.esr != NULL:
            em_answers_catch_up(&self.answers, number)

    @property
    def fed(self):
        return self.answers.fed

    @fed.setter
    def fed(self, uint64_t value):
        self.answers.fed = value

    @property
    def told(self):
        return self.answers.yes

    @told.setter
    def told(self, uint64_t value):
        self.answers.yes = value


cdef class NumberWatch:
    def wire(self, SlidingKS ks not None):
        self.watched_ks = ks
        self.watch.ks = &ks.ks
        if self.watch.until == 0:
            self.watch.until = 1

    def take(self, x):
        cdef double value = ordered(x)
        cdef unsigned told = 0
        if self.watch.ks == NULL:
            raise ValueError("a watch that is not wired")
        em_watch_push_until(&self.watch, &value, 1, &told)
        return told

    @property
    def active_esr(self):
        return self.active

    @active_esr.setter
    def active_esr(self, EsrDetector esr):
        self.active = esr
        self.watch.esr = NULL if esr is None else &esr.esr

    @property
    def pushed(self):
        return self.watch.pushed

    @pushed.setter
    def pushed(self, uint64_t value):
        self.watch.pushed = value

    @property
    def until(self):
        return self.watch.until

    @until.setter
    def until(self, uint64_t value):
        if value == 0:
            raise ValueError("a tick is at least one value away")
        self.watch.until = value

    @property
    def esr_due(self):
        return self.watch.esr_due

    @esr_due.setter
    def esr_due(self, uint64_t value):
        self.watch.esr_due = value

    @property
    def drifted(self):
        return self.watch.latched

    @drifted.setter
    def drifted(self, bint value):
        self.watch.latched = value


cdef class RateChecks:
    cdef int check(self, unsigned question) except -1:
        if question >= EM_QUESTIONS:
            raise ValueError(f"no question {question}")
        return 0

    def attach(self, unsigned question, Answers answers):
        self.check(question)
        if answers is not None and answers.answers.esr == NULL:
            raise ValueError("answers without a detector")
        self.kept[question] = answers
        self.rates.answers[question] = NULL if answers is None else &answers.answers

    def yes(self, unsigned question):
        self.check(question)
        return self.rates.yes[question]

    def learnt(self, unsigned question):
        self.check(question)
        return self.rates.learnt[question]

    def set_learnt(self, unsigned question, uint64_t count):
        self.check(question)
        self.rates.learnt[question] = count

    def answer(self, unsigned yes):
        return em_rates_answer(self.rates, yes)

    def reset_window(self):
        cdef int question
        for question in range(EM_QUESTIONS):
            self.rates.yes[question] = 0

    @property
    def seen(self):
        return self.rates.seen

    @seen.setter
    def seen(self, uint64_t value):
        self.rates.seen = value

    @property
    def until(self):
        return self.rates.until

    @until.setter
    def until(self, uint64_t value):
        if value == 0:
            raise ValueError("a tick is at least one answer away")
        self.rates.until = value

    @property
    def asked(self):
        return self.rates.asked

    @asked.setter
    def asked(self, uint32_t value):
        self.rates.asked = value

    @property
    def muted(self):
        return self.rates.muted

    @muted.setter
    def muted(self, uint32_t value):
        self.rates.muted = value

    @property
    def learning(self):
        return self.rates.learning

    @learning.setter
    def learning(self, bint value):
        self.rates.learning = value


cdef class StreamCheck(RateChecks):
    def __cinit__(self):
        em_quality_init(&self.quality)
        self.rates = &self.quality.rates
        self.kept = [None] * EM_QUESTIONS

    def take(self, x):
        cdef double value = ordered(x)
        cdef unsigned told = 0
        em_quality_push_until(&self.quality, &value, 1, &told)
        return told

    def same(self, x):
        cdef double value = real(x)
        cdef uint8_t same = 1
        if value != value:
            value = NAN
        return em_quality_compare(&self.quality, &value, 1, &same)

    def same_cell(self, uint64_t bits):
        cdef bint same = self.quality.cell == bits
        self.quality.cell = bits
        return same

    def reset_window(self):
        RateChecks.reset_window(self)
        self.quality.longest = 0

    @property
    def range(self):
        return self.quality.low, self.quality.high

    @range.setter
    def range(self, bounds):
        low, high = bounds
        self.quality.low = ordered(low)
        self.quality.high = ordered(high)

    @property
    def last(self):
        return self.quality.last

    @property
    def run(self):
        return self.quality.run

    @property
    def longest(self):
        return self.quality.longest

    @property
    def run_limit(self):
        return self.quality.run_limit

    @run_limit.setter
    def run_limit(self, uint64_t value):
        self.quality.run_limit = value

    @property
    def ties(self):
        return self.quality.ties

    @ties.setter
    def ties(self, uint64_t value):
        self.quality.ties = value

    @property
    def numbers(self):
        return self.quality.numbers

    @numbers.setter
    def numbers(self, uint64_t value):
        self.quality.numbers = value

    @property
    def counting(self):
        return self.quality.counting

    @counting.setter
    def counting(self, bint value):
        self.quality.counting = value

    @property
    def stuck(self):
        return self.quality.stuck

    @stuck.setter
    def stuck(self, bint value):
        self.quality.stuck = value

    def resume_run(self, double last, uint64_t run):
        self.quality.last = last
        self.quality.run = run


cdef class RowCheck(RateChecks):
    def __cinit__(self):
        em_rows_init(&self.rows)
        self.rates = &self.rows.rates
        self.kept = [None] * EM_QUESTIONS

    def time(self, double ts, double wall_s):
        return em_rows_time(&self.rows, ts, wall_s)

    def forget_time(self):
        self.rows.last_ts = NAN

    def set_limits(self, double late_s, double early_s, double disorder_s):
        self.rows.late_s, self.rows.early_s, self.rows.disorder_s = late_s, early_s, disorder_s

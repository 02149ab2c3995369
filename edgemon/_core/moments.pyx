"""Count, mean, M2, minimum and maximum of finite values."""

from cpython.buffer cimport PyBuffer_Release
from libc.math cimport NAN, isfinite
from libc.stdint cimport uint64_t

from edgemon._core._border cimport doubles, real


cdef extern from "em_moments.h" nogil:
    void em_moments_reset(em_moments *)
    void em_moments_push(em_moments *, double)
    void em_moments_push_many(em_moments *, const double *, size_t)
    void em_moments_merge(em_moments *, const em_moments *)


cdef class Moments:
    def __cinit__(self):
        em_moments_reset(&self.moments)

    def push(self, x):
        cdef double value = real(x)
        if not isfinite(value):
            raise ValueError(f"moments need finite values, not {value}")
        em_moments_push(&self.moments, value)

    def push_many(self, values):
        cdef Py_buffer view
        cdef Py_ssize_t i, count = doubles(values, &view)
        cdef const double *x = <const double *>view.buf
        try:
            for i in range(count):
                if not isfinite(x[i]):
                    raise ValueError(f"moments need finite values, not {x[i]} at {i}")
            em_moments_push_many(&self.moments, x, count)
        finally:
            PyBuffer_Release(&view)

    def merge(self, Moments other not None):
        cdef uint64_t most = <uint64_t>1 << 63
        if other.moments.count >= most - self.moments.count:
            raise OverflowError("more than 2^63 values")
        em_moments_merge(&self.moments, &other.moments)

    def reset(self):
        em_moments_reset(&self.moments)

    def state(self):
        cdef em_moments *m = &self.moments
        return (m.count, m.mean, m.m2, m.min, m.max)

    @staticmethod
    def from_state(state):
        count, mean, m2, least, most = state
        cdef Moments made = Moments()
        if not 0 <= count < 1 << 63:
            raise ValueError(f"count must be 0 to 2^63 - 1, not {count}")
        if count == 0:
            return made
        made.moments.count = count
        made.moments.mean = real(mean)
        made.moments.m2 = real(m2)
        made.moments.min = real(least)
        made.moments.max = real(most)
        cdef em_moments *m = &made.moments
        if not (isfinite(m.min) and isfinite(m.max) and m.min <= m.mean <= m.max and m.m2 >= 0.0):
            raise ValueError(f"no stream has these moments: {state!r}")
        return made

    @property
    def count(self):
        return self.moments.count

    @property
    def mean(self):
        return self.moments.mean if self.moments.count else NAN

    @property
    def m2(self):
        return self.moments.m2

    @property
    def min(self):
        return self.moments.min if self.moments.count else NAN

    @property
    def max(self):
        return self.moments.max if self.moments.count else NAN

    @property
    def variance(self):
        if self.moments.count < 2:
            return NAN
        return self.moments.m2 / <double>(self.moments.count - 1)

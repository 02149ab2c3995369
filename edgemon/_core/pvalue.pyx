"""The p-value of the two-sample Kolmogorov-Smirnov statistic."""

from libc.stdint cimport INT32_MAX, int64_t

from edgemon._core._border cimport ordered


cdef extern from "em_pvalue.h" nogil:
    double em_pvalue(int64_t, int64_t, int64_t)
    double em_kolmogorov(double)


def ks_pvalue(h, m, n):
    cdef int64_t steps, of_m, of_n
    cdef double p
    if type(h) is not int or type(m) is not int or type(n) is not int:
        raise TypeError("h, m and n must be int")
    if not 0 <= h < 1 << 63:
        raise ValueError(f"h must be 0 to 2^63 - 1, not {h}")
    if not (1 <= m <= INT32_MAX and 1 <= n <= INT32_MAX):
        raise ValueError(f"m and n must be 1 to {INT32_MAX}, not {m} and {n}")
    steps, of_m, of_n = h, m, n
    with nogil:
        p = em_pvalue(steps, of_m, of_n)
    return p


def kolmogorov(x):
    cdef double point = ordered(x)
    if point < 0.0:
        raise ValueError(f"x must not be below 0, is {point}")
    return em_kolmogorov(point)

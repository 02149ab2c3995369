"""Exact sliding Kolmogorov-Smirnov statistic against a fixed reference."""

from cpython.buffer cimport PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from edgemon._core._border cimport doubles, no_nan, ordered


cdef extern from "<stdbool.h>" nogil:
    ctypedef bint c_bool "bool"

cdef extern from "em_ks.h" nogil:
    const int EM_KS_MAX
    const int EM_KS_MAX_DISTINCT
    int em_reference_init(em_reference *, const double *, const uint32_t *, uint32_t)
    void em_reference_free(em_reference *)
    uint32_t em_reference_bucket(const em_reference *, double)
    uint32_t em_reference_rank(const em_reference *, double)
    size_t em_reference_memory(const em_reference *)
    int em_ks_init(em_ks *, const em_reference *, uint32_t, int64_t)
    void em_ks_free(em_ks *)
    void em_ks_reset(em_ks *)
    bint em_ks_push(em_ks *, double)
    size_t em_ks_push_until(em_ks *, const double *, size_t, c_bool *)
    int64_t em_ks_h(em_ks *)
    em_ks_peak em_ks_locate(const em_ks *)
    void em_ks_counts(const em_ks *, uint32_t *)
    void em_ks_buckets(const em_ks *, uint32_t *)
    void em_ks_set_threshold(em_ks *, int64_t)
    void em_ks_set_scan_interval(em_ks *, uint32_t)
    size_t em_ks_memory(const em_ks *)


cdef class Reference:
    def __cinit__(self, values, counts):
        cdef Py_buffer view
        cdef Py_ssize_t i, u = doubles(values, &view)
        cdef const double *x = <const double *>view.buf
        cdef uint32_t *copy = NULL
        cdef int64_t total = 0
        try:
            if not 1 <= u <= EM_KS_MAX_DISTINCT:
                raise ValueError(f"a reference has 1 to {EM_KS_MAX_DISTINCT} distinct values, not {u}")
            multiplicities = memoryview(counts)
            if len(multiplicities) != u:
                raise ValueError(f"{u} values, but {len(multiplicities)} counts")
            no_nan(x, u)
            copy = <uint32_t *>malloc(u * sizeof(uint32_t))
            if copy == NULL:
                raise MemoryError(f"no memory for {u} reference values")
            for i in range(u):
                if i > 0 and x[i - 1] >= x[i]:
                    raise ValueError(f"reference values must increase: {x[i - 1]} before {x[i]}")
                count = multiplicities[i]
                if type(count) is not int:
                    raise TypeError(f"counts must be int, not {type(count).__name__}")
                if not 1 <= count <= EM_KS_MAX - total:
                    raise ValueError(f"counts must be at least 1 and add up to at most {EM_KS_MAX}")
                copy[i] = count
                total += copy[i]
            if em_reference_init(&self.reference, x, copy, <uint32_t>u):
                raise MemoryError(f"no memory for {u} reference values")
        finally:
            free(copy)
            PyBuffer_Release(&view)

    def __dealloc__(self):
        em_reference_free(&self.reference)

    def bucket(self, x):
        return em_reference_bucket(&self.reference, ordered(x))

    def rank(self, x):
        return em_reference_rank(&self.reference, ordered(x))

    def bounds(self, Py_ssize_t bucket):
        cdef Py_ssize_t u = self.reference.u, i = bucket // 2
        if not 0 <= bucket <= 2 * u:
            raise ValueError(f"buckets are 0 to {2 * u}, not {bucket}")
        if bucket % 2:
            return (self.reference.values[i], self.reference.values[i])
        return (
            self.reference.values[i - 1] if i > 0 else -INFINITY,
            self.reference.values[i] if i < u else INFINITY,
        )

    def value(self, Py_ssize_t bucket):
        cdef Py_ssize_t u = self.reference.u
        if not 0 <= bucket <= 2 * u:
            raise ValueError(f"buckets are 0 to {2 * u}, not {bucket}")
        return self.reference.values[min(bucket // 2, u - 1)]

    @property
    def m(self):
        return self.reference.m

    @property
    def u(self):
        return self.reference.u

    @property
    def memory_bytes(self):
        return em_reference_memory(&self.reference)


cdef class SlidingKS:
    def __cinit__(self, Reference reference not None, window, threshold_h):
        if type(window) is not int or type(threshold_h) is not int:
            raise TypeError("window and threshold_h must be int")
        if not 1 <= window <= EM_KS_MAX:
            raise ValueError(f"window must be 1 to {EM_KS_MAX}, not {window}")
        check_threshold(threshold_h)
        self.reference = reference
        if em_ks_init(&self.ks, &reference.reference, window, threshold_h):
            raise MemoryError(f"no memory for a window of {window}")

    def __dealloc__(self):
        em_ks_free(&self.ks)

    def push(self, x):
        return em_ks_push(&self.ks, ordered(x))

    def push_many(self, values):
        cdef Py_buffer view
        cdef Py_ssize_t count = doubles(values, &view)
        cdef const double *x = <const double *>view.buf
        cdef c_bool crossed = False
        cdef size_t pushed
        try:
            no_nan(x, count)
            pushed = em_ks_push_until(&self.ks, x, <size_t>count, &crossed)
        finally:
            PyBuffer_Release(&view)
        return <Py_ssize_t>pushed - 1 if crossed else -1

    def peak(self):
        cdef em_ks_peak peak = em_ks_locate(&self.ks)
        return (peak.h, peak.bucket, peak.direction)

    def counts(self):
        cdef uint32_t i, buckets = self.ks.buckets
        cdef uint32_t *copy = <uint32_t *>malloc(buckets * sizeof(uint32_t))
        if copy == NULL:
            raise MemoryError(f"no memory for {buckets} counts")
        try:
            em_ks_counts(&self.ks, copy)
            return [copy[i] for i in range(buckets)]
        finally:
            free(copy)

    def buckets(self):
        cdef uint32_t i, n = self.ks.filled
        cdef uint32_t *copy = <uint32_t *>malloc((<size_t>n + 1) * sizeof(uint32_t))
        if copy == NULL:
            raise MemoryError(f"no memory for {n} buckets")
        try:
            em_ks_buckets(&self.ks, copy)
            return [copy[i] for i in range(n)]
        finally:
            free(copy)

    def buckets_bytes(self):
        cdef uint32_t i, n = self.ks.filled
        cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>n * 8)
        cdef int64_t *wide = <int64_t *>PyBytes_AS_STRING(out)
        cdef uint32_t *copy = <uint32_t *>malloc((<size_t>n + 1) * sizeof(uint32_t))
        if copy == NULL:
            raise MemoryError(f"no memory for {n} buckets")
        em_ks_buckets(&self.ks, copy)
        for i in range(n):
            wide[i] = copy[i]
        free(copy)
        return out

    def reset(self):
        em_ks_reset(&self.ks)

    @property
    def window(self):
        return self.ks.n

    @property
    def n(self):
        return self.ks.filled

    @property
    def h(self):
        return em_ks_h(&self.ks)

    @property
    def lcm(self):
        if self.ks.filled == self.ks.n:
            return self.ks.lcm
        return em_ks_locate(&self.ks).lcm

    @property
    def d(self):
        # Python's division of integers rounds once.
        return self.h / self.lcm

    @property
    def scans(self):
        return self.ks.scans

    @property
    def threshold_h(self):
        return self.ks.threshold

    @threshold_h.setter
    def threshold_h(self, value):
        check_threshold(value)
        em_ks_set_threshold(&self.ks, value)

    @property
    def scan_interval(self):
        return self.ks.scan_interval

    @scan_interval.setter
    def scan_interval(self, value):
        if type(value) is not int:
            raise TypeError("scan_interval must be int")
        if not 1 <= value <= EM_KS_MAX:
            raise ValueError(f"scan_interval must be 1 to {EM_KS_MAX}, not {value}")
        em_ks_set_scan_interval(&self.ks, value)

    @property
    def memory_bytes(self):
        return em_ks_memory(&self.ks)


def at_most(bytes values not None, int64_t limit):
    cdef Py_ssize_t i, n = PyBytes_GET_SIZE(values) // 8, place
    cdef const int64_t *numbers = <const int64_t *>PyBytes_AS_STRING(values)
    cdef bytes out = bytes((n + 7) // 8)
    cdef uint8_t *bits = <uint8_t *>PyBytes_AS_STRING(out)
    if PyBytes_GET_SIZE(values) % 8:
        raise ValueError("whole int64 are needed")
    for i in range(n):
        place = n - 1 - i
        bits[place // 8] |= <uint8_t>((numbers[i] <= limit) << place % 8)
    return int.from_bytes(out, "little")


cdef int check_threshold(value) except -1:
    if type(value) is not int:
        raise TypeError("threshold_h must be int")
    if not 1 <= value <= INT64_MAX:
        raise ValueError(f"threshold_h must be 1 to 2^63 - 1, not {value}")
    return 0

"""The e-SR change detector."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport isfinite, log
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from edgemon._core._border cimport doubles, no_nan, ordered, real


cdef extern from "em_esr.h" nogil:
    const uint32_t EM_ESR_CUTS
    const uint32_t EM_ESR_BETS
    const double EM_ESR_LIMIT_MAX
    const double EM_ESR_P_MIN
    int em_esr_table_init(em_esr_table *, const double *, uint32_t, const em_esr_bet *, uint32_t)
    void em_esr_table_free(em_esr_table *)
    uint32_t em_esr_table_cell(const em_esr_table *, double)
    size_t em_esr_table_memory(const em_esr_table *)
    int em_esr_init(em_esr *, const em_esr_table *, double)
    void em_esr_free(em_esr *)
    void em_esr_reset(em_esr *)
    void em_esr_set_limit(em_esr *, double)
    bint em_esr_push(em_esr *, double)
    size_t em_esr_push_until(em_esr *, const double *, size_t, c_bool *)
    double em_esr_mean(const em_esr *)
    em_esr_peak em_esr_strongest(const em_esr *)
    size_t em_esr_memory(const em_esr *)
    size_t em_esr_encoded_size(const em_esr *)
    void em_esr_encode(const em_esr *, uint8_t *)
    bint em_esr_decode(em_esr *, const uint8_t *, size_t)


cdef class EsrTable:
    def __cinit__(self, cuts, bets):
        cdef double[15] copied_cuts  # EM_ESR_CUTS
        cdef em_esr_bet[128] copied_bets  # EM_ESR_BETS
        cdef Py_ssize_t i, cut, cut_count = len(cuts), count = len(bets)
        if not 1 <= cut_count <= EM_ESR_CUTS:
            raise ValueError(f"a table has 1 to {EM_ESR_CUTS} cuts, not {cut_count}")
        if not 1 <= count <= EM_ESR_BETS:
            raise ValueError(f"a table has 1 to {EM_ESR_BETS} bets, not {count}")
        for i in range(cut_count):
            copied_cuts[i] = real(cuts[i])
            if not isfinite(copied_cuts[i]):
                raise ValueError(f"a cut must be finite, not {copied_cuts[i]}")
            if i > 0 and copied_cuts[i - 1] >= copied_cuts[i]:
                raise ValueError(f"cuts must increase: {copied_cuts[i - 1]} before {copied_cuts[i]}")
        for i in range(count):
            index, above, p, t = bets[i]
            if type(index) is not int or type(above) is not bool:
                raise TypeError("a bet is (int, bool, float, float)")
            cut = index
            if not 0 <= cut < cut_count:
                raise ValueError(f"no cut {cut}: there are {cut_count}")
            copied_bets[i].cut = <uint32_t>cut
            copied_bets[i].above = above
            copied_bets[i].p = real(p)
            copied_bets[i].t = real(t)
            if not EM_ESR_P_MIN <= copied_bets[i].p < copied_bets[i].t < 1.0:
                raise ValueError(f"a bet needs {EM_ESR_P_MIN} <= p < t < 1, not p = {p}, t = {t}")
        if em_esr_table_init(
            &self.table, copied_cuts, <uint32_t>cut_count, copied_bets, <uint32_t>count
        ):
            raise MemoryError(f"no memory for {count} bets")

    def __dealloc__(self):
        em_esr_table_free(&self.table)

    def cell(self, x):
        return em_esr_table_cell(&self.table, ordered(x))

    @property
    def cuts(self):
        return tuple([self.table.cuts[i] for i in range(self.table.cut_count)])

    @property
    def bets(self):
        return self.table.bets

    @property
    def fingerprint(self):
        return self.table.fingerprint

    @property
    def memory_bytes(self):
        return em_esr_table_memory(&self.table)


cdef class EsrDetector:
    def __cinit__(self, EsrTable table not None, limit):
        cdef double checked = checked_limit(limit)
        self.table = table
        if em_esr_init(&self.esr, &table.table, checked):
            raise MemoryError(f"no memory for {table.table.bets} bets")

    def __dealloc__(self):
        em_esr_free(&self.esr)

    def push(self, x):
        return em_esr_push(&self.esr, ordered(x))

    def push_many(self, values):
        cdef Py_buffer view
        cdef Py_ssize_t count = doubles(values, &view)
        cdef const double *x = <const double *>view.buf
        cdef c_bool crossed = False
        cdef size_t pushed
        try:
            no_nan(x, count)
            pushed = em_esr_push_until(&self.esr, x, <size_t>count, &crossed)
        finally:
            PyBuffer_Release(&view)
        return <Py_ssize_t>pushed - 1 if crossed else -1

    def peak(self):
        cdef em_esr_peak peak = em_esr_strongest(&self.esr)
        if self.esr.pushes == 0:
            return (log(0.0), peak.cut, 0)
        return (log(peak.r), peak.cut, 1 if peak.above else -1)

    def reset(self):
        em_esr_reset(&self.esr)

    def to_bytes(self):
        cdef size_t size = em_esr_encoded_size(&self.esr)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        em_esr_encode(&self.esr, <uint8_t *>PyBytes_AS_STRING(out))
        return out

    @staticmethod
    def from_bytes(EsrTable table not None, limit, data):
        cdef EsrDetector made = EsrDetector(table, limit)
        cdef Py_buffer view
        cdef bint whole
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            whole = em_esr_decode(&made.esr, <const uint8_t *>view.buf, <size_t>view.len)
        finally:
            PyBuffer_Release(&view)
        if not whole:
            raise ValueError("not the checkpoint of an e-SR detector with this table")
        return made

    @property
    def limit(self):
        return self.esr.limit

    @limit.setter
    def limit(self, value):
        em_esr_set_limit(&self.esr, checked_limit(value))

    @property
    def log_mean_r(self):
        return log(em_esr_mean(&self.esr))

    @property
    def since(self):
        return em_esr_strongest(&self.esr).since

    @property
    def pushes(self):
        return self.esr.pushes

    @property
    def memory_bytes(self):
        return em_esr_memory(&self.esr)


cdef double checked_limit(value) except -1.0:
    cdef double limit = real(value)
    if not 0.0 < limit <= EM_ESR_LIMIT_MAX:
        raise ValueError(f"limit must be above 0 and at most {EM_ESR_LIMIT_MAX}, not {limit}")
    return limit

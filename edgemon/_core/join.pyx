"""Predictions and truths that wait for each other."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdlib cimport calloc, free

from edgemon._core._border cimport real

from array import array as _array

ENTRY_BYTES = EM_WAIT_BYTES
MAX_TAGS = EM_WAIT_TAGS


def siphash(uint64_t key0, uint64_t key1, bytes data not None):
    return em_siphash(
        key0, key1, <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
    )


def join_id(uint64_t seed, str identifier not None):
    cdef bytes name = identifier.encode("utf-8", "surrogatepass")
    return em_join_id(seed, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))


cdef object value_of(const em_wait *wait):
    if wait.kind == EM_WAIT_NUMBER:
        return wait.value.number
    if wait.kind == EM_WAIT_TEXT:
        return PyUnicode_DecodeUTF8(<const char *>wait.value.bytes, wait.size, "surrogatepass")
    if wait.kind == EM_WAIT_VECTOR:
        return _array("d", (<const char *>wait.value.bytes)[: wait.size]).tolist()
    return None


cdef class Waiting:
    cdef em_waiting waiting

    def __cinit__(self, Py_ssize_t keep, uint64_t max_bytes, double ttl_s):
        if not 1 <= keep <= 1 << 24:
            raise ValueError(f"keep must be 1 to 2^24, not {keep}")
        em_waiting_init(&self.waiting, <uint32_t>keep, max_bytes, ttl_s)

    def __dealloc__(self):
        em_waiting_free(&self.waiting)

    def __len__(self):
        return self.waiting.count

    def find(self, uint64_t key):
        cdef em_wait *wait = em_waiting_find(&self.waiting, key)
        return None if wait == NULL else (wait.tag, value_of(wait))

    def put(self, uint64_t key, uint16_t tag, value, double now_s):
        cdef uint32_t lost
        cdef double number
        cdef bytes data
        cdef int failed
        cdef em_wait *wait = em_waiting_find(&self.waiting, key)
        if wait != NULL:
            raise ValueError("the key waits already")
        if value is None:
            failed = em_waiting_put(
                &self.waiting, key, now_s, tag, EM_WAIT_ANSWERED, NULL, 0, &lost
            )
        elif isinstance(value, str):
            data = value.encode("utf-8", "surrogatepass")
            failed = self.put_bytes(key, now_s, tag, EM_WAIT_TEXT, data, &lost)
        elif isinstance(value, list):
            data = _array("d", value).tobytes()
            failed = self.put_bytes(key, now_s, tag, EM_WAIT_VECTOR, data, &lost)
        else:
            number = real(value)
            failed = em_waiting_put(
                &self.waiting, key, now_s, tag, EM_WAIT_NUMBER, &number, 0, &lost
            )
        if failed:
            raise MemoryError("no memory for what waits for its truth")
        return lost

    cdef int put_bytes(
        self, uint64_t key, double now_s, uint16_t tag, em_wait_kind kind, bytes data, uint32_t *lost
    ):
        if PyBytes_GET_SIZE(data) > <Py_ssize_t>0x7fffffff:
            return -1
        return em_waiting_put(
            &self.waiting, key, now_s, tag, kind, PyBytes_AS_STRING(data),
            <uint32_t>PyBytes_GET_SIZE(data), lost,
        )

    def put_numbers(
        self, bytes keys not None, bytes numbers not None, uint16_t tag, double now_s,
        Waiting labels not None,
    ):
        cdef const uint64_t *key = <const uint64_t *>PyBytes_AS_STRING(keys)
        cdef const double *number = <const double *>PyBytes_AS_STRING(numbers)
        cdef Py_ssize_t row, count = PyBytes_GET_SIZE(keys) // 8
        cdef uint32_t lost, reused = 0, full = 0
        cdef em_wait *before
        cdef list early = []
        if PyBytes_GET_SIZE(keys) != PyBytes_GET_SIZE(numbers) or count * 8 != PyBytes_GET_SIZE(keys):
            raise ValueError("as many numbers as keys are needed, of 8 bytes each")
        for row in range(count):
            if em_waiting_find(&labels.waiting, key[row]) != NULL:
                early.append(row)
                continue
            before = em_waiting_find(&self.waiting, key[row])
            if before != NULL:
                reused += before.kind != EM_WAIT_ANSWERED
                em_waiting_take(&self.waiting, before)
            if em_waiting_put(
                &self.waiting, key[row], now_s, tag, EM_WAIT_NUMBER, &number[row], 0, &lost
            ):
                lost = 1
            full += lost
        return reused, full, early

    def answer(self, uint64_t key):
        cdef em_wait *wait = em_waiting_find(&self.waiting, key)
        if wait != NULL:
            em_waiting_answer(&self.waiting, wait)

    def take(self, uint64_t key):
        cdef em_wait *wait = em_waiting_find(&self.waiting, key)
        cdef bint is_open
        if wait == NULL:
            return False
        is_open = wait.kind != EM_WAIT_ANSWERED
        em_waiting_take(&self.waiting, wait)
        return is_open

    def expire(self, double now_s):
        return em_waiting_expire(&self.waiting, now_s)

    def clear(self):
        return em_waiting_clear(&self.waiting)

    def tags(self):
        cdef uint32_t tag
        cdef c_bool *used = <c_bool *>calloc(EM_WAIT_TAGS, sizeof(c_bool))
        if used == NULL:
            raise MemoryError("no memory for tags")
        try:
            em_waiting_tags(&self.waiting, used)
            return {tag for tag in range(EM_WAIT_TAGS) if used[tag]}
        finally:
            free(used)

    @property
    def bytes(self):
        return self.waiting.bytes

    @property
    def memory_bytes(self):
        return em_waiting_memory(&self.waiting)

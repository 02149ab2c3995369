"""csrc/em_join.h."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from edgemon._core.esr cimport c_bool


cdef extern from "em_join.h" nogil:
    const uint32_t EM_WAIT_BYTES
    const uint32_t EM_WAIT_TAGS
    ctypedef enum em_wait_kind:
        EM_WAIT_NUMBER
        EM_WAIT_TEXT
        EM_WAIT_VECTOR
        EM_WAIT_ANSWERED
    ctypedef union em_wait_value:
        double number
        uint8_t *bytes
    ctypedef struct em_wait:
        uint64_t id
        em_wait_value value
        uint32_t size
        uint16_t tag
        uint8_t kind
    ctypedef struct em_waiting:
        uint32_t count
        uint64_t bytes
    uint64_t em_siphash(uint64_t, uint64_t, const uint8_t *, size_t)
    uint64_t em_join_id(uint64_t, const uint8_t *, size_t)
    void em_waiting_init(em_waiting *, uint32_t, uint64_t, double)
    void em_waiting_free(em_waiting *)
    em_wait *em_waiting_find(const em_waiting *, uint64_t)
    int em_waiting_put(
        em_waiting *, uint64_t, double, uint16_t, em_wait_kind, const void *, uint32_t, uint32_t *
    )
    void em_waiting_answer(em_waiting *, em_wait *)
    void em_waiting_take(em_waiting *, em_wait *)
    uint32_t em_waiting_expire(em_waiting *, double)
    uint32_t em_waiting_clear(em_waiting *)
    void em_waiting_tags(const em_waiting *, c_bool *)
    size_t em_waiting_memory(const em_waiting *)

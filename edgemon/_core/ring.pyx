"""The last values of a series."""

from libc.stdint cimport uint32_t

from edgemon._core._border cimport real


cdef extern from "em_ring.h" nogil:
    const uint32_t EM_RING_MAX
    ctypedef struct em_ring:
        uint32_t capacity
        uint32_t length
    int em_ring_init(em_ring *, uint32_t)
    void em_ring_free(em_ring *)
    void em_ring_clear(em_ring *)
    void em_ring_push(em_ring *, double)
    double em_ring_at(const em_ring *, uint32_t)
    size_t em_ring_memory(const em_ring *)


cdef class Ring:
    cdef em_ring ring

    def __cinit__(self, Py_ssize_t capacity):
        if not 1 <= capacity <= EM_RING_MAX:
            raise ValueError(f"capacity must be 1 to {EM_RING_MAX}, not {capacity}")
        if em_ring_init(&self.ring, <uint32_t>capacity):
            raise MemoryError(f"no memory for a ring of {capacity}")

    def __dealloc__(self):
        em_ring_free(&self.ring)

    def __len__(self):
        return self.ring.length

    def push(self, x):
        em_ring_push(&self.ring, real(x))

    def clear(self):
        em_ring_clear(&self.ring)

    def to_list(self):
        cdef uint32_t i
        return [em_ring_at(&self.ring, i) for i in range(self.ring.length)]

    @property
    def capacity(self):
        return self.ring.capacity

    @property
    def last(self):
        if self.ring.length == 0:
            return None
        return em_ring_at(&self.ring, self.ring.length - 1)

    @property
    def memory_bytes(self):
        return em_ring_memory(&self.ring)

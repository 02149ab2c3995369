"""The C parts of decode.pyx, for the extension that takes events before they become records."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from edgemon._core._event cimport em_decoder, em_event, em_framing, em_verdict


cdef class Decoder:
    cdef em_decoder decoder
    cdef object prediction, label, failure, metric, ack
    cdef list names  # f0, f1, …: what features of a list are called
    cdef object record(self, const em_event *event)
    cdef object features(self, const em_event *event)
    cdef object output(self, const em_event *event)
    cdef object error(self, kind, uint64_t at_byte)


cdef class Stream:
    cdef Decoder decoder
    cdef em_framing framing
    cdef bytes chunk        # read in place while nothing older waits; else None
    cdef uint8_t *tail      # what waits; NULL or `room` bytes
    cdef size_t room
    cdef size_t at, size    # what is not decoded yet, in chunk or tail
    cdef uint64_t before    # bytes of the connection before it
    cdef readonly uint64_t wrong_types
    cdef const uint8_t *start(self)
    cdef int reserve(self, size_t room) except -1
    cdef int settle(self) except -1
    cdef int advance(self, size_t used) except -1
    cdef object told(self, em_verdict verdict, const em_event *event, size_t used, size_t last)

# cython: language_level=3
"""csrc/em_event.h for the extensions that decode events."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "em_event.h" nogil:
    ctypedef struct em_limits:
        uint32_t frame_bytes
        uint32_t string_bytes
        uint32_t features
        uint32_t nesting
        uint64_t seed
    ctypedef struct em_span:
        const uint8_t *data
        uint32_t size
    ctypedef enum em_event_type:
        EM_PREDICTION
        EM_LABEL
        EM_ERROR
        EM_METRIC
        EM_ACK
    ctypedef enum em_kind:
        EM_NONE
        EM_NUMBER
        EM_TEXT
        EM_VECTOR
    ctypedef union em_feature_value:
        double number
        em_span text
    ctypedef struct em_feature:
        em_span name
        em_feature_value value "as"
        uint8_t kind
    ctypedef struct em_event:
        em_event_type type
        em_span model
        em_span version
        em_span id
        bint has_ts
        bint has_latency
        double ts
        double latency_s
        em_kind kind
        double number
        em_span text
        const double *vector
        uint32_t vector_length
        uint32_t features_length
        const em_feature *features
        bint positional
        bint has_step
        int64_t step
        bint disk
        bint token_integer
        em_span token
        uint32_t wrong_type
    ctypedef enum em_verdict:
        EM_NEED_MORE
        EM_EVENT
        EM_BAD_EVENT
        EM_FAULT
    ctypedef enum em_reason:
        EM_REASON_NONE
    ctypedef enum em_encoding:
        EM_UNKNOWN
        EM_JSON
        EM_MSGPACK
    ctypedef struct em_framing:
        uint8_t encoding
    ctypedef struct em_decoder:
        em_limits limits
        em_reason reason
        size_t frame_at
        size_t fault_at
    int em_decoder_init(em_decoder *, const em_limits *)
    void em_decoder_free(em_decoder *)
    size_t em_decoder_memory(const em_decoder *)
    em_verdict em_decode_next(em_decoder *, em_framing *, const uint8_t *, size_t, bint, size_t *, em_event *)
    const char *em_reason_name(em_reason)
    size_t em_decoder_message(const em_decoder *, char *, size_t)

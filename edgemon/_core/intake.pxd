"""csrc/em_table.h, and the C parts of intake.pyx."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from edgemon._core._event cimport (
    em_decoder,
    em_event,
    em_framing,
    em_verdict,
)
from edgemon._core.confidence cimport em_brief
from edgemon._core.esr cimport c_bool
from edgemon._core.gauge cimport RowCheck, em_quality, em_rows, em_watch, em_window


cdef extern from "em_table.h" nogil:
    const uint32_t EM_BLOCK_ROWS
    const uint32_t EM_GAPS
    const unsigned EM_TOLD_QUALITY
    ctypedef enum em_role:
        EM_ROLE_FEATURE
        EM_ROLE_OUTPUT
        EM_ROLE_LATENCY
        EM_ROLE_CONFIDENCE
        EM_ROLE_ENTROPY
    ctypedef enum em_taken:
        EM_TAKEN
        EM_SHOWN
        EM_FULL
        EM_SLOW
    ctypedef struct em_stream:
        pass
    ctypedef struct em_model:
        em_stream *streams
        uint32_t stream_count
        uint32_t features
        uint32_t positions_length
        bint slow
        bint eager
        bint keep
        bint joins
        bint vectors
        int32_t output
        int32_t confidence
        int32_t entropy
        bint every
        uint32_t gap_count
        uint32_t gap_next
        uint64_t *gaps
        uint64_t skip
        em_rows *rows
        void *owner
    ctypedef struct em_vector:
        em_brief brief
        uint32_t row
        uint32_t width
    ctypedef struct em_table:
        em_model *block_model
        uint32_t block_count
        const uint8_t *ids
        uint32_t kept
        uint32_t *kept_rows
        int32_t *id_sizes
        double wall_s
        const uint64_t *join_ids
        uint32_t join_count
        uint32_t *join_rows
        em_vector *vectors
        uint32_t vector_count
    int em_table_init(em_table *, uint64_t)
    void em_table_free(em_table *)
    em_model *em_table_add(em_table *, const uint8_t *, uint32_t, const uint8_t *, uint32_t)
    void em_table_remove(em_table *, em_model *)
    int32_t em_model_add(
        em_table *, em_model *, em_role, const uint8_t *, uint32_t, em_window *, em_watch *,
        em_quality *
    )
    int em_model_set_positions(em_model *, const uint32_t *, uint32_t)
    int em_table_join(em_table *, em_model *, c_bool)
    int em_table_brief(em_table *, em_model *, c_bool)
    void em_model_clear(em_model *)
    em_taken em_table_take(em_table *, const em_event *)
    em_verdict em_table_feed(
        em_table *, em_decoder *, em_framing *, const uint8_t *, size_t, bint, size_t *, size_t *,
        em_event *, em_taken *
    )
    c_bool em_table_cell(const em_table *, uint32_t, uint32_t, double *)
    unsigned em_table_next(em_table *, uint32_t *, uint32_t *)


cdef class ModelSlots


cdef class StreamTable:
    cdef em_table table
    cdef set entered  # the ModelSlots: their models point at them
    cdef object on_told, on_quality, on_counted, on_waiting, on_rows, on_joins, on_vectors
    cdef public object moment
    cdef ModelSlots waiting  # whose raw rows wait; None: nobody's
    cdef dict columns  # of those rows
    cdef list moments
    cdef uint64_t taken
    cdef int empty(self) except -1
    cdef int join(self, ModelSlots slots) except -1
    cdef list brief(self, ModelSlots slots)
    cdef int wait(self, ModelSlots slots) except -1
    cdef int append(self, ModelSlots slots) except -1


cdef class ModelSlots:
    cdef em_model *model
    cdef StreamTable table
    cdef readonly object owner
    cdef int check(self) except -1
    cdef list kept  # the windows, watches and checks that the model borrows
    cdef RowCheck rows
    cdef list names  # of the slots

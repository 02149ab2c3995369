"""Decoded predictions straight into their streams; Python sees what it must."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdlib cimport free, malloc

from edgemon._core._event cimport *
from edgemon._core.decode cimport Stream
from edgemon._core.gauge cimport (
    NumberWatch,
    NumberWindow,
    RowCheck,
    StreamCheck,
    em_quality,
    em_watch,
)


cdef class StreamTable:
    def __cinit__(
        self, uint64_t seed, on_told, on_quality, on_counted, on_waiting, on_rows, on_joins,
        on_vectors
    ):
        self.on_told, self.on_quality, self.on_counted = on_told, on_quality, on_counted
        self.on_waiting, self.on_rows = on_waiting, on_rows
        self.on_joins, self.on_vectors = on_joins, on_vectors
        self.entered = set()
        if em_table_init(&self.table, seed):
            raise MemoryError("no memory for a block of predictions")

    def __dealloc__(self):
        em_table_free(&self.table)

    def add(self, str model not None, str version not None, owner):
        cdef bytes name = model.encode(), second = version.encode()
        cdef ModelSlots made = ModelSlots.__new__(ModelSlots)
        made.model = em_table_add(
            &self.table,
            <const uint8_t *>PyBytes_AS_STRING(name), <uint32_t>PyBytes_GET_SIZE(name),
            <const uint8_t *>PyBytes_AS_STRING(second), <uint32_t>PyBytes_GET_SIZE(second),
        )
        if made.model == NULL:
            raise MemoryError("no memory for a model")
        made.model.owner = <void *>made
        made.table, made.owner, made.kept, made.names = self, owner, [], []
        self.entered.add(made)
        return made

    def remove(self, ModelSlots slots not None):
        if slots.model == NULL:
            return
        self.entered.discard(slots)
        em_table_remove(&self.table, slots.model)
        slots.model = NULL
        slots.kept.clear()
        slots.names.clear()

    def __len__(self):
        return len(self.entered)

    @property
    def predictions(self):
        return self.taken

    @property
    def wall_s(self):
        return self.table.wall_s

    @wall_s.setter
    def wall_s(self, double value):
        self.table.wall_s = value

    cdef int empty(self) except -1:
        """All that waits in the block goes into its streams."""
        cdef uint32_t count = self.table.block_count, slot = 0, at = 0
        cdef unsigned told
        cdef list news = None
        if count == 0:
            return 0
        cdef ModelSlots slots = <ModelSlots>self.table.block_model.owner
        while True:
            with nogil:
                told = em_table_next(&self.table, &slot, &at)
            if told == 0:
                break
            if told & EM_TOLD_QUALITY:
                some = self.on_quality(slots.owner, slot, told ^ EM_TOLD_QUALITY)
            else:
                some = self.on_told(slots.owner, slot, told)
            if some:
                if news is None:
                    news = []
                news += [(at, one) for one in some]
        if self.table.vector_count:
            some = self.brief(slots)
            if some:
                news = some if news is None else news + some
        self.taken += count
        self.on_counted(slots.owner, count, news)
        if slots.model != NULL and slots.model.joins:
            self.join(slots)
        if slots.model != NULL and slots.model.keep and self.table.kept:
            self.wait(slots)
        return 0

    cdef list brief(self, ModelSlots slots):
        """Vectors of the block go to their owner; what they make known."""
        cdef uint32_t i
        cdef em_vector *vector
        cdef list vectors = []
        for i in range(self.table.vector_count):
            vector = &self.table.vectors[i]
            vectors.append((
                vector.row, vector.width, vector.brief.confidence, vector.brief.position,
                vector.brief.entropy, vector.brief.margin, bool(vector.brief.valid),
            ))
        return self.on_vectors(slots.owner, vectors)

    cdef int join(self, ModelSlots slots) except -1:
        """Ids and outputs of the block, of those that have both."""
        cdef uint32_t i, count = 0
        cdef bytes ids, outputs
        cdef uint64_t *id
        cdef double *output
        if slots.model.output < 0 or self.table.join_count == 0:
            return 0
        ids = PyBytes_FromStringAndSize(NULL, self.table.join_count * 8)
        outputs = PyBytes_FromStringAndSize(NULL, self.table.join_count * 8)
        id, output = <uint64_t *>PyBytes_AS_STRING(ids), <double *>PyBytes_AS_STRING(outputs)
        for i in range(self.table.join_count):
            if em_table_cell(
                &self.table, <uint32_t>slots.model.output, self.table.join_rows[i], &output[count]
            ):
                id[count] = self.table.join_ids[i]
                count += 1
        if count:
            self.on_joins(slots.owner, ids[: count * 8], outputs[: count * 8])
        return 0

    cdef int wait(self, ModelSlots slots) except -1:
        """What is kept of the block waits with what was kept before."""
        if self.waiting is not slots:
            self.give()
        cdef bint first = self.waiting is None
        if first:
            self.waiting, self.columns, self.moments = slots, {}, []
        self.append(slots)
        if slots.model.every or slots.model.gap_next == slots.model.gap_count:
            self.give()
        elif first:
            self.on_waiting()
        return 0

    cdef int append(self, ModelSlots slots) except -1:
        """By column; one without any value so far is not among them."""
        cdef uint32_t count = self.table.kept, row, column
        cdef Py_ssize_t before = len(self.moments)
        cdef list cells
        cdef double x
        cdef const uint8_t *start = self.table.ids
        self.moments += [self.moment] * count
        cells = self.columns.get("id")
        for row in range(count):
            if self.table.id_sizes[row] >= 0:
                if cells is None:
                    cells = self.columns["id"] = [None] * (before + row)
                cells.append(PyUnicode_DecodeUTF8(<const char *>start, self.table.id_sizes[row], NULL))
                start += self.table.id_sizes[row]
            elif cells is not None:
                cells.append(None)
        for column in range(slots.model.stream_count + 1):
            name = "ts" if column == slots.model.stream_count else slots.names[column]
            cells = self.columns.get(name)
            for row in range(count):
                if em_table_cell(&self.table, column, self.table.kept_rows[row], &x):
                    if cells is None:
                        cells = self.columns[name] = [None] * (before + row)
                    cells.append(x)
                elif cells is not None:
                    cells.append(None)
        return 0

    def give(self):
        cdef ModelSlots slots = self.waiting
        if slots is None:
            return
        columns, moments = self.columns, self.moments
        self.waiting = self.columns = self.moments = None
        self.on_rows(slots.owner, columns, moments)

    def next(self, Stream stream not None, bint ended=False):
        cdef em_decoder *decoder = &stream.decoder.decoder
        cdef em_event event
        cdef em_taken taken = EM_TAKEN
        cdef em_verdict verdict
        cdef size_t size, used = 0, last = 0
        cdef const uint8_t *start
        cdef ModelSlots slots
        while True:
            start = stream.start()
            size = stream.size
            with nogil:
                verdict = em_table_feed(
                    &self.table, decoder, &stream.framing, start, size, ended, &used, &last,
                    &event, &taken,
                )
            if verdict != EM_EVENT:
                self.empty()
                return stream.told(verdict, &event, used, last)
            if taken == EM_FULL:
                self.empty()
                taken = em_table_take(&self.table, &event)
                if taken == EM_TAKEN:
                    stream.advance(used)
                    continue
            if taken == EM_SHOWN:
                slots = <ModelSlots>self.table.block_model.owner
                if slots.model.eager:
                    self.empty()
                return (slots.owner, stream.told(verdict, &event, used, last))
            self.empty()
            return stream.told(verdict, &event, used, last)


cdef class ModelSlots:
    def __init__(self):
        raise TypeError("a StreamTable makes these")

    cdef int check(self) except -1:
        if self.model == NULL:
            raise ValueError("a model that is not in the table any more")
        if self.table.table.block_count:
            raise ValueError("the block is not empty")
        return 0

    def enter(
        self, str stream not None, str name not None, NumberWindow window not None, NumberWatch watch,
        StreamCheck check,
    ):
        cdef bytes raw = name.encode()
        cdef em_watch *watched = NULL
        cdef em_role role = EM_ROLE_FEATURE
        if stream == "output":
            role = EM_ROLE_OUTPUT
        elif stream == "latency":
            role = EM_ROLE_LATENCY
        elif stream == "confidence":
            role = EM_ROLE_CONFIDENCE
        elif stream == "entropy":
            role = EM_ROLE_ENTROPY
        if watch is not None:
            if watch.watch.ks == NULL:
                raise ValueError("a watch that is not wired")
            watched = &watch.watch
        self.check()
        cdef int32_t slot = em_model_add(
            &self.table.table, self.model, role, <const uint8_t *>PyBytes_AS_STRING(raw),
            <uint32_t>PyBytes_GET_SIZE(raw), &window.window, watched,
            NULL if check is None else &check.quality,
        )
        if slot < 0:
            raise MemoryError("no memory for a stream")
        self.kept.append((window, watch, check))
        self.names.append(stream)
        return slot

    def set_positions(self, list slots not None):
        cdef Py_ssize_t i, length = len(slots)
        self.check()
        cdef uint32_t *copy = <uint32_t *>malloc((length + 1) * sizeof(uint32_t))
        if copy == NULL:
            raise MemoryError("no memory for a list of slots")
        try:
            for i in range(length):
                copy[i] = slots[i]
                if copy[i] >= self.model.stream_count:
                    raise ValueError(f"no slot {slots[i]}")
            if em_model_set_positions(self.model, copy, <uint32_t>length):
                raise MemoryError("no memory for a list of slots")
        finally:
            free(copy)

    def set_rows(self, RowCheck rows):
        self.check()
        self.rows = rows
        self.model.rows = NULL if rows is None else &rows.rows

    def clear(self):
        self.check()
        em_model_clear(self.model)
        self.kept.clear()
        self.names.clear()

    @property
    def positions(self):
        return self.model.positions_length if self.model != NULL else 0

    @property
    def slow(self):
        return self.model == NULL or self.model.slow

    @slow.setter
    def slow(self, bint value):
        if self.model != NULL:
            self.model.slow = value

    @property
    def eager(self):
        return self.model != NULL and self.model.eager

    @eager.setter
    def eager(self, bint value):
        if self.model != NULL:
            self.model.eager = value

    @property
    def keep(self):
        return self.model != NULL and self.model.keep

    @keep.setter
    def keep(self, bint value):
        if self.model != NULL:
            self.model.keep = value

    @property
    def joins(self):
        return self.model != NULL and self.model.joins

    @joins.setter
    def joins(self, bint value):
        self.check()
        if em_table_join(&self.table.table, self.model, value):
            raise MemoryError("no memory for ids")

    @property
    def vectors(self):
        return self.model != NULL and self.model.vectors

    @vectors.setter
    def vectors(self, bint value):
        self.check()
        if value and (self.model.confidence < 0 or self.model.entropy < 0):
            raise ValueError("vectors need streams for confidence and entropy")
        if em_table_brief(&self.table.table, self.model, value):
            raise MemoryError("no memory for vectors")

    def set_gaps(self, gaps):
        cdef uint32_t i, count = 0
        if self.model == NULL:
            return
        self.model.every = gaps is None
        if gaps is not None:
            count = min(<uint32_t>len(gaps), EM_GAPS)
            for i in range(count):
                self.model.gaps[i] = gaps[i]
        self.model.gap_count = count
        self.model.gap_next = 0

    @property
    def skip(self):
        return self.model.skip if self.model != NULL else 0

    @skip.setter
    def skip(self, uint64_t value):
        if self.model != NULL:
            self.model.skip = value

    @property
    def features(self):
        return self.model.features if self.model != NULL else 0

    @features.setter
    def features(self, uint32_t value):
        if self.model != NULL:
            self.model.features = value

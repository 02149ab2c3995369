"""Records from the bytes of a connection: csrc/em_event.h with a buffer for what is not whole yet."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove, memset

from edgemon._core._event cimport *


class BadEventError(ValueError):
    pass


class BadFrameError(ValueError):
    pass


cdef inline object text(em_span span):
    return PyUnicode_DecodeUTF8(<const char *>span.data, span.size, NULL)


cdef class Decoder:
    def __cinit__(self, records, *, frame_bytes, string_bytes, features, nesting):
        cdef em_limits limits
        limits.frame_bytes = frame_bytes
        limits.string_bytes = string_bytes
        limits.features = features
        limits.nesting = nesting
        limits.seed = <uint64_t>(hash("edgemon") & 0xFFFFFFFFFFFFFFFF)
        self.prediction, self.label, self.failure, self.metric, self.ack = records
        self.names = []
        cdef int made = em_decoder_init(&self.decoder, &limits)
        if made == -1:
            raise MemoryError(f"no memory for frames of {frame_bytes} bytes")
        if made:
            raise ValueError(
                f"a limit is out of range: frame_bytes {frame_bytes} (16 to 2^28), string_bytes {string_bytes} "
                f"(at least 16), features {features} (1 to 65535), nesting {nesting} (1 to 64)"
            )

    def __dealloc__(self):
        em_decoder_free(&self.decoder)

    @property
    def memory_bytes(self):
        return em_decoder_memory(&self.decoder)

    cdef object record(self, const em_event *event):
        cdef object ts = event.ts if event.has_ts else None
        if event.type == EM_PREDICTION:
            return tuple.__new__(self.prediction, (
                text(event.model),
                text(event.version) if event.version.size else "",
                self.features(event),
                self.output(event),
                event.latency_s if event.has_latency else None,
                text(event.id) if event.id.data != NULL else None,
                ts,
            ))
        if event.type == EM_LABEL:
            return tuple.__new__(self.label, (
                text(event.model),
                text(event.version) if event.version.size else "",
                text(event.id),
                text(event.text) if event.kind == EM_TEXT else event.number,
                ts,
            ))
        if event.type == EM_ERROR:
            return tuple.__new__(self.failure, (
                text(event.model),
                text(event.version) if event.version.size else "",
                text(event.text),
                text(event.id) if event.id.data != NULL else None,
                ts,
            ))
        if event.type == EM_METRIC:
            return tuple.__new__(self.metric, (
                text(event.model), event.number, event.step if event.has_step else None, ts
            ))
        cdef object token = PyUnicode_DecodeUTF8(
            <const char *>event.token.data, event.token.size, "surrogatepass"
        )
        return tuple.__new__(self.ack, (
            int(token) if event.token_integer else token, "disk" if event.disk else "memory"
        ))

    cdef object features(self, const em_event *event):
        cdef dict made = {}
        cdef const em_feature *feature
        cdef uint32_t i
        cdef object name, value
        if event.positional:
            while <uint32_t>len(self.names) < event.features_length:
                self.names.append(f"f{len(self.names)}")
        for i in range(event.features_length):
            feature = &event.features[i]
            if feature.kind == EM_NUMBER:
                value = feature.value.number
            elif feature.kind == EM_TEXT:
                value = text(feature.value.text)
            else:
                value = None
            name = self.names[i] if event.positional else text(feature.name)
            made[name] = value
        return made

    cdef object output(self, const em_event *event):
        cdef uint32_t i
        if event.kind == EM_NUMBER:
            return event.number
        if event.kind == EM_TEXT:
            return text(event.text)
        if event.kind == EM_VECTOR:
            return [event.vector[i] for i in range(event.vector_length)]
        return None

    cdef object error(self, kind, uint64_t at_byte):
        cdef char message[1400]
        cdef size_t size = em_decoder_message(&self.decoder, message, sizeof(message))
        cdef bytes reason = em_reason_name(self.decoder.reason)
        return kind(reason.decode(), message[:size].decode("utf-8", "replace"), at_byte)


cdef class Stream:
    def __cinit__(self, Decoder decoder not None):
        self.decoder = decoder
        memset(&self.framing, 0, sizeof(self.framing))

    def __dealloc__(self):
        free(self.tail)

    cdef const uint8_t *start(self):
        if self.chunk is not None:
            return <const uint8_t *>PyBytes_AS_STRING(self.chunk) + self.at
        return self.tail + self.at

    cdef int reserve(self, size_t room) except -1:
        """At least so many bytes for the tail, from its beginning."""
        cdef void *grown
        if room > self.room:
            room = max(room, 2 * self.room)
            grown = realloc(self.tail, room)
            if grown == NULL:
                raise MemoryError(f"no memory for {room} bytes of a client")
            self.tail = <uint8_t *>grown
            self.room = room
        return 0

    cdef int settle(self) except -1:
        """What waits goes to the beginning of the tail; the chunk is let go."""
        if self.size == 0:
            free(self.tail)
            self.tail = NULL
            self.room = 0
        elif self.chunk is not None:
            self.reserve(self.size)
            memcpy(self.tail, self.start(), self.size)
        elif self.at:
            memmove(self.tail, self.tail + self.at, self.size)
        self.chunk = None
        self.at = 0
        return 0

    def feed(self, bytes data not None):
        cdef size_t size = <size_t>PyBytes_GET_SIZE(data)
        if self.size == 0:
            self.settle()
            self.chunk = data
            self.size = size
        else:
            self.settle()
            self.reserve(self.size + size)
            memcpy(self.tail + self.size, PyBytes_AS_STRING(data), size)
            self.size += size

    def next(self, bint ended=False):
        cdef em_event event
        cdef size_t used
        cdef em_verdict verdict = em_decode_next(
            &self.decoder.decoder, &self.framing, self.start(), self.size, ended, &used, &event
        )
        return self.told(verdict, &event, used, 0)

    cdef int advance(self, size_t used) except -1:
        """So many bytes are done with."""
        self.at += used
        self.size -= used
        self.before += used
        return 0

    cdef object told(self, em_verdict verdict, const em_event *event, size_t used, size_t last):
        """What the decoder told of `used` bytes, those of its last call from `last` on."""
        cdef em_decoder *decoder = &self.decoder.decoder
        cdef uint64_t here = self.before + last
        cdef object made = None
        self.wrong_types += event.wrong_type
        if verdict == EM_EVENT:
            made = self.decoder.record(event)
        elif verdict == EM_BAD_EVENT:
            made = self.decoder.error(BadEventError, here + decoder.frame_at)
        elif verdict == EM_FAULT:
            made = self.decoder.error(BadFrameError, here + decoder.fault_at)
        self.advance(used)
        if verdict == EM_NEED_MORE:
            self.settle()
        elif verdict != EM_EVENT:
            raise made
        return made

    @property
    def encoding(self):
        return ("", "json", "msgpack")[self.framing.encoding]

    @property
    def waiting_bytes(self):
        return self.size

/* What the two readers (em_msgpack, em_json) and the checks of em_event.c share: one frame taken apart into tokens.
 *
 * A reader only proves that the bytes are a frame and notes what stands where; whether that is an event is asked once,
 * for both encodings, by em_frame_event. Of equal keys the last counts, as in every JSON reader.
 *
 * Ownership: all of it is the decoder's or the caller's stack; spans point into the receive buffer or the scratch.
 */
#ifndef EM_FRAME_H
#define EM_FRAME_H

#include <assert.h>
#include <string.h>

#include "em_event.h"

typedef enum em_token_kind {
    EM_TOKEN_NULL,
    EM_TOKEN_BOOL,
    EM_TOKEN_INT,
    EM_TOKEN_FLOAT,
    EM_TOKEN_STRING,
    EM_TOKEN_LIST,
    EM_TOKEN_MAP
} em_token_kind;

typedef struct em_token {
    uint8_t kind;
    bool negative;      /* INT */
    bool half;          /* STRING: holds half a surrogate pair */
    bool fits;          /* INT: magnitude is exact */
    uint32_t size;      /* STRING: bytes; INT of JSON: characters of the literal; LIST, MAP of msgpack: entries */
    const uint8_t *data; /* STRING; INT of JSON: the literal, else NULL */
    uint64_t magnitude; /* INT that fits in 64 bits */
    double number;      /* BOOL, INT (infinite: too large), FLOAT */
} em_token;

typedef enum em_field {
    EM_FIELD_MODEL,
    EM_FIELD_OUTPUT,
    EM_FIELD_FEATURES,
    EM_FIELD_LATENCY,
    EM_FIELD_ID,
    EM_FIELD_TS,
    EM_FIELD_VERSION,
    EM_FIELDS_COMPACT, /* a compact event has these, in this order */
    EM_FIELD_LABEL = EM_FIELDS_COMPACT,
    EM_FIELD_METRIC,
    EM_FIELD_VALUE,
    EM_FIELD_STEP,
    EM_FIELD_ACK,
    EM_FIELD_LEVEL,
    EM_FIELD_ERROR,
    EM_FIELDS,
    EM_FIELD_UNKNOWN = EM_FIELDS
} em_field;

/* em_feature.flags */
enum {
    EM_FEATURE_WRONG_TYPE = 1,
    EM_FEATURE_TOO_LARGE = 2, /* an integer beyond every double */
    EM_FEATURE_HALF_TEXT = 4,
    EM_FEATURE_HALF_NAME = 8
};

typedef struct em_frame {
    em_token top;          /* the frame itself; LIST is the compact form */
    uint64_t entries;      /* of the compact form */
    uint32_t present;      /* bit f: field f is there */
    uint32_t features;     /* distinct features kept in decoder->features, at most limits.features */
    bool more_features;    /* there were more */
    bool hashed;           /* their names are in the hash table */
    bool vector_other;     /* an output's list holds something that is no number */
    bool vector_too_large; /* or an integer beyond every double */
    uint64_t vector;       /* items of an output's list; the first EM_VECTOR_MAX are kept */
    em_token field[EM_FIELDS];
} em_frame;

/* A message: `@` in the form stands for `word`, `#` for `number`, `$` for the feature of this name or index. */
struct em_problem {
    const char *form;
    const char *word;
    em_span name;
    uint32_t number;
    uint32_t index;
};

struct em_name_slot {
    uint32_t stamp; /* valid when it is the decoder's */
    uint32_t index;
};

/* Scratch beyond one frame's bytes: digits of the integers of a msgpack event. */
#define EM_SCRATCH_EXTRA 128u

/* What a reader found. */
typedef enum em_reading { EM_READ_WHOLE, EM_READ_MORE, EM_READ_FAULT } em_reading;

static inline em_field em_frame_field(const uint8_t *key, uint32_t size) {
#define EM_IS(text, field) \
    if (memcmp(key, text, sizeof text - 1) == 0) { \
        return field; \
    }
    switch (size) {
    case 2:
        EM_IS("id", EM_FIELD_ID)
        EM_IS("ts", EM_FIELD_TS)
        break;
    case 3:
        EM_IS("ack", EM_FIELD_ACK)
        break;
    case 4:
        EM_IS("step", EM_FIELD_STEP)
        break;
    case 5:
        EM_IS("model", EM_FIELD_MODEL)
        EM_IS("label", EM_FIELD_LABEL)
        EM_IS("value", EM_FIELD_VALUE)
        EM_IS("level", EM_FIELD_LEVEL)
        EM_IS("error", EM_FIELD_ERROR)
        break;
    case 6:
        EM_IS("output", EM_FIELD_OUTPUT)
        EM_IS("metric", EM_FIELD_METRIC)
        break;
    case 7:
        EM_IS("latency", EM_FIELD_LATENCY)
        EM_IS("version", EM_FIELD_VERSION)
        break;
    case 8:
        EM_IS("features", EM_FIELD_FEATURES)
        break;
    default:
        break;
    }
    return EM_FIELD_UNKNOWN;
#undef EM_IS
}

/* Begins the list or map of features, or the list of an output, anew. */
static inline void em_frame_begin_features(em_frame *frame) {
    frame->features = 0;
    frame->more_features = frame->hashed = false;
}

static inline void em_frame_begin_vector(em_frame *frame) {
    frame->vector = 0;
    frame->vector_other = frame->vector_too_large = false;
}

/* Where the value of a feature goes; NULL when there are too many. name.data NULL: the next of a list. */
em_feature *em_frame_feature(em_decoder *decoder, em_frame *frame, em_span name);

static inline void em_feature_set(em_feature *feature, const em_token *token) {
    feature->flags &= EM_FEATURE_HALF_NAME;
    switch (token->kind) {
    case EM_TOKEN_INT:
        if (token->number - token->number != 0.0) {
            feature->flags |= EM_FEATURE_TOO_LARGE;
        }
        feature->kind = EM_NUMBER;
        feature->as.number = token->number;
        break;
    case EM_TOKEN_BOOL:
    case EM_TOKEN_FLOAT:
        feature->kind = EM_NUMBER;
        feature->as.number = token->number;
        break;
    case EM_TOKEN_STRING:
        feature->kind = EM_TEXT;
        feature->as.text = (em_span){token->data, token->size};
        if (token->half) {
            feature->flags |= EM_FEATURE_HALF_TEXT;
        }
        break;
    case EM_TOKEN_NULL:
        feature->kind = EM_NONE;
        break;
    default:
        feature->kind = EM_NONE;
        feature->flags |= EM_FEATURE_WRONG_TYPE;
        break;
    }
}

static inline void em_frame_vector_item(em_decoder *decoder, em_frame *frame, const em_token *token) {
    if (token->kind != EM_TOKEN_FLOAT && token->kind != EM_TOKEN_INT && token->kind != EM_TOKEN_BOOL) {
        frame->vector_other = true;
    } else {
        if (token->kind == EM_TOKEN_INT && token->number - token->number != 0.0) {
            frame->vector_too_large = true;
        }
        if (frame->vector < EM_VECTOR_MAX) {
            decoder->vector[frame->vector] = token->number;
        }
    }
    frame->vector++;
}

/* Bytes for `size` characters of scratch, kept until the next frame. A frame's texts without escapes and the digits
 * of its integers always fit. */
static inline uint8_t *em_scratch(em_decoder *decoder, size_t size) {
    uint8_t *at = decoder->scratch_next;
    assert(size <= (size_t)(decoder->scratch + decoder->limits.frame_bytes + EM_SCRATCH_EXTRA - at));
    decoder->scratch_next = at + size;
    return at;
}

void em_note_fault(em_decoder *decoder, em_reason reason, const char *form, const char *word, uint32_t number,
                   size_t at);
/* Notes why, and returns what the caller returns. */
static inline em_reading em_fault(em_decoder *decoder, em_reason reason, const char *form, const char *word,
                                  uint32_t number, size_t at) {
    em_note_fault(decoder, reason, form, word, number, at);
    return EM_READ_FAULT;
}

/* EM_EVENT or EM_BAD_EVENT. */
em_verdict em_frame_event(em_decoder *decoder, const em_frame *frame, em_event *event);

/* The first byte that is not UTF-8 (or `end`): no overlong forms, no surrogates, nothing above U+10FFFF; of a
 * sequence that is wrong or not complete, its first byte. */
const uint8_t *em_utf8_fault(const uint8_t *at, const uint8_t *end);

/* Most strings are short and ASCII: that is seen here. */
static inline bool em_is_utf8(const uint8_t *at, uint32_t size) {
    uint64_t all = 0, word;
    uint32_t i = 0;
    for (; i + 8 <= size && i < 64; i += 8) {
        memcpy(&word, at + i, 8);
        all |= word;
    }
    if (size - i < 8) {
        if (size & 4u) {
            uint32_t half;
            memcpy(&half, at + i, 4);
            all |= half;
            i += 4;
        }
        for (; i < size; i++) {
            all |= at[i];
        }
        if (!(all & UINT64_C(0x8080808080808080))) {
            return true;
        }
    }
    return em_utf8_fault(at, at + size) == at + size;
}

/* The readers. used, at: offsets in buf. */
em_reading em_msgpack_read(em_decoder *decoder, em_framing *framing, const uint8_t *buf, size_t size, bool ended,
                           size_t *used, em_frame *frame);
em_reading em_json_read(em_decoder *decoder, em_framing *framing, const uint8_t *buf, size_t size, bool ended,
                        size_t *used, em_frame *frame);

#endif

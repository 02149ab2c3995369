/* msgpack, as its specification of 2013 has it, without bin and ext. */
#include "em_frame.h"

typedef struct cursor {
    const uint8_t *at;
    const uint8_t *end;   /* of what may be read now */
    const uint8_t *frame; /* where the frame began */
    size_t offset;        /* of the frame in buf */
} cursor;

static inline uint64_t big2(const uint8_t *at) {
    return (uint64_t)at[0] << 8 | at[1];
}

static inline uint64_t big4(const uint8_t *at) {
    return big2(at) << 16 | big2(at + 2);
}

static inline uint64_t big8(const uint8_t *at) { /* one instruction to a compiler that knows the form */
    return (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40 | (uint64_t)at[3] << 32 |
           (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16 | (uint64_t)at[6] << 8 | (uint64_t)at[7];
}

static em_reading malformed(em_decoder *decoder, const cursor *in, const char *what) {
    return em_fault(decoder, EM_MALFORMED, "bad msgpack (@)", what, 0, in->offset);
}

static inline void set_unsigned(em_token *token, uint64_t value) {
    token->kind = EM_TOKEN_INT;
    token->data = NULL;
    token->fits = true;
    token->negative = false;
    token->magnitude = value;
    token->number = (double)value;
}

static inline void set_signed(em_token *token, int64_t value) {
    token->kind = EM_TOKEN_INT;
    token->data = NULL;
    token->fits = true;
    token->negative = value < 0;
    token->magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    token->number = (double)value;
}

static em_reading refused_head(em_decoder *decoder, const cursor *in, uint8_t head) {
    return malformed(decoder, in,
                     head == 0xC1   ? "the byte 0xc1"
                     : head <= 0xC6 ? "bin is not taken"
                                    : "ext is not taken");
}

/* Behind the head of a string, a list or a map. */
static inline em_reading sized(em_decoder *decoder, cursor *in, em_token *token, em_token_kind kind, const uint8_t *at,
                               uint64_t size) {
    if (size > decoder->limits.frame_bytes) {
        return em_fault(decoder, EM_MALFORMED, "bad msgpack (@ of more than # bytes or entries)",
                        kind == EM_TOKEN_STRING ? "a string"
                        : kind == EM_TOKEN_LIST ? "an array"
                                                : "a map",
                        decoder->limits.frame_bytes, in->offset);
    }
    token->kind = (uint8_t)kind;
    token->size = (uint32_t)size;
    if (kind == EM_TOKEN_STRING) {
        if ((size_t)(in->end - at) < size) {
            return EM_READ_MORE;
        }
        if (!em_is_utf8(at, token->size)) {
            return em_fault(decoder, EM_BAD_UTF8, "a string that is not UTF-8, in the object", "", 0, in->offset);
        }
        token->data = at;
        token->half = false;
        at += size;
    }
    in->at = at;
    return EM_READ_WHOLE;
}

/* The next item: a scalar with its bytes, or the head of a list or a map. Leaves the cursor when it is not whole. */
static inline em_reading item(em_decoder *decoder, cursor *in, em_token *token) {
    const uint8_t *at = in->at;
    size_t room = (size_t)(in->end - at);
    if (room == 0) {
        return EM_READ_MORE;
    }
    const uint8_t head = *at++;
    room--;
#define NEED(bytes) \
    if (room < (bytes)) { \
        return EM_READ_MORE; \
    }
    if (head < 0xC0) {
        if (head < 0x80) {
            set_unsigned(token, head);
            in->at = at;
            return EM_READ_WHOLE;
        }
        if (head >= 0xA0) {
            return sized(decoder, in, token, EM_TOKEN_STRING, at, head & 0x1Fu);
        }
        return sized(decoder, in, token, head < 0x90 ? EM_TOKEN_MAP : EM_TOKEN_LIST, at, head & 0x0Fu);
    }
    switch (head) {
    case 0xC0:
        token->kind = EM_TOKEN_NULL;
        break;
    case 0xC2:
    case 0xC3:
        token->kind = EM_TOKEN_BOOL;
        token->number = head == 0xC3;
        break;
    case 0xCA: {
        NEED(4)
        uint32_t bits = (uint32_t)big4(at);
        float single;
        memcpy(&single, &bits, sizeof single);
        token->kind = EM_TOKEN_FLOAT;
        token->number = (double)single;
        at += 4;
        break;
    }
    case 0xCB: {
        NEED(8)
        uint64_t bits = big8(at);
        token->kind = EM_TOKEN_FLOAT;
        memcpy(&token->number, &bits, sizeof bits);
        at += 8;
        break;
    }
    case 0xCC:
        NEED(1)
        set_unsigned(token, *at++);
        break;
    case 0xCD:
        NEED(2)
        set_unsigned(token, big2(at));
        at += 2;
        break;
    case 0xCE:
        NEED(4)
        set_unsigned(token, big4(at));
        at += 4;
        break;
    case 0xCF:
        NEED(8)
        set_unsigned(token, big8(at));
        at += 8;
        break;
    case 0xD0:
        NEED(1)
        set_signed(token, (int8_t)*at++);
        break;
    case 0xD1:
        NEED(2)
        set_signed(token, (int16_t)big2(at));
        at += 2;
        break;
    case 0xD2:
        NEED(4)
        set_signed(token, (int32_t)big4(at));
        at += 4;
        break;
    case 0xD3:
        NEED(8)
        set_signed(token, (int64_t)big8(at));
        at += 8;
        break;
    case 0xD9:
        NEED(1)
        return sized(decoder, in, token, EM_TOKEN_STRING, at + 1, *at);
    case 0xDA:
        NEED(2)
        return sized(decoder, in, token, EM_TOKEN_STRING, at + 2, big2(at));
    case 0xDB:
        NEED(4)
        return sized(decoder, in, token, EM_TOKEN_STRING, at + 4, big4(at));
    case 0xDC:
    case 0xDE:
        NEED(2)
        return sized(decoder, in, token, head == 0xDC ? EM_TOKEN_LIST : EM_TOKEN_MAP, at + 2, big2(at));
    case 0xDD:
    case 0xDF:
        NEED(4)
        return sized(decoder, in, token, head == 0xDD ? EM_TOKEN_LIST : EM_TOKEN_MAP, at + 4, big4(at));
    case 0xC1:
    case 0xC4:
    case 0xC5:
    case 0xC6:
    case 0xC7:
    case 0xC8:
    case 0xC9:
    case 0xD4:
    case 0xD5:
    case 0xD6:
    case 0xD7:
    case 0xD8:
        return refused_head(decoder, in, head);
    default: /* 0xE0 on */
        set_signed(token, (int64_t)head - 256);
        break;
    }
#undef NEED
    in->at = at;
    return EM_READ_WHOLE;
}

static em_reading open_level(em_decoder *decoder, cursor *in, em_framing *walk, uint32_t outside, const em_token *token) {
    if (walk->depth + outside >= decoder->limits.nesting) {
        return em_fault(decoder, EM_MALFORMED, "msgpack nested too deeply: more than # levels (ingest.max_nesting)", "",
                        decoder->limits.nesting, in->offset);
    }
    uint64_t bit = UINT64_C(1) << walk->depth;
    bool map = token->kind == EM_TOKEN_MAP;
    walk->map = map ? walk->map | bit : walk->map & ~bit;
    walk->left[walk->depth++] = map ? 2 * token->size : token->size; /* sizes are at most EM_FRAME_MAX */
    return EM_READ_WHOLE;
}

/* Walks over the entries of the open levels. When they are not whole, the walk can go on from where the cursor is. */
static em_reading walk_on(em_decoder *decoder, cursor *in, em_framing *walk, uint32_t outside) {
    while (walk->depth > 0) {
        uint32_t level = walk->depth - 1;
        uint32_t left = walk->left[level];
        if (left == 0) {
            walk->depth--;
            continue;
        }
        em_token token;
        em_reading reading = item(decoder, in, &token);
        if (reading != EM_READ_WHOLE) {
            return reading;
        }
        walk->left[level] = left - 1;
        if (walk->map >> level & 1u && left % 2 == 0) {
            if (token.kind != EM_TOKEN_STRING) {
                return malformed(decoder, in, "a key of a map that is no string");
            }
        } else if (token.kind >= EM_TOKEN_LIST) {
            reading = open_level(decoder, in, walk, outside, &token);
            if (reading != EM_READ_WHOLE) {
                return reading;
            }
        }
    }
    return EM_READ_WHOLE;
}

/* Reads one item and passes over what is in it. outside: levels that are open around it. */
static em_reading value(em_decoder *decoder, cursor *in, em_token *token, uint32_t outside) {
    em_reading reading = item(decoder, in, token);
    if (reading != EM_READ_WHOLE || token->kind < EM_TOKEN_LIST) {
        return reading;
    }
    em_framing walk;
    walk.depth = 0;
    walk.map = 0;
    reading = open_level(decoder, in, &walk, outside, token);
    return reading == EM_READ_WHOLE ? walk_on(decoder, in, &walk, outside) : reading;
}

static em_reading key(em_decoder *decoder, cursor *in, em_token *token) {
    em_reading reading = item(decoder, in, token);
    if (reading == EM_READ_WHOLE && token->kind != EM_TOKEN_STRING) {
        return malformed(decoder, in, "a key of a map that is no string");
    }
    return reading;
}

static em_reading deeper(em_decoder *decoder, const cursor *in, uint32_t outside) {
    return outside < decoder->limits.nesting
               ? EM_READ_WHOLE
               : em_fault(decoder, EM_MALFORMED, "msgpack nested too deeply: more than # levels (ingest.max_nesting)", "",
                          decoder->limits.nesting, in->offset);
}

static em_reading features(em_decoder *decoder, cursor *in, em_frame *frame, const em_token *head) {
    em_reading reading = deeper(decoder, in, 1);
    em_frame_begin_features(frame);
    for (uint32_t i = 0; i < head->size && reading == EM_READ_WHOLE; i++) {
        em_token token;
        em_span name = {NULL, 0};
        if (head->kind == EM_TOKEN_MAP) {
            reading = key(decoder, in, &token);
            if (reading != EM_READ_WHOLE) {
                return reading;
            }
            name = (em_span){token.data, token.size};
        }
        reading = value(decoder, in, &token, 2);
        if (reading == EM_READ_WHOLE) {
            em_feature *feature = em_frame_feature(decoder, frame, name);
            if (feature != NULL) {
                em_feature_set(feature, &token);
            }
        }
    }
    return reading;
}

static em_reading vector(em_decoder *decoder, cursor *in, em_frame *frame, const em_token *head) {
    em_reading reading = deeper(decoder, in, 1);
    em_frame_begin_vector(frame);
    for (uint32_t i = 0; i < head->size && reading == EM_READ_WHOLE; i++) {
        em_token token;
        reading = value(decoder, in, &token, 2);
        if (reading == EM_READ_WHOLE) {
            em_frame_vector_item(decoder, frame, &token);
        }
    }
    return reading;
}

static em_reading field_value(em_decoder *decoder, cursor *in, em_frame *frame, em_field field) {
    em_token unknown;
    em_token *token = field < EM_FIELDS ? &frame->field[field] : &unknown;
    if (field == EM_FIELD_FEATURES || field == EM_FIELD_OUTPUT) {
        const uint8_t *at = in->at;
        em_reading reading = item(decoder, in, token);
        if (reading != EM_READ_WHOLE) {
            return reading;
        }
        frame->present |= 1u << field;
        if (token->kind < EM_TOKEN_LIST) {
            return EM_READ_WHOLE;
        }
        if (field == EM_FIELD_FEATURES) {
            return features(decoder, in, frame, token);
        }
        if (token->kind == EM_TOKEN_LIST) {
            return vector(decoder, in, frame, token);
        }
        in->at = at;
    } else if (field < EM_FIELDS) {
        frame->present |= 1u << field;
    }
    return value(decoder, in, token, 1);
}

static em_reading whole_frame(em_decoder *decoder, cursor *in, em_frame *frame) {
    em_reading reading = item(decoder, in, &frame->top);
    if (reading != EM_READ_WHOLE) {
        return reading;
    }
    if (frame->top.kind == EM_TOKEN_MAP) {
        for (uint32_t i = 0; i < frame->top.size && reading == EM_READ_WHOLE; i++) {
            em_token name;
            reading = key(decoder, in, &name);
            if (reading == EM_READ_WHOLE) {
                reading = field_value(decoder, in, frame, em_frame_field(name.data, name.size));
            }
        }
    } else if (frame->top.kind == EM_TOKEN_LIST) {
        frame->entries = frame->top.size;
        for (uint32_t i = 0; i < frame->top.size && reading == EM_READ_WHOLE; i++) {
            reading = field_value(decoder, in, frame, i < EM_FIELDS_COMPACT ? (em_field)i : EM_FIELD_UNKNOWN);
        }
    }
    return reading;
}

/* Goes on with the walk over a frame that is not whole yet. */
static em_reading walk_frame(em_decoder *decoder, cursor *in, em_framing *framing) {
    em_reading reading = EM_READ_WHOLE;
    if (framing->searched == 0) {
        em_token token;
        framing->depth = 0;
        framing->map = 0;
        reading = item(decoder, in, &token);
        if (reading == EM_READ_WHOLE && token.kind >= EM_TOKEN_LIST) {
            reading = open_level(decoder, in, framing, 0, &token);
        }
    } else {
        in->at += framing->searched;
    }
    if (reading == EM_READ_WHOLE) {
        reading = walk_on(decoder, in, framing, 0);
    }
    framing->searched = (size_t)(in->at - in->frame);
    return reading;
}

em_reading em_msgpack_read(em_decoder *decoder, em_framing *framing, const uint8_t *buf, size_t size, bool ended,
                           size_t *used, em_frame *frame) {
    size_t most = decoder->limits.frame_bytes;
    cursor in = {buf, buf + (size < most ? size : most), buf, 0};
    decoder->frame_at = 0;
    em_reading reading = EM_READ_MORE;
    if (framing->walking) {
        reading = walk_frame(decoder, &in, framing);
        in.at = buf;
        if (reading == EM_READ_WHOLE) {
            framing->walking = false;
            reading = whole_frame(decoder, &in, frame);
        }
    } else {
        reading = whole_frame(decoder, &in, frame);
        if (reading == EM_READ_MORE && size <= most && !ended) {
            in.at = buf;
            framing->walking = true;
            framing->searched = 0;
            reading = walk_frame(decoder, &in, framing);
        }
    }
    if (reading == EM_READ_WHOLE) {
        *used = (size_t)(in.at - buf);
    } else if (reading == EM_READ_MORE && size > most) {
        return em_fault(decoder, EM_FRAME_SIZE, "object longer than # bytes (ingest.max_frame_bytes)", "",
                        decoder->limits.frame_bytes, 0);
    } else if (reading == EM_READ_MORE && ended) {
        return em_fault(decoder, EM_MALFORMED, "half a msgpack object", "", 0, 0);
    }
    return reading;
}

/* JSON lines, as Python's json.loads reads UTF-8: NaN and Infinity are numbers, half a surrogate pair may be escaped,
 * of equal keys the last counts. What is refused is refused with the same words and at the same byte. */
#include "em_decimal.h"
#include "em_frame.h"

typedef struct line {
    const uint8_t *at;
    const uint8_t *end;
    const uint8_t *start;
    size_t offset; /* of start in buf */
} line;

static em_reading malformed(em_decoder *decoder, const line *in, const char *what, const uint8_t *at) {
    return em_fault(decoder, EM_MALFORMED, "bad JSON: @", what, 0, in->offset + (size_t)(at - in->start));
}

static em_reading too_deep(em_decoder *decoder, const line *in) {
    return malformed(decoder, in, "too deep or too long", in->start);
}

static inline void skip_space(line *in) {
    const uint8_t *at = in->at, *end = in->end;
    while (at < end && *at <= ' ' && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) {
        at++;
    }
    in->at = at;
}

static inline bool is(const line *in, char c) {
    return in->at < in->end && *in->at == (uint8_t)c;
}

/* --- strings ----------------------------------------------------------------------------------------------------- */

/* The first byte that ends a run of plain characters: a quote, a backslash, a control character, or the end. */
static inline const uint8_t *plain_run(const uint8_t *at, const uint8_t *end) {
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
        uint64_t hit = ((word - ones * 0x20) | (quote - ones) | (slash - ones)) & ~word & tops;
        if (hit) { /* a borrow makes false hits only above a true one */
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return at + __builtin_ctzll(hit) / 8;
#else
            break;
#endif
        }
        at += 8;
    }
    while (at < end && *at != '"' && *at != '\\' && *at >= 0x20) {
        at++;
    }
    return at;
}

static bool hex4(const uint8_t *at, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t c = at[i], digit = c - '0';
        if (digit > 9) {
            digit = (c | 0x20u) - 'a' + 10;
            if (digit < 10 || digit > 15) {
                return false;
            }
        }
        *code = *code << 4 | digit;
    }
    return true;
}

static uint8_t *put_utf8(uint8_t *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (uint8_t)code;
    } else if (code < 0x800) {
        *to++ = (uint8_t)(0xC0 | code >> 6);
        *to++ = (uint8_t)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (uint8_t)(0xE0 | code >> 12);
        *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        *to++ = (uint8_t)(0x80 | (code & 0x3F));
    } else {
        *to++ = (uint8_t)(0xF0 | code >> 18);
        *to++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        *to++ = (uint8_t)(0x80 | (code & 0x3F));
    }
    return to;
}

/* Reads one escape at in->at, a backslash. */
static em_reading escape(em_decoder *decoder, line *in, const uint8_t *quote, uint8_t **to, bool *half) {
    const uint8_t *slash = in->at;
    if (slash + 1 == in->end) {
        return malformed(decoder, in, "Unterminated string starting at", quote);
    }
    uint8_t made;
    switch (slash[1]) {
    case '"':
    case '\\':
    case '/':
        made = slash[1];
        break;
    case 'b':
        made = '\b';
        break;
    case 'f':
        made = '\f';
        break;
    case 'n':
        made = '\n';
        break;
    case 'r':
        made = '\r';
        break;
    case 't':
        made = '\t';
        break;
    case 'u': {
        uint32_t code, low;
        if (in->end - slash <= 6 || !hex4(slash + 2, &code)) {
            return malformed(decoder, in, "Invalid \\uXXXX escape", slash + 1);
        }
        in->at = slash + 6;
        if (code - 0xD800u < 0x800) {
            bool pair = code < 0xDC00 && in->end - in->at > 6 && in->at[0] == '\\' && in->at[1] == 'u';
            if (pair && !hex4(in->at + 2, &low)) {
                return malformed(decoder, in, "Invalid \\uXXXX escape", in->at + 1);
            }
            if (pair && low - 0xDC00u < 0x400) {
                code = 0x10000 + ((code - 0xD800u) << 10) + (low - 0xDC00u);
                in->at += 6;
            } else {
                *half = true;
            }
        }
        *to = put_utf8(*to, code);
        return EM_READ_WHOLE;
    }
    default:
        return malformed(decoder, in, "Invalid \\escape", slash);
    }
    *(*to)++ = made;
    in->at = slash + 2;
    return EM_READ_WHOLE;
}

/* Reads a string whose opening quote is at in->at. Its text is in the line, or, with escapes, in the scratch. */
static em_reading string(em_decoder *decoder, line *in, em_token *token) {
    const uint8_t *quote = in->at, *from = quote + 1;
    uint8_t *text = NULL, *to = NULL;
    token->kind = EM_TOKEN_STRING;
    token->half = false;
    for (;;) {
        const uint8_t *stop = plain_run(from, in->end);
        if (stop == in->end) {
            return malformed(decoder, in, "Unterminated string starting at", quote);
        }
        if (*stop < 0x20) {
            return malformed(decoder, in, "Invalid control character at", stop);
        }
        if (text == NULL && *stop == '"') {
            token->data = from;
            token->size = (uint32_t)(stop - from);
            in->at = stop + 1;
            return EM_READ_WHOLE;
        }
        if (text == NULL) { /* an escape is longer than what it stands for */
            text = to = decoder->scratch_next;
        }
        memcpy(to, from, (size_t)(stop - from));
        to += stop - from;
        in->at = stop;
        if (*stop == '"') {
            token->size = (uint32_t)(to - text);
            token->data = em_scratch(decoder, token->size);
            in->at = stop + 1;
            return EM_READ_WHOLE;
        }
        em_reading reading = escape(decoder, in, quote, &to, &token->half);
        if (reading != EM_READ_WHOLE) {
            return reading;
        }
        from = in->at;
    }
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static bool word(line *in, const char *text, size_t size) {
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, text, size) != 0) {
        return false;
    }
    in->at += size;
    return true;
}

static em_reading number(em_decoder *decoder, line *in, em_token *token) {
    em_decimal decimal;
    const uint8_t *first = in->at, *end = em_decimal_read(first, in->end, &decimal);
    if (end == NULL) {
        return malformed(decoder, in, "Expecting value", first);
    }
    if (decimal.integer && decimal.digits > EM_INTEGER_DIGITS) {
        return too_deep(decoder, in);
    }
    token->kind = decimal.integer ? EM_TOKEN_INT : EM_TOKEN_FLOAT;
    token->negative = decimal.negative;
    token->fits = decimal.fits;
    token->magnitude = decimal.fits ? decimal.magnitude : 0;
    token->number = decimal.number;
    token->data = first;
    token->size = (uint32_t)(end - first);
    in->at = end;
    return EM_READ_WHOLE;
}

/* Reads a scalar whole, of a list or a map only the bracket. */
static inline em_reading item(em_decoder *decoder, line *in, em_token *token) {
    const uint64_t infinity = UINT64_C(0x7FF0000000000000), nan = UINT64_C(0x7FF8000000000000);
    uint64_t bits;
    if (in->at == in->end) {
        return malformed(decoder, in, "Expecting value", in->at);
    }
    token->kind = EM_TOKEN_NULL;
    switch (*in->at) {
    case '"':
        return string(decoder, in, token);
    case '[':
        token->kind = EM_TOKEN_LIST;
        in->at++;
        return EM_READ_WHOLE;
    case '{':
        token->kind = EM_TOKEN_MAP;
        in->at++;
        return EM_READ_WHOLE;
    case 'n':
        if (word(in, "null", 4)) {
            return EM_READ_WHOLE;
        }
        break;
    case 't':
        token->kind = EM_TOKEN_BOOL;
        token->number = 1.0;
        if (word(in, "true", 4)) {
            return EM_READ_WHOLE;
        }
        break;
    case 'f':
        token->kind = EM_TOKEN_BOOL;
        token->number = 0.0;
        if (word(in, "false", 5)) {
            return EM_READ_WHOLE;
        }
        break;
    case 'N':
        token->kind = EM_TOKEN_FLOAT;
        memcpy(&token->number, &nan, sizeof nan);
        if (word(in, "NaN", 3)) {
            return EM_READ_WHOLE;
        }
        break;
    case '-':
    case 'I':
        token->kind = EM_TOKEN_FLOAT;
        bits = infinity | (uint64_t)(*in->at == '-') << 63;
        memcpy(&token->number, &bits, sizeof bits);
        if (*in->at == '-' ? word(in, "-Infinity", 9) : word(in, "Infinity", 8)) {
            return EM_READ_WHOLE;
        }
        return number(decoder, in, token);
    default:
        return number(decoder, in, token);
    }
    return malformed(decoder, in, "Expecting value", in->at);
}

static em_reading key(em_decoder *decoder, line *in, em_token *token) {
    if (!is(in, '"')) {
        return malformed(decoder, in, "Expecting property name enclosed in double quotes", in->at);
    }
    em_reading reading = string(decoder, in, token);
    if (reading != EM_READ_WHOLE) {
        return reading;
    }
    skip_space(in);
    if (!is(in, ':')) {
        return malformed(decoder, in, "Expecting ':' delimiter", in->at);
    }
    in->at++;
    skip_space(in);
    return EM_READ_WHOLE;
}

/* Behind the opening bracket: is there a first entry? */
static inline bool first_entry(line *in, char close) {
    skip_space(in);
    if (is(in, close)) {
        in->at++;
        return false;
    }
    return true;
}

/* Behind an entry: *more is true at a next one. */
static inline em_reading next_entry(em_decoder *decoder, line *in, char close, bool *more) {
    skip_space(in);
    *more = is(in, ',');
    if (!*more && !is(in, close)) {
        return malformed(decoder, in, "Expecting ',' delimiter", in->at);
    }
    in->at++;
    if (*more) {
        skip_space(in);
    }
    return EM_READ_WHOLE;
}

/* Passes over the entries of a list or map behind its bracket. outside: levels that are open around it. */
static em_reading pass_over(em_decoder *decoder, line *in, uint32_t outside, bool map) {
    uint64_t maps = 0; /* bit: the level is a map */
    uint32_t depth = 0;
    for (bool opened = true;;) {
        if (opened) {
            if (depth + outside >= decoder->limits.nesting) {
                return too_deep(decoder, in);
            }
            maps = maps << 1 | map; /* at most 64 levels */
            depth++;
        }
        bool more = opened && first_entry(in, map ? '}' : ']');
        bool closed = opened && !more;
        while (!more) {
            if (closed) { /* a level was left: go on in the one around it */
                depth--;
                maps >>= 1;
                if (depth == 0) {
                    return EM_READ_WHOLE;
                }
                map = maps & 1;
            }
            em_reading reading = next_entry(decoder, in, map ? '}' : ']', &more);
            if (reading != EM_READ_WHOLE) {
                return reading;
            }
            closed = !more;
        }
        em_token token;
        uint8_t *scratch = decoder->scratch_next;
        em_reading reading = map ? key(decoder, in, &token) : EM_READ_WHOLE;
        if (reading == EM_READ_WHOLE) {
            reading = item(decoder, in, &token);
        }
        if (reading != EM_READ_WHOLE) {
            return reading;
        }
        decoder->scratch_next = scratch; /* nothing of this is kept */
        opened = token.kind >= EM_TOKEN_LIST;
        map = opened ? token.kind == EM_TOKEN_MAP : map;
    }
}

/* Reads one value and passes over what is in it. */
static em_reading value(em_decoder *decoder, line *in, em_token *token, uint32_t outside) {
    em_reading reading = item(decoder, in, token);
    if (reading != EM_READ_WHOLE || token->kind < EM_TOKEN_LIST) {
        return reading;
    }
    return pass_over(decoder, in, outside, token->kind == EM_TOKEN_MAP);
}

/* --- the event --------------------------------------------------------------------------------------------------- */

static em_reading features(em_decoder *decoder, line *in, em_frame *frame, bool map) {
    const char close = map ? '}' : ']';
    em_frame_begin_features(frame);
    if (decoder->limits.nesting < 2) {
        return too_deep(decoder, in);
    }
    for (bool more = first_entry(in, close); more;) {
        em_token token;
        em_span name = {NULL, 0};
        em_reading reading;
        bool half = false;
        if (map) {
            reading = key(decoder, in, &token);
            if (reading != EM_READ_WHOLE) {
                return reading;
            }
            name = (em_span){token.data, token.size};
            half = token.half;
        }
        reading = value(decoder, in, &token, 2);
        if (reading != EM_READ_WHOLE) {
            return reading;
        }
        em_feature *feature = em_frame_feature(decoder, frame, name);
        if (feature != NULL) {
            feature->flags = half ? EM_FEATURE_HALF_NAME : 0;
            em_feature_set(feature, &token);
        }
        reading = next_entry(decoder, in, close, &more);
        if (reading != EM_READ_WHOLE) {
            return reading;
        }
    }
    return EM_READ_WHOLE;
}

static em_reading vector(em_decoder *decoder, line *in, em_frame *frame) {
    em_frame_begin_vector(frame);
    if (decoder->limits.nesting < 2) {
        return too_deep(decoder, in);
    }
    for (bool more = first_entry(in, ']'); more;) {
        em_token token;
        em_reading reading = value(decoder, in, &token, 2);
        if (reading == EM_READ_WHOLE) {
            em_frame_vector_item(decoder, frame, &token);
            reading = next_entry(decoder, in, ']', &more);
        }
        if (reading != EM_READ_WHOLE) {
            return reading;
        }
    }
    return EM_READ_WHOLE;
}

static em_reading field_value(em_decoder *decoder, line *in, em_frame *frame, em_field field) {
    if (field >= EM_FIELDS) {
        em_token unknown;
        return value(decoder, in, &unknown, 1);
    }
    em_token *token = &frame->field[field];
    frame->present |= 1u << field;
    em_reading reading = item(decoder, in, token);
    if (reading != EM_READ_WHOLE || token->kind < EM_TOKEN_LIST) {
        return reading;
    }
    if (field == EM_FIELD_FEATURES) {
        return features(decoder, in, frame, token->kind == EM_TOKEN_MAP);
    }
    if (field == EM_FIELD_OUTPUT && token->kind == EM_TOKEN_LIST) {
        return vector(decoder, in, frame);
    }
    return pass_over(decoder, in, 1, token->kind == EM_TOKEN_MAP);
}

static em_reading entries(em_decoder *decoder, line *in, em_frame *frame) {
    const bool map = frame->top.kind == EM_TOKEN_MAP;
    const char close = map ? '}' : ']';
    frame->entries = 0;
    for (bool more = first_entry(in, close); more;) {
        em_field field = EM_FIELD_UNKNOWN;
        em_reading reading = EM_READ_WHOLE;
        if (map) {
            em_token name;
            reading = key(decoder, in, &name);
            if (reading != EM_READ_WHOLE) {
                return reading;
            }
            field = em_frame_field(name.data, name.size);
        } else if (frame->entries < EM_FIELDS_COMPACT) {
            field = (em_field)frame->entries;
        }
        frame->entries++;
        reading = field_value(decoder, in, frame, field);
        if (reading == EM_READ_WHOLE) {
            reading = next_entry(decoder, in, close, &more);
        }
        if (reading != EM_READ_WHOLE) {
            return reading;
        }
    }
    return EM_READ_WHOLE;
}

static em_reading whole_line(em_decoder *decoder, line *in, em_frame *frame) {
    const uint8_t *fault = em_utf8_fault(in->at, in->end);
    if (fault != in->end) {
        return em_fault(decoder, EM_BAD_UTF8, "not UTF-8", "", 0, in->offset + (size_t)(fault - in->start));
    }
    skip_space(in);
    em_reading reading = item(decoder, in, &frame->top);
    if (reading == EM_READ_WHOLE && frame->top.kind >= EM_TOKEN_LIST) {
        reading = entries(decoder, in, frame);
    }
    if (reading != EM_READ_WHOLE) {
        return reading;
    }
    skip_space(in);
    return in->at == in->end ? EM_READ_WHOLE : malformed(decoder, in, "Extra data", in->at);
}

/* A line of white space is nothing. */
static bool is_blank(const uint8_t *at, const uint8_t *end) {
    while (at < end && (*at == ' ' || (*at >= '\t' && *at <= '\r'))) {
        at++;
    }
    return at == end;
}

em_reading em_json_read(em_decoder *decoder, em_framing *framing, const uint8_t *buf, size_t size, bool ended,
                        size_t *used, em_frame *frame) {
    const size_t most = decoder->limits.frame_bytes;
    while (*used < size) {
        const uint8_t *start = buf + *used;
        size_t room = size - *used, searched = framing->searched;
        size_t within = room <= most ? room : most + 1; /* with the end of a line that is as long as it may be */
        const uint8_t *end = memchr(start + searched, '\n', within - searched);
        decoder->frame_at = *used;
        if (end == NULL && room > most) {
            return em_fault(decoder, EM_FRAME_SIZE, "line longer than # bytes (ingest.max_frame_bytes)", "",
                            decoder->limits.frame_bytes, *used);
        }
        if (end == NULL && !ended) {
            framing->searched = room;
            return EM_READ_MORE;
        }
        line in = {start, end != NULL ? end : start + room, start, *used};
        framing->searched = 0;
        size_t next = *used + (size_t)(in.end - start) + (end != NULL);
        if (is_blank(in.at, in.end)) {
            *used = next;
            continue;
        }
        em_reading reading = whole_line(decoder, &in, frame);
        if (reading == EM_READ_WHOLE) {
            *used = next;
        }
        return reading;
    }
    return EM_READ_MORE;
}

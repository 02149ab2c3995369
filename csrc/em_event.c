#include "em_frame.h"
#include "em_shape.h"

#include <stdlib.h>

static const char *const REASONS[EM_REASONS] = {
    [EM_REASON_NONE] = "",
    [EM_MALFORMED] = "malformed",
    [EM_BAD_UTF8] = "bad_utf8",
    [EM_FRAME_SIZE] = "frame_size",
    [EM_NOT_AN_EVENT] = "not_an_event",
    [EM_BAD_NAME] = "bad_name",
    [EM_BAD_ID] = "bad_id",
    [EM_BAD_NUMBER] = "bad_number",
    [EM_BAD_FEATURES] = "bad_features",
    [EM_TOO_MANY_FEATURES] = "too_many_features",
    [EM_BAD_OUTPUT] = "bad_output",
    [EM_BAD_LABEL] = "bad_label",
    [EM_BAD_METRIC] = "bad_metric",
    [EM_BAD_ACK] = "bad_ack",
    [EM_STRING_SIZE] = "string_size",
};

static const char *const FIELDS[EM_FIELDS] = {
    [EM_FIELD_MODEL] = "model",       [EM_FIELD_OUTPUT] = "output", [EM_FIELD_FEATURES] = "features",
    [EM_FIELD_LATENCY] = "latency",   [EM_FIELD_ID] = "id",         [EM_FIELD_TS] = "ts",
    [EM_FIELD_VERSION] = "version",   [EM_FIELD_LABEL] = "label",   [EM_FIELD_METRIC] = "metric",
    [EM_FIELD_VALUE] = "value",       [EM_FIELD_STEP] = "step",     [EM_FIELD_ACK] = "ack",
    [EM_FIELD_LEVEL] = "level",       [EM_FIELD_ERROR] = "error",
};

/* --- the decoder ------------------------------------------------------------------------------------------------- */

static uint32_t names_size(uint32_t features) {
    uint32_t size = 64;
    while (size < 2 * features) {
        size *= 2;
    }
    return size;
}

int em_decoder_init(em_decoder *decoder, const em_limits *limits) {
    memset(decoder, 0, sizeof *decoder);
    if (limits->frame_bytes < EM_FRAME_MIN || limits->frame_bytes > EM_FRAME_MAX || limits->features < 1 ||
        limits->features > EM_FEATURES_MAX || limits->nesting < 1 || limits->nesting > EM_NESTING_MAX ||
        limits->string_bytes < EM_STRING_MIN) {
        return -2;
    }
    decoder->limits = *limits;
    uint32_t names = names_size(limits->features);
    decoder->names_mask = names - 1;
    decoder->problem = calloc(1, sizeof *decoder->problem);
    decoder->shapes = calloc(1, sizeof *decoder->shapes);
    decoder->features = calloc(limits->features, sizeof *decoder->features);
    decoder->vector = calloc(EM_VECTOR_MAX, sizeof *decoder->vector);
    decoder->names = calloc(names, sizeof *decoder->names);
    decoder->scratch = malloc(limits->frame_bytes + EM_SCRATCH_EXTRA);
    if (!decoder->problem || !decoder->shapes || !decoder->features || !decoder->vector || !decoder->names || !decoder->scratch) {
        em_decoder_free(decoder);
        return -1;
    }
    decoder->problem->form = "";
    return 0;
}

void em_decoder_free(em_decoder *decoder) {
    free(decoder->problem);
    free(decoder->shapes);
    free(decoder->features);
    free(decoder->vector);
    free(decoder->names);
    free(decoder->scratch);
    memset(decoder, 0, sizeof *decoder);
}

size_t em_decoder_memory(const em_decoder *decoder) {
    return sizeof *decoder + sizeof *decoder->problem + sizeof *decoder->shapes + decoder->limits.features * sizeof *decoder->features +
           EM_VECTOR_MAX * sizeof *decoder->vector + (decoder->names_mask + 1) * sizeof *decoder->names +
           decoder->limits.frame_bytes + EM_SCRATCH_EXTRA;
}

em_verdict em_decode_next(em_decoder *decoder, em_framing *framing, const uint8_t *buf, size_t size, bool ended,
                          size_t *used, em_event *event) {
    *used = 0;
    event->wrong_type = 0;
    if (size == 0) {
        return EM_NEED_MORE;
    }
    if (framing->encoding == EM_UNKNOWN) {
        framing->encoding = buf[0] == '{' ? EM_JSON : EM_MSGPACK;
    }
    decoder->reason = EM_REASON_NONE;
    decoder->scratch_next = decoder->scratch;
    bool shaped = framing->encoding == EM_MSGPACK && !framing->walking;
    if (shaped && em_shapes_match(decoder->shapes, &decoder->limits, buf, size, used, event)) {
        decoder->frame_at = 0;
        return EM_EVENT;
    }
    em_frame frame;
    frame.present = 0;
    em_reading reading = framing->encoding == EM_JSON
                             ? em_json_read(decoder, framing, buf, size, ended, used, &frame)
                             : em_msgpack_read(decoder, framing, buf, size, ended, used, &frame);
    if (reading != EM_READ_WHOLE) {
        return reading == EM_READ_MORE ? EM_NEED_MORE : EM_FAULT;
    }
    em_verdict verdict = em_frame_event(decoder, &frame, event);
    if (shaped && verdict == EM_EVENT && size - *used >= EM_SHAPE_AHEAD) { /* else it would have matched, maybe */
        em_shapes_learn(decoder->shapes, buf, *used, event);
    }
    return verdict;
}

/* --- what went wrong --------------------------------------------------------------------------------------------- */

static em_verdict refuse(em_decoder *decoder, em_reason reason, const char *form, const char *word, em_span name,
                         uint32_t number) {
    decoder->reason = reason;
    *decoder->problem = (em_problem){form, word, name, number, 0};
    return EM_BAD_EVENT;
}

static em_verdict refuse_word(em_decoder *decoder, em_reason reason, const char *form, const char *word) {
    return refuse(decoder, reason, form, word, (em_span){NULL, 0}, 0);
}

void em_note_fault(em_decoder *decoder, em_reason reason, const char *form, const char *word, uint32_t number,
                   size_t at) {
    (void)refuse(decoder, reason, form, word, (em_span){NULL, 0}, number);
    decoder->fault_at = at;
}

const char *em_reason_name(em_reason reason) {
    return (unsigned)reason < EM_REASONS ? REASONS[reason] : "";
}

typedef struct text {
    char *at;
    size_t room; /* without the terminating zero */
    size_t size;
} text;

static void put(text *out, const char *bytes, size_t size) {
    for (size_t i = 0; i < size && out->size < out->room; i++) {
        out->at[out->size++] = bytes[i];
    }
}

static void put_number(text *out, uint32_t number) {
    char digits[10];
    size_t n = 0;
    do {
        digits[sizeof digits - ++n] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    put(out, digits + sizeof digits - n, n);
}

size_t em_decoder_message(const em_decoder *decoder, char *out, size_t size) {
    if (size == 0) {
        return 0;
    }
    const em_problem *problem = decoder->problem;
    text made = {out, size - 1, 0};
    for (const char *c = problem->form; *c; c++) {
        if (*c == '@') {
            put(&made, problem->word, strlen(problem->word));
        } else if (*c == '#') {
            put_number(&made, problem->number);
        } else if (*c == '$' && problem->name.data != NULL) {
            put(&made, (const char *)problem->name.data, problem->name.size);
        } else if (*c == '$') { /* a feature of a list has the name that its index gives it */
            put(&made, "f", 1);
            put_number(&made, problem->index);
        } else {
            put(&made, c, 1);
        }
    }
    while (made.size == made.room && made.size > 0 && ((unsigned char)out[made.size - 1] & 0x80u)) {
        made.size--; /* cut short: not within a character */
    }
    out[made.size] = '\0';
    return made.size;
}

/* --- features ---------------------------------------------------------------------------------------------------- */

#define FEW 16u /* names that are compared one by one; more go through the hash table */

static bool equal(em_span a, em_span b) {
    return a.size == b.size && (a.size == 0 || (a.data[a.size - 1] == b.data[b.size - 1] && a.data[0] == b.data[0] &&
                                                memcmp(a.data, b.data, a.size) == 0));
}

static uint32_t name_hash(const em_decoder *decoder, em_span name) {
    uint64_t hash = decoder->limits.seed ^ name.size;
    uint32_t i = 0;
    for (; i + 8 <= name.size; i += 8) {
        uint64_t word;
        memcpy(&word, name.data + i, 8);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    uint64_t tail = 0;
    if (i < name.size) {
        memcpy(&tail, name.data + i, name.size - i);
    }
    hash = (hash ^ tail) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(hash >> 32);
}

/* The slot of the name: its own, or the free one where it belongs. */
static em_name_slot *name_slot(const em_decoder *decoder, em_span name) {
    uint32_t at = name_hash(decoder, name) & decoder->names_mask;
    for (;; at = (at + 1) & decoder->names_mask) { /* ends: at most half of the slots are taken */
        em_name_slot *slot = &decoder->names[at];
        if (slot->stamp != decoder->names_stamp || equal(decoder->features[slot->index].name, name)) {
            return slot;
        }
    }
}

static void begin_names(em_decoder *decoder) {
    if (++decoder->names_stamp == 0) {
        memset(decoder->names, 0, (decoder->names_mask + 1) * sizeof *decoder->names);
        decoder->names_stamp = 1;
    }
    for (uint32_t i = 0; i < FEW; i++) {
        *name_slot(decoder, decoder->features[i].name) = (em_name_slot){decoder->names_stamp, i};
    }
}

em_feature *em_frame_feature(em_decoder *decoder, em_frame *frame, em_span name) {
    uint32_t count = frame->features;
    if (frame->more_features) {
        return NULL;
    }
    if (name.data != NULL) {
        if (count < FEW) {
            for (uint32_t i = 0; i < count; i++) {
                if (equal(decoder->features[i].name, name)) {
                    return &decoder->features[i];
                }
            }
        } else {
            if (!frame->hashed) {
                begin_names(decoder);
                frame->hashed = true;
            }
            em_name_slot *slot = name_slot(decoder, name);
            if (slot->stamp == decoder->names_stamp) {
                return &decoder->features[slot->index];
            }
            if (count < decoder->limits.features) {
                *slot = (em_name_slot){decoder->names_stamp, count};
            }
        }
    }
    if (count == decoder->limits.features) {
        frame->more_features = true;
        return NULL;
    }
    em_feature *feature = &decoder->features[frame->features++];
    feature->name = name;
    feature->flags = 0;
    return feature;
}

/* --- from tokens to an event: each check returns true, or has refused ---------------------------------------------- */

static const em_token *get(const em_frame *frame, em_field field) {
    const em_token *token = &frame->field[field];
    return frame->present >> field & 1u && token->kind != EM_TOKEN_NULL ? token : NULL;
}

/* At most `most` characters in UTF-8 (a lone surrogate's three bytes are one). */
static bool within(em_span span, uint32_t most) {
    if (span.size <= most) {
        return true;
    }
    if (span.size > 4 * most) {
        return false;
    }
    uint32_t characters = 0;
    for (uint32_t i = 0; i < span.size; i++) {
        characters += (span.data[i] & 0xC0u) != 0x80u;
    }
    return characters <= most;
}

static bool is_number(const em_token *token) {
    return token->kind == EM_TOKEN_FLOAT || token->kind == EM_TOKEN_INT || token->kind == EM_TOKEN_BOOL;
}

static bool check_text(em_decoder *decoder, em_span span, bool half, const char *word) {
    if (half) {
        refuse_word(decoder, EM_BAD_UTF8, "\"@\" holds half a surrogate pair", word);
        return false;
    }
    if (span.size > decoder->limits.string_bytes) {
        refuse(decoder, EM_STRING_SIZE, "\"@\" is longer than # bytes (ingest.max_string_bytes)", word, span,
               decoder->limits.string_bytes);
        return false;
    }
    return true;
}

static bool check_number(em_decoder *decoder, const em_token *token, const char *word, double *number) {
    if (token->kind == EM_TOKEN_INT && token->number - token->number != 0.0) {
        refuse_word(decoder, EM_BAD_NUMBER, "\"@\" is too large for a float", word);
        return false;
    }
    *number = token->number;
    return true;
}

static bool check_name(em_decoder *decoder, const em_frame *frame, em_field field, em_span *name) {
    const em_token *token = get(frame, field);
    *name = token ? (em_span){token->data, token->size} : (em_span){NULL, 0};
    if (token == NULL || token->kind != EM_TOKEN_STRING || name->size == 0 || !within(*name, EM_NAME_MAX)) {
        refuse(decoder, EM_BAD_NAME, "\"@\" is a string of 1 to # characters", FIELDS[field], (em_span){NULL, 0},
               EM_NAME_MAX);
        return false;
    }
    return check_text(decoder, *name, token->half, FIELDS[field]);
}

/* The decimal digits of an integer as Python's str gives them. */
static em_span digits_of(em_decoder *decoder, const em_token *token) {
    if (token->data != NULL) {
        bool minus_zero = token->negative && token->fits && token->magnitude == 0;
        return minus_zero ? (em_span){token->data + 1, 1} : (em_span){token->data, token->size};
    }
    uint8_t digits[21];
    uint32_t n = 0;
    uint64_t rest = token->magnitude;
    do {
        digits[sizeof digits - ++n] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (token->negative) {
        digits[sizeof digits - ++n] = '-';
    }
    uint8_t *kept = em_scratch(decoder, n);
    memcpy(kept, digits + sizeof digits - n, n);
    return (em_span){kept, n};
}

/* A string or an integer; data stays NULL when it is absent. */
static bool check_identifier(em_decoder *decoder, const em_frame *frame, em_field field, em_span *out) {
    const em_token *token = get(frame, field);
    *out = (em_span){NULL, 0};
    if (token == NULL) {
        return true;
    }
    if (token->kind != EM_TOKEN_STRING && token->kind != EM_TOKEN_INT) {
        refuse_word(decoder, EM_BAD_ID, "\"@\" is a string or an integer", FIELDS[field]);
        return false;
    }
    bool is_text = token->kind == EM_TOKEN_STRING;
    *out = is_text ? (em_span){token->data, token->size} : digits_of(decoder, token);
    if (!within(*out, EM_NAME_MAX)) {
        refuse(decoder, EM_BAD_ID, "\"@\" has at most # characters", FIELDS[field], (em_span){NULL, 0}, EM_NAME_MAX);
        return false;
    }
    return check_text(decoder, *out, is_text && token->half, FIELDS[field]);
}

static bool check_optional(em_decoder *decoder, const em_frame *frame, em_field field, bool *has, double *number) {
    const em_token *token = get(frame, field);
    *has = token != NULL;
    *number = 0.0;
    if (token == NULL) {
        return true;
    }
    if (token->kind != EM_TOKEN_FLOAT && token->kind != EM_TOKEN_INT) {
        refuse_word(decoder, EM_BAD_NUMBER, "\"@\" is a number", FIELDS[field]);
        return false;
    }
    if (!check_number(decoder, token, FIELDS[field], number)) {
        return false;
    }
    if (*number - *number != 0.0) {
        refuse_word(decoder, EM_BAD_NUMBER, "\"@\" is a finite number", FIELDS[field]);
        return false;
    }
    return true;
}

static bool check_feature(em_decoder *decoder, const em_feature *feature, uint32_t index, em_event *event) {
    em_span name = feature->name;
    if (name.data != NULL && (name.size == 0 || !within(name, EM_NAME_MAX))) {
        refuse(decoder, EM_BAD_FEATURES, "a feature's name has 1 to # characters", "", name, EM_NAME_MAX);
    } else if (feature->flags & EM_FEATURE_TOO_LARGE) {
        refuse(decoder, EM_BAD_NUMBER, "\"$\" is too large for a float", "", name, 0);
        decoder->problem->index = index;
    } else if (feature->flags & EM_FEATURE_HALF_TEXT) {
        refuse(decoder, EM_BAD_UTF8, "\"features.$\" holds half a surrogate pair", "", name, 0);
        decoder->problem->index = index;
    } else if (feature->kind == EM_TEXT && feature->as.text.size > decoder->limits.string_bytes) {
        refuse(decoder, EM_STRING_SIZE, "\"features.$\" is longer than # bytes (ingest.max_string_bytes)", "", name,
               decoder->limits.string_bytes);
        decoder->problem->index = index;
    } else {
        event->wrong_type += (feature->flags & EM_FEATURE_WRONG_TYPE) != 0;
        if (name.data == NULL) {
            return true;
        }
        /* A name of ASCII is short enough by its characters. */
        bool ascii = true;
        for (uint32_t i = 0; i < name.size && name.size > decoder->limits.string_bytes; i++) {
            ascii &= name.data[i] < 0x80u;
        }
        em_span measured = ascii ? (em_span){name.data, 0} : name;
        return check_text(decoder, measured, feature->flags & EM_FEATURE_HALF_NAME, "a feature's name");
    }
    return false;
}

static bool check_features(em_decoder *decoder, const em_frame *frame, em_event *event) {
    const em_token *token = get(frame, EM_FIELD_FEATURES);
    event->features = decoder->features;
    event->features_length = 0;
    event->positional = false;
    if (token == NULL) {
        return true;
    }
    if (token->kind != EM_TOKEN_LIST && token->kind != EM_TOKEN_MAP) {
        refuse_word(decoder, EM_BAD_FEATURES, "\"@\" is a list or a map", FIELDS[EM_FIELD_FEATURES]);
        return false;
    }
    if (frame->more_features) {
        refuse(decoder, EM_TOO_MANY_FEATURES, "more than # features (ingest.max_features)", "", (em_span){NULL, 0},
               decoder->limits.features);
        return false;
    }
    event->positional = token->kind == EM_TOKEN_LIST;
    event->features_length = frame->features;
    for (uint32_t i = 0; i < frame->features; i++) {
        const em_feature *feature = &decoder->features[i];
        bool plain = feature->flags == 0 && feature->kind != EM_TEXT &&
                     (feature->name.data == NULL || feature->name.size - 1u < EM_STRING_MIN);
        if (!plain && !check_feature(decoder, feature, i, event)) {
            return false;
        }
    }
    return true;
}

static bool check_output(em_decoder *decoder, const em_frame *frame, em_event *event) {
    const em_token *token = get(frame, EM_FIELD_OUTPUT);
    const char *word = FIELDS[EM_FIELD_OUTPUT];
    event->kind = EM_NONE;
    if (token == NULL) {
        return true;
    }
    if (token->kind == EM_TOKEN_STRING) {
        event->kind = EM_TEXT;
        event->text = (em_span){token->data, token->size};
        return check_text(decoder, event->text, token->half, word);
    }
    if (is_number(token)) {
        event->kind = EM_NUMBER;
        return check_number(decoder, token, word, &event->number);
    }
    if (token->kind != EM_TOKEN_LIST) {
        refuse_word(decoder, EM_BAD_OUTPUT, "\"@\" is a number, a string or a list of numbers", word);
        return false;
    }
    if (frame->vector == 0 || frame->vector > EM_VECTOR_MAX) {
        refuse(decoder, EM_BAD_OUTPUT, "\"@\" as a vector has 1 to # numbers", word, (em_span){NULL, 0},
               EM_VECTOR_MAX);
        return false;
    }
    if (frame->vector_other) {
        refuse_word(decoder, EM_BAD_OUTPUT, "\"@\" as a vector holds only numbers", word);
        return false;
    }
    if (frame->vector_too_large) {
        refuse_word(decoder, EM_BAD_NUMBER, "\"@\" is too large for a float", word);
        return false;
    }
    event->kind = EM_VECTOR;
    event->vector = decoder->vector;
    event->vector_length = (uint32_t)frame->vector;
    return true;
}

static bool check_label(em_decoder *decoder, const em_frame *frame, em_event *event) {
    const em_token *token = get(frame, EM_FIELD_LABEL);
    const char *word = FIELDS[EM_FIELD_LABEL];
    event->type = EM_LABEL;
    if (event->id.data == NULL) {
        refuse_word(decoder, EM_BAD_LABEL, "a \"@\" needs the \"id\" of its prediction", word);
        return false;
    }
    if (token != NULL && token->kind == EM_TOKEN_STRING) {
        event->kind = EM_TEXT;
        event->text = (em_span){token->data, token->size};
        return check_text(decoder, event->text, token->half, word);
    }
    if (token != NULL && is_number(token)) {
        event->kind = EM_NUMBER;
        return check_number(decoder, token, word, &event->number);
    }
    refuse_word(decoder, EM_BAD_LABEL, "\"@\" is a number or a string", word);
    return false;
}

static bool check_model(em_decoder *decoder, const em_frame *frame, em_event *event) {
    if (!check_name(decoder, frame, EM_FIELD_MODEL, &event->model) ||
        !check_identifier(decoder, frame, EM_FIELD_VERSION, &event->version) ||
        !check_identifier(decoder, frame, EM_FIELD_ID, &event->id) ||
        !check_optional(decoder, frame, EM_FIELD_TS, &event->has_ts, &event->ts)) {
        return false;
    }
    if (frame->present >> EM_FIELD_LABEL & 1u) {
        return check_label(decoder, frame, event);
    }
    if (!check_identifier(decoder, frame, EM_FIELD_ERROR, &event->text)) {
        return false;
    }
    if (event->text.data != NULL) {
        event->type = EM_ERROR;
        event->kind = EM_TEXT;
        return true;
    }
    event->type = EM_PREDICTION;
    return check_features(decoder, frame, event) && check_output(decoder, frame, event) &&
           check_optional(decoder, frame, EM_FIELD_LATENCY, &event->has_latency, &event->latency_s);
}

static bool check_metric(em_decoder *decoder, const em_frame *frame, em_event *event) {
    event->type = EM_METRIC;
    event->kind = EM_NUMBER;
    if (!check_name(decoder, frame, EM_FIELD_METRIC, &event->model)) {
        return false;
    }
    const em_token *value = get(frame, EM_FIELD_VALUE);
    if (value == NULL || !is_number(value)) {
        refuse_word(decoder, EM_BAD_METRIC, "\"@\" of a metric is a number", FIELDS[EM_FIELD_VALUE]);
        return false;
    }
    const em_token *step = get(frame, EM_FIELD_STEP);
    event->has_step = step != NULL;
    event->step = 0;
    if (step != NULL && step->kind == EM_TOKEN_BOOL) {
        event->step = step->number > 0.0;
    } else if (step != NULL) {
        if (step->kind != EM_TOKEN_INT || !step->fits || step->magnitude > INT64_MAX) {
            refuse_word(decoder, EM_BAD_METRIC, "\"@\" of a metric is an integer", FIELDS[EM_FIELD_STEP]);
            return false;
        }
        event->step = step->negative ? -(int64_t)step->magnitude : (int64_t)step->magnitude;
    }
    return check_number(decoder, value, FIELDS[EM_FIELD_VALUE], &event->number) &&
           check_optional(decoder, frame, EM_FIELD_TS, &event->has_ts, &event->ts);
}

static bool check_ack(em_decoder *decoder, const em_frame *frame, em_event *event) {
    event->type = EM_ACK;
    const em_token *token = get(frame, EM_FIELD_ACK);
    event->token = (em_span){NULL, 0};
    event->token_integer = token != NULL && token->kind == EM_TOKEN_INT;
    if (event->token_integer) {
        event->token = digits_of(decoder, token);
    } else if (token != NULL && token->kind == EM_TOKEN_STRING) {
        event->token = (em_span){token->data, token->size};
    }
    if (event->token.data == NULL || !within(event->token, EM_ACK_MAX)) {
        refuse(decoder, EM_BAD_ACK, "\"@\" is a number or a string of at most # characters", FIELDS[EM_FIELD_ACK],
               (em_span){NULL, 0}, EM_ACK_MAX);
        return false;
    }
    event->disk = false;
    if (frame->present >> EM_FIELD_LEVEL & 1u) {
        const em_token *level = &frame->field[EM_FIELD_LEVEL];
        bool is_text = level->kind == EM_TOKEN_STRING;
        event->disk = is_text && level->size == 4 && memcmp(level->data, "disk", 4) == 0;
        if (!event->disk && !(is_text && level->size == 6 && memcmp(level->data, "memory", 6) == 0)) {
            refuse_word(decoder, EM_BAD_ACK, "\"@\" of an ack is \"memory\" or \"disk\"", FIELDS[EM_FIELD_LEVEL]);
            return false;
        }
    }
    return true;
}

em_verdict em_frame_event(em_decoder *decoder, const em_frame *frame, em_event *event) {
    static const char *const KINDS[] = {"null", "a boolean", "an integer", "a number", "a string"};
    if (frame->top.kind != EM_TOKEN_MAP && frame->top.kind != EM_TOKEN_LIST) {
        return refuse_word(decoder, EM_NOT_AN_EVENT, "an event is a map or an array, not @", KINDS[frame->top.kind]);
    }
    if (frame->top.kind == EM_TOKEN_LIST && frame->entries > EM_FIELDS_COMPACT) {
        return refuse(decoder, EM_NOT_AN_EVENT, "a compact event has at most # fields", "", (em_span){NULL, 0},
                      EM_FIELDS_COMPACT);
    }
    bool good;
    if (frame->present >> EM_FIELD_MODEL & 1u) {
        good = check_model(decoder, frame, event);
    } else if (frame->present >> EM_FIELD_METRIC & 1u) {
        good = check_metric(decoder, frame, event);
    } else if (frame->present >> EM_FIELD_ACK & 1u) {
        good = check_ack(decoder, frame, event);
    } else {
        return refuse_word(decoder, EM_NOT_AN_EVENT, "an event has \"model\", \"metric\" or \"ack\"", "");
    }
    return good ? EM_EVENT : EM_BAD_EVENT;
}

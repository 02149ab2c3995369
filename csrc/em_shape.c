#include "em_shape.h"

#include "em_frame.h"

enum { MOST_PATIENCE = 1024, FEW_HITS = 16, VALUE_BYTES = 9 };

static inline uint64_t word_at(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t big_endian(const uint8_t *at, uint32_t bytes) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* --- matching ---------------------------------------------------------------------------------------------------- */

/* Both may be read eight bytes beyond their end. */
static inline bool same_bytes(const uint8_t *a, const uint8_t *b, uint32_t size) {
    static const uint8_t mask[16] = {255, 255, 255, 255, 255, 255, 255, 255}; /* then zeros, for either byte order */
    uint64_t differ = 0;
    uint32_t i = 0;
    for (; i + 8 <= size; i += 8) {
        differ |= word_at(a + i) ^ word_at(b + i);
    }
    differ |= (word_at(a + i) ^ word_at(b + i)) & word_at(mask + 8 - (size - i));
    return differ == 0;
}

/* The bytes of a number, 0 where it is none; VALUE_BYTES may be read. */
static inline uint32_t read_number(const uint8_t *at, double *number) {
    const uint8_t head = *at++;
    if (head == 0xCB) {
        uint64_t bits = big_endian(at, 8);
        memcpy(number, &bits, sizeof bits);
        return 9;
    }
    if (head < 0x80) {
        *number = head;
        return 1;
    }
    switch (head) {
    case 0xC2:
    case 0xC3:
        *number = head == 0xC3;
        return 1;
    case 0xCA: {
        uint32_t bits = (uint32_t)big_endian(at, 4);
        float single;
        memcpy(&single, &bits, sizeof single);
        *number = (double)single;
        return 5;
    }
    case 0xCC:
        *number = *at;
        return 2;
    case 0xCD:
        *number = (double)big_endian(at, 2);
        return 3;
    case 0xCE:
        *number = (double)big_endian(at, 4);
        return 5;
    case 0xCF:
        *number = (double)big_endian(at, 8);
        return 9;
    case 0xD0:
        *number = (int8_t)*at;
        return 2;
    case 0xD1:
        *number = (int16_t)big_endian(at, 2);
        return 3;
    case 0xD2:
        *number = (int32_t)big_endian(at, 4);
        return 5;
    case 0xD3:
        *number = (double)(int64_t)big_endian(at, 8);
        return 9;
    default:
        *number = (int8_t)head;
        return head >= 0xE0 ? 1 : 0;
    }
}

/* The bytes of a short string, 0 where it is none or may be none that is an id. */
static inline uint32_t read_id(const uint8_t *at, size_t room, const em_limits *limits, em_span *id) {
    uint32_t head = *at >= 0xA0 && *at < 0xC0 ? 1 : *at == 0xD9 ? 2 : 0;
    uint32_t size = head == 1 ? *at & 0x1Fu : at[1];
    if (head == 0 || size > room - head || size > limits->string_bytes || !em_is_utf8(at + head, size)) {
        return 0;
    }
    *id = (em_span){at + head, size};
    return head + size;
}

static inline bool match(em_shape *shape, const em_limits *limits, const uint8_t *buf, size_t size, size_t *used,
                         em_event *event) {
    const uint8_t *at = buf;
    em_event *made = &shape->event;
    for (uint32_t i = 0; i < shape->count; i++) {
        const em_shape_part *part = &shape->parts[i];
        size_t room = size - (size_t)(at - buf);
        if (room < (size_t)part->size + VALUE_BYTES || !same_bytes(at, shape->bytes + part->at, part->size)) {
            return false;
        }
        at += part->size;
        room -= part->size;
        double number = 0.0;
        bool boolean = (*at & 0xFEu) == 0xC2, id = part->field == EM_FIELD_ID;
        uint32_t step = id ? read_id(at, room, limits, &made->id) : read_number(at, &number);
        if (step == 0 || (boolean && (part->field == EM_FIELD_TS || part->field == EM_FIELD_LATENCY))) {
            return false;
        }
        at += step;
        switch (part->field) {
        case EM_FIELD_FEATURES:
            shape->features[part->feature].as.number = number;
            break;
        case EM_FIELD_OUTPUT:
            made->number = number;
            break;
        case EM_FIELD_LATENCY:
            made->latency_s = number;
            break;
        case EM_FIELD_TS:
            made->ts = number;
            break;
        default:
            break;
        }
    }
    size_t room = size - (size_t)(at - buf);
    if (room < shape->tail_size || memcmp(at, shape->bytes + shape->tail_at, shape->tail_size) != 0) {
        return false;
    }
    at += shape->tail_size;
    if (made->ts - made->ts != 0.0 || made->latency_s - made->latency_s != 0.0 ||
        (size_t)(at - buf) > limits->frame_bytes) {
        return false;
    }
    *used = (size_t)(at - buf);
    *event = *made;
    return true;
}

bool em_shapes_match(em_shapes *shapes, const em_limits *limits, const uint8_t *buf, size_t size, size_t *used,
                     em_event *event) {
    for (uint32_t i = 0; i < EM_SHAPES; i++) {
        uint32_t which = (shapes->last + i) % EM_SHAPES;
        em_shape *shape = &shapes->shape[which];
        if (shape->count != 0 && match(shape, limits, buf, size, used, event)) {
            shapes->last = which;
            shape->hits += shape->hits < FEW_HITS;
            return true;
        }
    }
    return false;
}

/* --- learning ---------------------------------------------------------------------------------------------------- */

typedef struct lesson {
    em_shape *shape;
    const uint8_t *at;
    const uint8_t *kept; /* what is before it is in the shape, but for values */
} lesson;

/* Where bytes that were read, and are no value, will be in the shape. */
static em_span kept_at(const lesson *in, em_span span) {
    return (em_span){in->shape->bytes + in->shape->used + (span.data - in->kept), span.size};
}

/* The frame is whole and right, so that its strings, lists and maps need no check of their ends. */
static bool read_string(lesson *in, em_span *text) {
    uint8_t head = *in->at;
    if (head >= 0xA0 && head < 0xC0) {
        *text = (em_span){in->at + 1, head & 0x1Fu};
    } else if (head == 0xD9) {
        *text = (em_span){in->at + 2, in->at[1]};
    } else {
        return false;
    }
    in->at = text->data + text->size;
    return true;
}

static bool read_entries(lesson *in, bool *map, uint32_t *entries) {
    uint8_t head = *in->at++;
    *map = head < 0x90 || head == 0xDE;
    if (head >= 0x80 && head < 0xA0) {
        *entries = head & 0x0Fu;
    } else if (head == 0xDC || head == 0xDE) {
        *entries = (uint32_t)big_endian(in->at, 2);
        in->at += 2;
    } else {
        return false;
    }
    return true;
}

static bool keep(lesson *in, uint16_t *at, uint16_t *size) {
    em_shape *shape = in->shape;
    size_t bytes = (size_t)(in->at - in->kept);
    if (bytes > (size_t)EM_SHAPE_BYTES - shape->used) {
        return false;
    }
    *at = shape->used;
    *size = (uint16_t)bytes;
    memcpy(shape->bytes + shape->used, in->kept, bytes);
    shape->used = (uint16_t)(shape->used + bytes);
    return true;
}

/* A number or an id, which will be another each time; a null stays one. */
static bool vary(lesson *in, em_field field, uint32_t feature) {
    em_shape *shape = in->shape;
    if (*in->at == 0xC0) {
        in->at++;
        return true;
    }
    if (shape->count == EM_SHAPE_VALUES) {
        return false;
    }
    em_shape_part *part = &shape->parts[shape->count++];
    part->field = (uint8_t)field;
    part->feature = (uint16_t)feature;
    if (!keep(in, &part->at, &part->size)) {
        return false;
    }
    if (field == EM_FIELD_ID) {
        em_span id;
        if (!read_string(in, &id)) {
            return false;
        }
    } else {
        double number;
        uint8_t alone[VALUE_BYTES] = {*in->at}; /* its head tells its size */
        uint32_t size = read_number(alone, &number);
        if (size == 0) {
            return false;
        }
        in->at += size;
    }
    in->kept = in->at;
    return true;
}

static bool learn_features(lesson *in, const em_event *event) {
    bool map;
    uint32_t entries;
    if (!read_entries(in, &map, &entries) || entries != event->features_length || entries > EM_SHAPE_VALUES) {
        return false; /* as many as there are names: none comes twice */
    }
    for (uint32_t k = 0; k < entries; k++) {
        em_feature *feature = &in->shape->features[k];
        *feature = event->features[k];
        if (map) {
            if (!read_string(in, &feature->name)) {
                return false;
            }
            feature->name = kept_at(in, feature->name);
        }
        if (!vary(in, EM_FIELD_FEATURES, k)) {
            return false;
        }
    }
    return true;
}

static bool learn_text(lesson *in, em_span *text) {
    if (!read_string(in, text)) {
        return false;
    }
    *text = kept_at(in, *text);
    return true;
}

static bool learn_field(lesson *in, em_field field, const em_event *event) {
    switch (field) {
    case EM_FIELD_MODEL:
        return learn_text(in, &in->shape->event.model);
    case EM_FIELD_VERSION:
        return learn_text(in, &in->shape->event.version);
    case EM_FIELD_FEATURES:
        return learn_features(in, event);
    case EM_FIELD_OUTPUT:
    case EM_FIELD_LATENCY:
    case EM_FIELD_TS:
    case EM_FIELD_ID:
        return vary(in, field, 0);
    default:
        return false;
    }
}

static bool learn(em_shape *shape, const uint8_t *frame, size_t size, const em_event *event) {
    lesson in = {shape, frame, frame};
    bool map;
    uint32_t entries, seen = 0;
    shape->count = shape->hits = shape->used = 0;
    shape->event = *event;
    shape->event.features = shape->features;
    if (!read_entries(&in, &map, &entries)) {
        return false;
    }
    for (uint32_t i = 0; i < entries; i++) {
        em_field field = (em_field)i;
        em_span key;
        if (map) {
            if (!read_string(&in, &key)) {
                return false;
            }
            field = em_frame_field(key.data, key.size);
        }
        if ((seen >> field & 1u) != 0 || !learn_field(&in, field, event)) {
            return false;
        }
        seen |= 1u << field;
    }
    return in.at == frame + size && keep(&in, &shape->tail_at, &shape->tail_size) && shape->count != 0;
}

static uint32_t longer(uint32_t patience) {
    return patience < MOST_PATIENCE ? 2 * patience + 1 : MOST_PATIENCE;
}

void em_shapes_learn(em_shapes *shapes, const uint8_t *frame, size_t size, const em_event *event) {
    if (event->type != EM_PREDICTION || event->wrong_type != 0 ||
        (event->kind != EM_NUMBER && event->kind != EM_NONE) || ++shapes->misses < shapes->patience) {
        return;
    }
    em_shape *shape = &shapes->shape[shapes->next];
    bool useful = shape->count == 0 || shape->hits == FEW_HITS;
    shapes->misses = 0;
    if (!learn(shape, frame, size, event)) {
        shape->count = 0;
        useful = false;
    } else {
        shapes->next = (shapes->next + 1) % EM_SHAPES;
    }
    shapes->patience = useful ? 1 : longer(shapes->patience);
}

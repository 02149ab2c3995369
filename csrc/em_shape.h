/* Shapes of msgpack predictions: an application's events differ in their numbers and ids, and all else in them, names
 * and order among it, is the same bytes each time. Such an event is compared with one that was decoded before, and only
 * what differs is read: a quarter of the work.
 *
 * A shape is learnt from an event that the decoder has taken; an event that matches it gives what the decoder would
 * give. What does not match, for whatever reason, is the decoder's: nothing is refused here.
 *
 * Memory: fixed, EM_SHAPES shapes, used in turn; of streams that have more of them, ever fewer are learnt.
 * Complexity: match O(bytes), by eight.
 */
#ifndef EM_SHAPE_H
#define EM_SHAPE_H

#include "em_event.h"

enum {
    EM_SHAPES = 4,
    EM_SHAPE_BYTES = 1536, /* that are the same in every event */
    EM_SHAPE_VALUES = 64,  /* that are not */
    EM_SHAPE_AHEAD = 16,   /* bytes behind a frame without which it may not be recognized */
};

/* A value, and the bytes before it, behind the last value. */
typedef struct em_shape_part {
    uint16_t at, size; /* of em_shape.bytes */
    uint8_t field;     /* em_field */
    uint16_t feature;  /* of EM_FIELD_FEATURES: which */
} em_shape_part;

typedef struct em_shape {
    uint32_t count; /* of parts; 0: there is no shape */
    uint32_t hits;
    uint16_t tail_at, tail_size; /* behind the last value */
    uint16_t used;               /* bytes */
    em_event event;              /* its spans point at `bytes`, its features are those here */
    em_shape_part parts[EM_SHAPE_VALUES];
    em_feature features[EM_SHAPE_VALUES];
    uint8_t bytes[EM_SHAPE_BYTES + 8];
} em_shape;

struct em_shapes {
    em_shape shape[EM_SHAPES];
    uint32_t last;     /* that matched */
    uint32_t next;     /* to be replaced */
    uint32_t misses;   /* since one was learnt */
    uint32_t patience; /* as many misses as it takes to learn another */
};

/* Shapes that are all 0 are new ones. */

/* Whether a frame of a known shape begins buf: then *event is it, and *used its size. Its spans live until the next
 * call. */
bool em_shapes_match(em_shapes *shapes, const em_limits *limits, const uint8_t *buf, size_t size, size_t *used,
                     em_event *event);
/* frame: of `size` bytes, what the decoder made `event` of. */
void em_shapes_learn(em_shapes *shapes, const uint8_t *frame, size_t size, const em_event *event);

#endif
